//! The size of a terminal.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Columns and rows of a terminal's window (`TIOCGWINSZ`, ioctl_tty(2)); 0 where they are not known.
pub(crate) fn size(terminal: BorrowedFd<'_>) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request writes one winsize, and the pointer is to a live one.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok((size.ws_col, size.ws_row))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    #[test]
    fn a_terminal_tells_its_size_and_a_file_does_not() {
        let wanted = libc::winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = nix::pty::openpty(&wanted, None).unwrap();
        assert_eq!(super::size(pair.slave.as_fd()).unwrap(), (101, 33));
        assert!(super::size(std::fs::File::open("/dev/null").unwrap().as_fd()).is_err());
    }
}

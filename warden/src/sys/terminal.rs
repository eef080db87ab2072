//! Terminals: pseudo-terminals of the mount namespace that the caller is in.

use super::{check, fd};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};
use nix::sys::statfs::{FsType, fstatfs};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The multiplexer of the devpts at `/dev/pts`. Not `/dev/ptmx`, which is a name that a container's root can change;
/// this one is in a filesystem in which nobody can make or remove names.
const MULTIPLEXER: &str = "/dev/pts/ptmx";
/// Its number (Documentation/admin-guide/devices.txt).
const NUMBER: (u64, u64) = (5, 2);

/// A new terminal: the end that its program's keyboard and screen are, not blocking, and the program's end. The second
/// is asked of the first (`TIOCGPTPEER`), not opened by its name, which might be another's (CVE-2019-19921's kind).
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let ours = open(MULTIPLEXER, flags, Mode::empty())?;
    let stat = fstat(&ours)?;
    let is_character = stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits();
    let right = is_character && (major(stat.st_rdev), minor(stat.st_rdev)) == NUMBER;
    if !right || fstatfs(&ours)?.filesystem_type() != FsType(libc::DEVPTS_SUPER_MAGIC as _) {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    let unlock: libc::c_int = 0;
    // SAFETY: the request reads one int, which lives through the call.
    check(unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlock) }.into())?;
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    // SAFETY: the request takes plain flags and makes a descriptor.
    let theirs = check(unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCGPTPEER, flags.bits()) }.into())?;
    let theirs = fd::adopt(theirs as RawFd).ok_or(io::Error::from_raw_os_error(libc::EBADF))?;
    Ok((ours, theirs))
}

/// Gives a terminal a size in characters; its foreground processes get `SIGWINCH` when it changes.
pub(crate) fn resize(terminal: BorrowedFd<'_>, columns: u16, rows: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads one winsize, which lives through the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into()).map(drop)
}

/// Makes a terminal the controlling one of this process's session, which it leads and which has none yet. One that
/// another session has is refused.
pub(crate) fn control(terminal: BorrowedFd<'_>) -> io::Result<()> {
    let steal: libc::c_int = 0;
    // SAFETY: the request takes a plain number.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, steal) }.into()).map(drop)
}

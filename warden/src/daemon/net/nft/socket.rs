//! The socket that transactions go through, and what the kernel says to them.

use super::batch::{Batch, HEADER, ask};
use crate::sys::netlink as options;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// `NLMSG_ERROR` of linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
/// What the kernel adds to a message in its send buffer, generously.
const OVERHEAD: usize = 4_096;
/// Bytes for what the kernel says: a refusal of every change of a large transaction.
const ANSWERS: usize = 1 << 20;

/// A socket of the namespace that it was opened in.
#[derive(Debug)]
pub(in super::super) struct Socket(OwnedFd);

/// Why a transaction was not made.
#[derive(Debug)]
pub(in super::super) struct Refusal {
    /// What was refused; `None` when the kernel did not say, or was not asked.
    pub(in super::super) object: Option<String>,
    /// The reason.
    pub(in super::super) source: io::Error,
    /// Whether it is certain that nothing was changed.
    pub(in super::super) certain: bool,
}

impl Socket {
    /// Opens one.
    pub(in super::super) fn open() -> io::Result<Self> {
        let (family, flags) = (AddressFamily::Netlink, SockFlag::SOCK_CLOEXEC);
        let socket = socket(family, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
        // An answer without the request that it is about.
        options::set(socket.as_fd(), options::CAP_ACK)?;
        setsockopt(&socket, sockopt::RcvBufForce, &ANSWERS)?;
        Ok(Socket(socket))
    }

    /// Whether there is a table of a name.
    pub(in super::super) fn has_table(&self, name: &str) -> io::Result<bool> {
        sendto(self.0.as_raw_fd(), &ask(name), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut buffer = vec![0; 4 * 1024];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            match verdicts(buffer.get(..length).unwrap_or_default()).first() {
                Some((_, 0)) => return Ok(true),
                Some((_, libc::ENOENT)) => return Ok(false),
                Some((_, code)) => return Err(io::Error::from_raw_os_error(*code)),
                None => (),
            }
        }
    }

    /// Makes all changes of a batch, or none.
    pub(in super::super) fn commit(&self, batch: Batch) -> Result<(), Refusal> {
        if batch.is_empty() {
            return Ok(());
        }
        let (bytes, objects) = batch.finish();
        let unsent = |source| Refusal { object: None, source, certain: true };
        let unknown = |source| Refusal { object: None, source, certain: false };
        setsockopt(&self.0, sockopt::SndBufForce, &(bytes.len() + OVERHEAD))
            .map_err(io::Error::from)
            .map_err(unsent)?;
        let to = NetlinkAddr::new(0, 0);
        sendto(self.0.as_raw_fd(), &bytes, &to, MsgFlags::empty())
            .map_err(io::Error::from)
            .map_err(unsent)?;
        let mut first = None;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())
                .map_err(io::Error::from)
                .map_err(unknown)?;
            for (number, code) in verdicts(buffer.get(..length).unwrap_or_default()) {
                if code != 0 && first.is_none() {
                    let object = (number as usize).checked_sub(1).and_then(|at| objects.get(at)).cloned();
                    first =
                        Some(Refusal { object, source: io::Error::from_raw_os_error(code), certain: true });
                }
                // The whole batch is refused by its beginning, and judged when its last change is.
                if number == 0 || number as usize == objects.len() {
                    return first.map_or(Ok(()), Err);
                }
            }
        }
    }
}

/// Number and error number of each verdict.
fn verdicts(mut rest: &[u8]) -> Vec<(u32, i32)> {
    let mut all = Vec::new();
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        if let (NLMSG_ERROR, Some(code)) = (kind, rest.get(HEADER..).and_then(|body| body.first_chunk())) {
            all.push((word(8), -i32::from_ne_bytes(*code)));
        }
        rest = rest.get((word(0) as usize).max(HEADER).next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_has_the_number_of_its_message() {
        let mut bytes = Vec::new();
        for (number, code) in [(3u32, -17i32), (4, 0)] {
            bytes.extend_from_slice(&36u32.to_ne_bytes());
            bytes.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
            bytes.extend_from_slice(&[0; 2]);
            bytes.extend_from_slice(&number.to_ne_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes.extend_from_slice(&[0; 16]);
        }
        assert_eq!(verdicts(&bytes), [(3, 17), (4, 0)]);
        assert!(verdicts(&bytes[..15]).is_empty(), "cut off");
    }
}

//! Options of netlink sockets (netlink(7)).

use super::check;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// An answer does not repeat the request that it is about (`NETLINK_CAP_ACK` of linux/netlink.h).
pub(crate) const CAP_ACK: libc::c_int = 10;

/// Turns an option on.
pub(crate) fn set(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value lives through the call and its size is told; an unknown option is refused by the kernel.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    check(result.into()).map(drop)
}

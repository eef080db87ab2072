//! What can be asked of a mounted filesystem beyond files.

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `EXT4_IOC_SHUTDOWN` (fs/ext4/ext4.h since kernel 4.11; the number of XFS_IOC_GOINGDOWN).
const SHUTDOWN: libc::c_ulong = 0x8004_587D;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: at once, with nothing written first.
const WITHOUT_FLUSH: u32 = 2;

/// Stops a filesystem for good: what it has not written yet it never writes, whoever uses it. `directory` is any of it.
pub(crate) fn shut_down(directory: BorrowedFd<'_>) -> io::Result<()> {
    let how = WITHOUT_FLUSH;
    // SAFETY: the number lives through the call, which only reads it.
    check(unsafe { libc::ioctl(directory.as_raw_fd(), SHUTDOWN, &raw const how) }.into()).map(drop)
}

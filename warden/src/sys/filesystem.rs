//! What can be asked of a mounted filesystem beyond files: to stop, and project quotas.
//!
//! A project is a number that files have; with a flag on a directory, what is made in it has the directory's. A filesystem
//! that knows project quotas (ext4 with `-O quota,project` mounted with `prjquota`, XFS with `pquota`) counts and limits
//! blocks and files by that number, whoever owns them (uapi linux/quota.h, linux/dqblk_xfs.h, linux/fs.h).

use super::check;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `EXT4_IOC_SHUTDOWN` (fs/ext4/ext4.h since kernel 4.11; the number of XFS_IOC_GOINGDOWN).
const SHUTDOWN: libc::c_ulong = 0x8004_587D;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: at once, with nothing written first.
const WITHOUT_FLUSH: u32 = 2;

const GET_ATTRIBUTES: libc::c_ulong = 0x801C_581F;
const SET_ATTRIBUTES: libc::c_ulong = 0x401C_5820;
/// `FS_XFLAG_PROJINHERIT`.
const INHERIT: u32 = 0x200;

const PROJECT: u32 = 2;
const GET_QUOTA: u32 = 0x80_0007;
const SET_QUOTA: u32 = 0x80_0008;
/// `Q_XGETQSTAT`, and of its flags `FS_QUOTA_PDQ_ENFD`: limits of projects are kept, not only counted.
const STATE: u32 = ('X' as u32) << 8 | 5;
const ENFORCED: u16 = 1 << 5;
/// `QIF_LIMITS`: the limits of blocks and of files.
const LIMITS: u32 = 5;
/// Bytes of a block of quotas, whatever those of the filesystem.
const BLOCK: u64 = 1_024;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    reserved: [u8; 8],
}

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Entry {
    hard_blocks: u64,
    soft_blocks: u64,
    space: u64,
    hard_files: u64,
    soft_files: u64,
    files: u64,
    block_time: u64,
    file_time: u64,
    valid: u32,
}

/// `struct fs_quota_stat`, of which the flags are read.
#[repr(C)]
struct State {
    version: i8,
    flags: u16,
    rest: [u64; 16],
}

/// What a project has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Used {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Files and directories.
    pub(crate) files: u64,
}

/// Stops a filesystem for good: what it has not written yet it never writes, whoever uses it. `directory` is any of it.
pub(crate) fn shut_down(directory: BorrowedFd<'_>) -> io::Result<()> {
    let how = WITHOUT_FLUSH;
    // SAFETY: the number lives through the call, which only reads it.
    check(unsafe { libc::ioctl(directory.as_raw_fd(), SHUTDOWN, &raw const how) }.into()).map(drop)
}

/// Gives a directory, and all that will be made in it, a project.
pub(crate) fn set_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<()> {
    let mut attributes = Attributes::default();
    // SAFETY: the structure lives through the call and has the size that is part of the request's number.
    check(unsafe { libc::ioctl(directory.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) }.into())?;
    attributes.flags |= INHERIT;
    attributes.project = project;
    // SAFETY: as above.
    check(unsafe { libc::ioctl(directory.as_raw_fd(), SET_ATTRIBUTES, &raw const attributes) }.into())
        .map(drop)
}

/// Limits a project on the filesystem of `directory`; `None` for no limit.
pub(crate) fn limit_project(
    directory: BorrowedFd<'_>,
    project: u32,
    bytes: Option<u64>,
    files: Option<u64>,
) -> io::Result<()> {
    // 0 is no limit: a limit of nothing is one of one block, which nothing fits in that has a block.
    let or_none = |limit: Option<u64>| limit.map_or(0, |limit| limit.max(1));
    let mut entry = Entry {
        hard_blocks: or_none(bytes.map(|bytes| bytes / BLOCK)),
        hard_files: or_none(files),
        valid: LIMITS,
        ..Entry::default()
    };
    quota(directory, SET_QUOTA, project, &mut entry)
}

/// What a project has on the filesystem of `directory`.
pub(crate) fn used_by_project(directory: BorrowedFd<'_>, project: u32) -> io::Result<Used> {
    let mut entry = Entry::default();
    quota(directory, GET_QUOTA, project, &mut entry)?;
    Ok(Used { bytes: entry.space, files: entry.files })
}

/// Whether the filesystem of `directory` limits projects.
pub(crate) fn limits_projects(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let mut state = State { version: 0, flags: 0, rest: [0; 16] };
    quota(directory, STATE, 0, &mut state)?;
    Ok(state.flags & ENFORCED != 0)
}

/// quotactl_fd(2), since Linux 5.14. `T` has the layout that the command reads or writes, or is larger.
fn quota<T>(directory: BorrowedFd<'_>, command: u32, project: u32, argument: &mut T) -> io::Result<()> {
    const { assert!(size_of::<Entry>() >= 72 && size_of::<State>() >= 80) };
    let command = command << 8 | PROJECT;
    // SAFETY: the argument lives through the call, and the callers above give each command its own structure: 72 bytes of
    // `struct if_dqblk`, 80 of `struct fs_quota_stat`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            directory.as_raw_fd(),
            command,
            project,
            std::ptr::from_mut(argument),
        )
    };
    check(result).map(drop)
}

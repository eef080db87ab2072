//! The mount calls by descriptor (kernel 5.2 to 5.12) that nix does not wrap.

use super::{check, fd};
use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null;

/// `MOUNT_ATTR_*` bits (uapi linux/mount.h).
pub(crate) const RDONLY: u64 = 0x1;
/// See [`RDONLY`].
pub(crate) const NOSUID: u64 = 0x2;
/// See [`RDONLY`].
pub(crate) const NODEV: u64 = 0x4;
/// See [`RDONLY`].
pub(crate) const NOEXEC: u64 = 0x8;
/// See [`RDONLY`].
#[cfg(feature = "daemon")]
pub(crate) const NOATIME: u64 = 0x10;
const IDMAP: u64 = 0x10_0000;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;

/// A copy, attached nowhere, of what is mounted at `path` below `dir` (an empty `path`: at `dir` itself).
pub(crate) fn open_tree(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint | libc::AT_EMPTY_PATH as libc::c_uint;
    // SAFETY: the path is a live C string.
    let tree = check(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) })?;
    fd::adopt(tree as i32).ok_or(io::Error::from_raw_os_error(libc::EBADF))
}

/// Attaches an unattached mount on the directory or file `target`.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are live, empty C strings.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            flags,
        )
    };
    check(result).map(drop)
}

/// Argument of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets attributes of a mount, and shifts its owners by a user namespace if one is given (for unattached mounts only).
pub(crate) fn set_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    userns: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: set | if userns.is_some() { IDMAP } else { 0 },
        attr_clr: 0,
        propagation: 0,
        userns_fd: userns.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: the attributes live through the call and their size is told; the path is a live, empty C string.
    let result = unsafe {
        let size = size_of::<MountAttr>();
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const attr, size)
    };
    check(result).map(drop)
}

/// A new filesystem of `kind`, attached nowhere. An option without a value is a flag.
pub(crate) fn filesystem(kind: &CStr, options: &[(&CStr, Option<&CStr>)]) -> io::Result<OwnedFd> {
    filesystem_with(kind, options, 0)
}

/// The same with attributes of the mount. Of a block device that is mounted already it is the same filesystem once more.
pub(crate) fn filesystem_with(
    kind: &CStr,
    options: &[(&CStr, Option<&CStr>)],
    attributes: u64,
) -> io::Result<OwnedFd> {
    // SAFETY: the name is a live C string.
    let context = check(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    let context = fd::adopt(context as i32).ok_or(io::Error::from_raw_os_error(libc::EBADF))?;
    let configure = |command: libc::c_uint, key: *const libc::c_char, value: *const libc::c_char| {
        // SAFETY: key and value are null where the command takes none, else live C strings.
        check(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) })
    };
    for (key, value) in options {
        match value {
            Some(value) => configure(FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr())?,
            None => configure(FSCONFIG_SET_FLAG, key.as_ptr(), null())?,
        };
    }
    configure(FSCONFIG_CMD_CREATE, null(), null())?;
    // SAFETY: plain numbers.
    let mount = check(unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attributes as libc::c_uint)
    })?;
    fd::adopt(mount as i32).ok_or(io::Error::from_raw_os_error(libc::EBADF))
}

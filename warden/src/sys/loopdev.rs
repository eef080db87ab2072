//! Loop devices: a file seen as a block device (uapi linux/loop.h; LOOP_CONFIGURE since kernel 5.8).

use super::check;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;

#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A loop device that this process holds open.
#[derive(Debug)]
pub struct LoopDevice {
    /// Its node, e.g. `/dev/loop7`.
    pub path: PathBuf,
    /// Its number, e.g. 7.
    pub number: u32,
    /// The open device. With the last opener and the last mount gone, the kernel frees the device (autoclear).
    pub file: File,
}

/// Makes `image` a block device. `name` is what losetup(8) shows (63 bytes at most are kept).
///
/// One that is read alone goes past the page cache where its filesystem can, so that nothing is cached twice. One that is
/// written goes through it: what is written and removed again soon never reaches the disk, and nobody waits for that.
pub fn attach(image: BorrowedFd<'_>, read_only: bool, name: &[u8]) -> io::Result<LoopDevice> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    // Another process may take the free number first: ask again, a bounded number of times.
    for _ in 0..64 {
        // SAFETY: this request takes no argument.
        let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) }.into())?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let file = OpenOptions::new().read(true).write(!read_only).open(&path)?;
        let first = if read_only { DIRECT_IO } else { 0 };
        let result = match configure(&file, image, read_only, first, name) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                configure(&file, image, read_only, 0, name)
            }
            other => other,
        };
        match result {
            Ok(()) => return Ok(LoopDevice { path, number: number as u32, file }),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => (),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EBUSY))
}

fn configure(
    device: &File,
    image: BorrowedFd<'_>,
    read_only: bool,
    extra: u32,
    name: &[u8],
) -> io::Result<()> {
    // SAFETY: all zeroes is a valid configuration: plain numbers and bytes.
    let mut config: Config = unsafe { zeroed() };
    config.fd = image.as_raw_fd() as u32;
    config.info.flags = AUTOCLEAR | extra | if read_only { READ_ONLY } else { 0 };
    let length = name.len().min(63);
    config.info.file_name[..length].copy_from_slice(&name[..length]);
    // SAFETY: the configuration lives through the call and has the layout that the request reads.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) }.into()).map(drop)
}

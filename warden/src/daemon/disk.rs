//! A container's own filesystem: ext4 in a sparse image file on a loop device.
//!
//! The image is as large as any container may ever be; what a container may use of it is held by the filesystem's
//! reserved clusters (`/sys/fs/ext4/<device>/reserved_clusters`), which can be changed at any time in both directions.

use super::Error;
use crate::sys::loopdev::{self, LoopDevice};
use cupola_protocol::warden::DiskStat;
use nix::sys::statvfs::statvfs;
use std::fs::{self, OpenOptions};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Name of the image in the container's directory.
pub(crate) const IMAGE: &str = "disk.img";

/// Makes the image of a filesystem and a loop device of it, which is free again as soon as nobody has it open or
/// mounted.
pub(crate) fn make(image: &Path, bytes: u64, inodes: u64) -> Result<LoopDevice, Error> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(image)
        .map_err(Error::io("make the disk image", image))?;
    file.set_len(bytes).map_err(Error::io("size the disk image", image))?;
    format(image, inodes)?;
    loopdev::attach(file.as_fd(), false, image.as_os_str().as_encoded_bytes())
        .map_err(Error::io("make a loop device of the disk image", image))
}

fn format(image: &Path, inodes: u64) -> Result<(), Error> {
    // No journal: after a crash of the host the container is gone anyway. No blocks kept for root: limits are ours.
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-b", "4096", "-O", "^has_journal,^resize_inode"])
        .args(["-E", "lazy_itable_init=1,nodiscard", "-N", &inodes.to_string()])
        .arg(image)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("start mkfs.ext4 (Debian package e2fsprogs)", image))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Error::Program { program: "mkfs.ext4", output })
        }
    }
}

/// A container's filesystem as it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Bytes of a block.
    block: u64,
    /// Blocks for files, in all.
    blocks: u64,
    free: u64,
    /// Files and directories, at most.
    pub(crate) inodes: u64,
    free_inodes: u64,
}

impl Usage {
    /// Of the filesystem that is the root of a process.
    pub(crate) fn of(pid: i32) -> Option<Usage> {
        let stat = statvfs(Path::new(&format!("/proc/{pid}/root"))).ok()?;
        Some(Usage {
            block: stat.fragment_size(),
            blocks: stat.blocks(),
            free: stat.blocks_free(),
            inodes: stat.files(),
            free_inodes: stat.files_free(),
        })
    }

    /// What is used.
    pub(crate) fn stat(self) -> DiskStat {
        let bytes = self.blocks.saturating_sub(self.free) * self.block;
        DiskStat { bytes_used: Some(bytes), inodes_used: Some(self.inodes.saturating_sub(self.free_inodes)) }
    }
}

/// Lets the container whose init is `pid` use `bytes` of its filesystem.
pub(crate) fn limit(image: &Path, pid: i32, bytes: u64) -> Result<(), Error> {
    let missing =
        || Error::io("find the loop device of the disk image", image)(std::io::ErrorKind::NotFound.into());
    let device = device(image).ok_or_else(missing)?;
    let usage = Usage::of(pid).ok_or_else(missing)?;
    let reserved = usage.blocks.saturating_sub(bytes / usage.block);
    let path = Path::new("/sys/fs/ext4").join(device).join("reserved_clusters");
    fs::write(&path, reserved.to_string()).map_err(Error::io("set the disk limit", &path))
}

/// The name of the loop device that has this file.
fn device(image: &Path) -> Option<PathBuf> {
    let blocks = fs::read_dir("/sys/block").ok()?.flatten();
    let found = blocks.map(|entry| entry.path()).find(|path| {
        let backing = fs::read_to_string(path.join("loop/backing_file")).unwrap_or_default();
        Path::new(backing.trim_end_matches('\n')) == image
    });
    found?.file_name().map(PathBuf::from)
}

/// Waits until no loop device has the image any more.
pub(crate) fn wait_released(image: &Path, timeout: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + timeout;
    while let Some(device) = device(image) {
        if Instant::now() > deadline {
            return Err(Error::Left(format!("{} is still in use by {}", image.display(), device.display())));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

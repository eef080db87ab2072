//! What a container has of its disk.

use cupola_protocol::warden::DiskStat;
use nix::sys::statvfs::{Statvfs, fstatvfs, statvfs};
use std::os::fd::AsFd;
use std::path::Path;

/// A container's filesystem as it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Bytes of a block.
    pub(crate) block: u64,
    /// Blocks for files, in all.
    pub(crate) blocks: u64,
    free: u64,
    /// Files and directories, at most.
    pub(crate) inodes: u64,
    free_inodes: u64,
}

impl Usage {
    /// Of the filesystem that is the root of a process.
    pub(crate) fn of(pid: i32) -> Option<Usage> {
        statvfs(Path::new(&format!("/proc/{pid}/root"))).ok().map(Usage::from)
    }

    /// Of the filesystem that a descriptor is in.
    pub(super) fn behind(fd: impl AsFd) -> nix::Result<Usage> {
        fstatvfs(fd).map(Usage::from)
    }

    /// Bytes used.
    pub(crate) fn bytes(self) -> u64 {
        self.blocks.saturating_sub(self.free) * self.block
    }

    /// What is used.
    pub(crate) fn stat(self) -> DiskStat {
        let inodes = self.inodes.saturating_sub(self.free_inodes);
        DiskStat { bytes_used: Some(self.bytes()), inodes_used: Some(inodes) }
    }
}

impl From<Statvfs> for Usage {
    fn from(stat: Statvfs) -> Self {
        Usage {
            block: stat.fragment_size(),
            blocks: stat.blocks(),
            free: stat.blocks_free(),
            inodes: stat.files(),
            free_inodes: stat.files_free(),
        }
    }
}

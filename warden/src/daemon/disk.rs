//! The disk of containers: where a container's own files are, and what holds them to a limit.
//!
//! | method | where | what limits it |
//! |---|---|---|
//! | `image` | an ext4 filesystem of its own, in a sparse file on a loop device, of a pool | the filesystem's reserve |

mod image;
mod usage;

pub(crate) use usage::Usage;

use super::Error;
use super::config;
use crate::wire::Upper;
use image::{Images, Prepared};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Where a container's own files are. Kept in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Disk {
    /// In the image `disk.img` of its directory, on `/dev/loop<device>`.
    Image {
        /// Number of the loop device.
        device: u32,
    },
}

/// What a new container gets, before anything of it is in its directory. Dropped, nothing of it is left.
#[derive(Debug)]
pub(crate) struct Taken {
    /// What its record says.
    pub(crate) disk: Disk,
    prepared: Prepared,
}

/// The writable layer of a new container, for its plan and for the spawner.
#[derive(Debug)]
pub(crate) struct Layer {
    /// For the plan.
    pub(crate) upper: Upper,
    /// For the spawner, when the plan says that it comes mounted.
    pub(crate) mount: Option<OwnedFd>,
}

/// All disks.
#[derive(Debug)]
pub(crate) struct Disks {
    images: Images,
}

impl Disks {
    /// Decides on the method and removes what an earlier daemon has prepared in `directory` and not used.
    pub(crate) fn prepare(config: &config::Disk, directory: &Path) -> Result<Self, Error> {
        let disks = Disks { images: Images::open(directory, config)? };
        tracing::info!(method = "image", pool = config.pool, "disk limits");
        Ok(disks)
    }

    /// A disk for a container. Costs nothing while the pool is not empty.
    pub(crate) fn take(&self) -> Result<Taken, Error> {
        let prepared = self.images.take()?;
        Ok(Taken { disk: Disk::Image { device: prepared.device() }, prepared })
    }

    /// Moves it into a container's directory, and lets the container use `bytes` of it.
    pub(crate) fn place(&self, taken: Taken, directory: &Path, bytes: u64) -> Result<Layer, Error> {
        let mount = taken.prepared.place(directory, bytes)?;
        Ok(Layer { upper: Upper::Mounted, mount: Some(mount) })
    }

    /// Nothing more is prepared, and what is prepared goes away.
    pub(crate) fn close(&self) {
        self.images.close();
    }
}

impl Disk {
    /// Lets the container whose init is `pid` use `bytes`.
    pub(crate) fn limit(self, directory: &Path, pid: i32, bytes: u64) -> Result<(), Error> {
        let Disk::Image { device } = self;
        let gone = || Error::Left("the root of its init cannot be seen".to_owned());
        image::check(device, directory)?;
        image::limit(device, Usage::of(pid).ok_or_else(gone)?, bytes)
    }

    /// The container's files are not needed any more: what is not on the host's disk yet shall never be written there.
    /// To be called when the jobs have ended and while the init `pid` still holds the root. A container that has written
    /// little is left alone: that costs less.
    pub(crate) fn abandon(self, directory: &Path, pid: Option<i32>) {
        let Disk::Image { device } = self;
        let Some(usage) = pid.and_then(Usage::of) else { return };
        if let Err(error) = image::abandon(device, directory, usage) {
            tracing::debug!(device, %error, "disk not abandoned");
        }
    }

    /// Whether nothing in the kernel uses the container's files any more.
    pub(crate) fn is_released(self, directory: &Path) -> bool {
        let Disk::Image { device } = self;
        image::check(device, directory).is_err()
    }

    /// Waits for that.
    pub(crate) fn wait_released(self, directory: &Path, timeout: Duration) -> Result<(), Error> {
        let deadline = std::time::Instant::now() + timeout;
        while !self.is_released(directory) {
            if std::time::Instant::now() > deadline {
                return Err(Error::Left(format!("the disk in {} is still in use", directory.display())));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

//! The disk of containers: where a container's own files are, and what holds them to a limit. Decided when the daemon
//! starts, for the containers that it makes; those of earlier daemons keep what they have.
//!
//! | method | where | what limits it | bytes | files |
//! |---|---|---|---|---|
//! | `project` | a directory of the host's filesystem | the filesystem's project quota | at any time | at any time |
//! | `image` | an ext4 filesystem of its own, in a sparse file on a loop device, of a pool | the filesystem's reserve | at any time | at creation |
//! | `none` | a directory of the host's filesystem | nothing | never | never |

mod image;
mod project;
mod template;
mod usage;

pub(crate) use usage::Usage;

use super::Error;
use super::config::{self, DiskMethod};
use super::limits::Limits;
use crate::wire::Upper;
use cupola_protocol::warden::DiskStat;
use image::{Images, Prepared};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Where a container's own files are. Kept in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Disk {
    /// In the image `disk.img` of its directory, on `/dev/loop<device>`.
    Image {
        /// Number of the loop device.
        device: u32,
    },
    /// In `disk/` of its directory, counted under a project.
    Project {
        /// Number of the project.
        id: u32,
    },
    /// In `disk/` of its directory, without a limit.
    Directory,
}

/// What a new container gets, before anything of it is in its directory. Dropped, nothing of it is left.
#[derive(Debug)]
pub(crate) struct Taken {
    disk: Disk,
    /// An image.
    prepared: Option<Prepared>,
}

impl Taken {
    /// What its record says.
    pub(crate) fn disk(&self) -> Disk {
        self.disk
    }
}

/// The writable layer of a new container, for its plan and for the spawner.
#[derive(Debug)]
pub(crate) struct Layer {
    /// For the plan.
    pub(crate) upper: Upper,
    /// For the spawner, when the plan says that it comes mounted.
    pub(crate) mount: Option<OwnedFd>,
}

/// The method, with what it needs.
#[derive(Debug)]
pub(crate) enum Disks {
    Project,
    Image(Images),
    None,
}

impl Disks {
    /// Decides on the method and removes what an earlier daemon has prepared in `directory` and not used. `project` is a
    /// number that no container has.
    pub(crate) fn prepare(config: &config::Disk, directory: &Path, project: u32) -> Result<Self, Error> {
        image::clear(directory)?;
        let probe = || project::probe(directory, project);
        let disks = match config.method {
            DiskMethod::None => Disks::None,
            DiskMethod::Image => Disks::Image(Images::open(directory, config)?),
            DiskMethod::Project => {
                let why =
                    |why| format!("the filesystem of {} has no project quotas: {why}", directory.display());
                probe().map_err(|reason| Error::Config { key: "disk.method", why: why(reason) })?;
                Disks::Project
            }
            DiskMethod::Auto => match probe() {
                Ok(()) => Disks::Project,
                Err(why) => {
                    tracing::debug!(why, "no project quotas");
                    Disks::Image(Images::open(directory, config)?)
                }
            },
        };
        tracing::info!(method = disks.name(), "disks of containers");
        Ok(disks)
    }

    /// The method's name in the configuration.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Disks::Project => "project",
            Disks::Image(_) => "image",
            Disks::None => "none",
        }
    }

    /// A disk for the container whose uids begin with `uid_base`. Costs next to nothing while the pool is not empty.
    pub(crate) fn take(&self, uid_base: u32, inodes: Option<u64>) -> Result<Taken, Error> {
        Ok(match self {
            Disks::Project => Taken { disk: Disk::Project { id: uid_base }, prepared: None },
            Disks::None => Taken { disk: Disk::Directory, prepared: None },
            Disks::Image(images) => {
                let prepared = images.take(inodes)?;
                Taken { disk: Disk::Image { device: prepared.device() }, prepared: Some(prepared) }
            }
        })
    }

    /// Moves it into a container's directory, and limits it.
    pub(crate) fn place(&self, taken: Taken, directory: &Path, limits: &Limits) -> Result<Layer, Error> {
        let project = match (taken.disk, taken.prepared) {
            (_, Some(prepared)) => {
                let mount = prepared.place(directory, limits.disk_bytes)?;
                return Ok(Layer { upper: Upper::Mounted, mount: Some(mount) });
            }
            (Disk::Project { id }, None) => Some(id),
            (_, None) => None,
        };
        let path = project::make(directory, project)?;
        if let Some(project) = project {
            project::limit(directory, project, limits.disk_bytes, limits.disk_inodes)?;
        }
        Ok(Layer { upper: Upper::Directory(path), mount: None })
    }

    /// Takes the disk of a container, whose processes have ended, out of its directory, or takes back what limits it.
    pub(crate) fn give_back(&self, disk: Disk, directory: &Path) -> Result<(), Error> {
        match (disk, self) {
            // The number will be another container's.
            (Disk::Project { id }, _) if directory.exists() => project::limit(directory, id, None, None),
            (Disk::Image { device }, Disks::Image(images)) => images.bury(device, directory),
            // Of an earlier daemon's method: the image goes with the directory.
            _ => Ok(()),
        }
    }

    /// Nothing more is prepared, and what is prepared goes away.
    pub(crate) fn close(&self) {
        if let Disks::Image(images) = self {
            images.close();
        }
    }
}

impl Disk {
    /// Whether the number of files can be set at any time, and is counted exactly.
    pub(crate) fn counts_inodes(self) -> bool {
        matches!(self, Disk::Project { .. })
    }

    /// Limits the container in `directory`, whose init is `pid`.
    pub(crate) fn limit(
        self,
        directory: &Path,
        pid: Option<i32>,
        bytes: Option<u64>,
        inodes: Option<u64>,
    ) -> Result<(), Error> {
        match self {
            Disk::Project { id } => project::limit(directory, id, bytes, inodes),
            Disk::Directory => {
                let why = "disk: this server limits none (`disk.method` is none, or was when it was made)";
                Err(Error::Invalid(why.to_owned()))
            }
            Disk::Image { device } => {
                image::check(device, directory)?;
                let gone = || Error::Left("the root of its init cannot be seen".to_owned());
                let usage = pid.and_then(Usage::of).ok_or_else(gone)?;
                image::check_inodes(usage, inodes)?;
                image::limit(device, usage, bytes)
            }
        }
    }

    /// What the container has of it.
    pub(crate) fn stat(self, directory: &Path, pid: Option<i32>) -> Option<DiskStat> {
        match self {
            Disk::Image { .. } => pid.and_then(Usage::of).map(Usage::stat),
            Disk::Project { id } => project::used(directory, id)
                .map(|used| DiskStat { bytes_used: Some(used.bytes), inodes_used: Some(used.files) }),
            // It would be what everybody has on the host's filesystem.
            Disk::Directory => None,
        }
    }

    /// The container's files are not needed any more: what is not on the host's disk yet shall never be written there.
    /// To be called when no job is wanted any more and while the init `pid` still holds the root. A container that has
    /// written little is left alone: that costs less.
    pub(crate) fn abandon(self, directory: &Path, pid: Option<i32>) {
        let Disk::Image { device } = self else { return };
        let Some(usage) = pid.and_then(Usage::of) else { return };
        if let Err(error) = image::abandon(device, directory, usage) {
            tracing::debug!(device, %error, "disk not abandoned");
        }
    }
}

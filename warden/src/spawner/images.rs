//! EROFS images, mounted once in the spawner and cloned into every container that uses them, so that all share one
//! page cache. Mounts of images that are gone, and the longest unused ones beyond [`MOST`], are given up.

use super::{Step, c_path};
use crate::sys::{loopdev, mount};
use crate::wire::Failure;
use nix::mount::{MntFlags, umount2};
use std::fs::{File, create_dir, metadata, remove_dir};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most images that are kept mounted.
const MOST: usize = 256;

pub(super) struct Images {
    /// Keeps the staging directory, which is also the working directory.
    _staging: OwnedFd,
    /// Longest unused first.
    entries: Vec<Entry>,
    next: u64,
}

struct Entry {
    path: PathBuf,
    identity: (u64, u64),
    name: String,
}

impl Images {
    pub(super) fn new(staging: OwnedFd) -> Self {
        Images { _staging: staging, entries: Vec::new(), next: 0 }
    }

    /// Gives up the mounts of images whose files were removed or replaced, so that their space is freed.
    pub(super) fn drop_stale(&mut self) {
        let (keep, stale) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| identity(&entry.path) == Some(entry.identity));
        self.entries = keep;
        stale.into_iter().for_each(unmount);
    }

    /// The name, in the staging directory, of the mount of an image.
    pub(super) fn mounted(&mut self, path: &Path) -> Result<String, Failure> {
        let identity = identity(path).ok_or_else(|| Failure::new("find the image", path, libc::ENOENT))?;
        if let Some(at) =
            self.entries.iter().position(|entry| entry.path == path && entry.identity == identity)
        {
            let entry = self.entries.remove(at);
            let name = entry.name.clone();
            self.entries.push(entry);
            return Ok(name);
        }
        if self.entries.len() >= MOST {
            unmount(self.entries.remove(0));
        }
        let name = format!("image{}", self.next);
        self.next += 1;
        create_dir(&name).step("make a staging directory", &name)?;
        let entry = Entry { path: path.to_owned(), identity, name: name.clone() };
        match attach(path, &name) {
            Ok(()) => {
                self.entries.push(entry);
                Ok(name)
            }
            Err(failure) => {
                unmount(entry);
                Err(failure)
            }
        }
    }
}

/// Mounts an image straight from its file (kernel 6.12), or through a read-only loop device.
fn attach(path: &Path, name: &str) -> Result<(), Failure> {
    let image = File::open(path).step("open the image", path)?;
    // Named by descriptor: the file that was looked at is the one that is mounted, however long its path.
    let source = PathBuf::from(format!("/proc/self/fd/{}", image.as_raw_fd()));
    let directory = File::open(name).step("open a staging directory", name)?;
    let mounted = match erofs(&source) {
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Err(error),
        Err(_) => {
            let label = path.file_name().map_or(&b"image"[..], |name| name.as_bytes());
            let device = loopdev::attach(image.as_fd(), true, label)
                .step("attach a loop device to the image", path)?;
            // The device is held open until the mount holds it.
            erofs(&device.path)
        }
        mounted => mounted,
    };
    let mounted = mounted.step("mount the image", path)?;
    mount::attach(mounted.as_fd(), directory.as_fd()).step("attach the image", path)
}

fn erofs(source: &Path) -> std::io::Result<OwnedFd> {
    let source = c_path(source)?;
    let mounted = mount::filesystem(c"erofs", &[(c"source", Some(&source)), (c"ro", None)])?;
    mount::set_attributes(mounted.as_fd(), mount::RDONLY | mount::NOSUID | mount::NODEV, None)?;
    Ok(mounted)
}

fn unmount(entry: Entry) {
    let _ = umount2(entry.name.as_str(), MntFlags::MNT_DETACH);
    let _ = remove_dir(&entry.name);
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

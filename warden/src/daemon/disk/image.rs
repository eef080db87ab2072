//! ext4 filesystems in sparse image files on loop devices, made ahead and mounted where nobody sees them.
//!
//! An image is as large as any container may ever be; what a container may use of it is held by the filesystem's
//! reserved clusters (`/sys/fs/ext4/<device>/reserved_clusters`, Documentation/ABI/testing/sysfs-fs-ext4), which can be
//! changed at any time in both directions.
//!
//! Nothing here makes the host's disk wait or write. A device is attached to an empty file, since attaching writes out
//! what the file holds; the filesystem's few blocks are written after that, and lie in the page cache until they are
//! removed again or the kernel finds time. The filesystem sends no flushes (`nobarrier`): after a crash of the host the
//! container is gone anyway.

use super::Usage;
use super::template::Template;
use crate::daemon::{Error, config, lock};
use crate::sys::{self, loopdev, mount};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Name of the image in a container's directory.
const IMAGE: &str = "disk.img";

/// How often it is looked whether the kernel has let go of a container's disk.
const LOOK: Duration = Duration::from_millis(5);

/// How long the filler waits after a failure before it tries again.
const PAUSE: Duration = Duration::from_secs(10);

/// A container that has more on its disk than this is worth abandoning it: below, writing it into the page cache takes
/// less than the 0.7 ms that shutting a filesystem down does.
const WORTH: u64 = 8 << 20;

/// Most templates of unusual numbers of files that are kept, of some 100 KB each.
const MOST_TEMPLATES: usize = 16;

/// Blocks of a group of ext4 with blocks of 4 KiB, and inodes in one block.
const GROUP: u64 = 32_768;
const INODES_IN_BLOCK: u64 = 16;

/// The pool, and the end of what containers had of it.
#[derive(Debug)]
pub(crate) struct Images {
    pool: Arc<Pool>,
    /// To the thread that removes; `None` once closed.
    graves: Mutex<Option<Sender<Grave>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// The image of a container that is gone.
#[derive(Debug)]
struct Grave {
    device: u32,
    image: PathBuf,
}

#[derive(Debug)]
struct Pool {
    directory: PathBuf,
    template: Template,
    /// Files and directories of the template.
    inodes: u64,
    /// Those of other numbers that were asked for.
    others: Mutex<BTreeMap<u64, Arc<Template>>>,
    /// How many are kept ready.
    want: usize,
    next: AtomicU64,
    shelf: Mutex<Shelf>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    ready: VecDeque<Prepared>,
    closed: bool,
}

/// Makes the directory, and removes what an earlier daemon has left in it.
pub(super) fn clear(directory: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(Error::io("make the directory of disks", directory))?;
    let entries = fs::read_dir(directory).map_err(Error::io("list the directory of disks", directory))?;
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
        fs::remove_file(&path).map_err(Error::io("remove an old disk", &path))?;
    }
    Ok(())
}

impl Images {
    /// Makes the template, and begins to fill the pool in `directory`.
    pub(super) fn open(directory: &Path, config: &config::Disk) -> Result<Self, Error> {
        let template = Template::make(&directory.join("template.img"), config.max_bytes, config.inodes)?;
        let pool = Arc::new(Pool {
            directory: directory.to_owned(),
            template,
            inodes: config.inodes,
            others: Mutex::default(),
            want: config.pool as usize,
            next: AtomicU64::new(0),
            shelf: Mutex::default(),
            changed: Condvar::new(),
        });
        let (graves, dead) = mpsc::channel();
        let filler = pool.clone();
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
            thread.map_err(Error::io("start a thread for disks", directory))
        };
        let threads = vec![
            start("disks-to-come", Box::new(move || filler.fill()))?,
            start("disks-to-go", Box::new(move || dead.into_iter().for_each(Grave::remove)))?,
        ];
        Ok(Images { pool, graves: Mutex::new(Some(graves)), threads: Mutex::new(threads) })
    }

    /// One that is ready, or else one made now. Only such of the usual number of files are made ahead.
    pub(super) fn take(&self, inodes: Option<u64>) -> Result<Prepared, Error> {
        if let Some(inodes) = inodes.filter(|inodes| *inodes != self.pool.inodes) {
            return self.pool.make(&*self.pool.other(inodes)?);
        }
        let ready = lock(&self.pool.shelf).ready.pop_front();
        self.pool.changed.notify_one();
        ready.map_or_else(|| self.pool.make(&self.pool.template), Ok)
    }

    /// Takes the image of a container that is gone out of its directory. The kernel may be about to unmount it still, and
    /// the host's filesystem may take its time to remove it: nobody waits for either.
    pub(super) fn bury(&self, device: u32, directory: &Path) -> Result<(), Error> {
        let grave = Grave { device, image: self.pool.path() };
        let image = directory.join(IMAGE);
        match fs::rename(&image, &grave.image) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(Error::io("take a disk image out of", directory))?,
        }
        match &*lock(&self.graves) {
            Some(graves) => drop(graves.send(grave)),
            None => grave.remove(),
        }
        Ok(())
    }

    /// Ends the threads, and removes what is ready.
    pub(super) fn close(&self) {
        let ready = {
            let mut shelf = lock(&self.pool.shelf);
            shelf.closed = true;
            std::mem::take(&mut shelf.ready)
        };
        self.pool.changed.notify_one();
        drop(ready);
        drop(lock(&self.graves).take());
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            if thread.join().is_err() {
                tracing::error!("a thread for disks has panicked");
            }
        }
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        self.close();
    }
}

impl Pool {
    /// The filler: keeps the shelf full until it is closed.
    fn fill(&self) {
        loop {
            let full = |shelf: &mut Shelf| !shelf.closed && shelf.ready.len() >= self.want;
            let shelf =
                self.changed.wait_while(lock(&self.shelf), full).unwrap_or_else(PoisonError::into_inner);
            if shelf.closed {
                return;
            }
            drop(shelf);
            match self.make(&self.template) {
                Ok(prepared) => {
                    let mut shelf = lock(&self.shelf);
                    if !shelf.closed {
                        shelf.ready.push_back(prepared);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = error.chain(), "no disk can be made ahead; trying again later");
                    let closed = |shelf: &mut Shelf| !shelf.closed;
                    drop(self.changed.wait_timeout_while(lock(&self.shelf), PAUSE, closed));
                }
            }
        }
    }

    /// The template of another number of files.
    fn other(&self, inodes: u64) -> Result<Arc<Template>, Error> {
        if let Some(template) = lock(&self.others).get(&inodes) {
            return Ok(template.clone());
        }
        let path = self.path();
        let template = Arc::new(Template::make(&path, self.template.size, inodes)?);
        let mut others = lock(&self.others);
        if others.len() >= MOST_TEMPLATES {
            others.clear();
        }
        others.insert(inodes, template.clone());
        Ok(template)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.img", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    fn make(&self, template: &Template) -> Result<Prepared, Error> {
        let path = self.path();
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("make a disk image", &path))?;
        let image = Image(path);
        let path = &image.0;
        file.set_len(template.size).map_err(Error::io("size a disk image", path))?;
        let device = loopdev::attach(file.as_fd(), false, path.as_os_str().as_encoded_bytes())
            .map_err(Error::io("make a loop device of a disk image", path))?;
        template.write(&file).map_err(Error::io("write a disk image", path))?;
        let mount = mounted(device.number).map_err(Error::io("mount a disk image", path))?;
        for (name, mode) in [("upper", 0o755), ("work", 0o700)] {
            mkdirat(&mount, name, Mode::from_bits_truncate(mode))
                .map_err(|errno| Error::io("make a directory on a disk", path)(errno.into()))?;
        }
        let usage = Usage::behind(&mount).map_err(|errno| Error::io("look at a disk", path)(errno.into()))?;
        Ok(Prepared { mount, device: device.number, usage, image })
    }
}

impl Grave {
    fn remove(self) {
        let deadline = Instant::now() + crate::daemon::END_TIMEOUT;
        while has(self.device, &self.image) {
            if Instant::now() > deadline {
                tracing::warn!(device = self.device, image = ?self.image, "the disk of a container is still in use");
                break;
            }
            std::thread::sleep(LOOK);
        }
        if let Err(error) = fs::remove_file(&self.image) {
            tracing::warn!(image = ?self.image, %error, "the disk of a container is not removed");
        }
    }
}

/// A filesystem in the pool, or just taken from it. Dropped, nothing of it is left.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Before the image: a drop unmounts first, and with the mount goes the loop device.
    mount: OwnedFd,
    device: u32,
    usage: Usage,
    image: Image,
}

/// An image file of the pool, removed when dropped.
#[derive(Debug)]
struct Image(PathBuf);

impl Drop for Image {
    fn drop(&mut self) {
        // One that was moved into a container is not there any more.
        let _ = fs::remove_file(&self.0);
    }
}

impl Prepared {
    /// Number of its loop device.
    pub(super) fn device(&self) -> u32 {
        self.device
    }

    /// Limits it and moves it into a container's directory; gives the mount.
    pub(super) fn place(self, directory: &Path, bytes: Option<u64>) -> Result<OwnedFd, Error> {
        limit(self.device, self.usage, bytes)?;
        let target = directory.join(IMAGE);
        fs::rename(&self.image.0, &target).map_err(Error::io("move a disk image to", &target))?;
        Ok(self.mount)
    }
}

/// The filesystem of a loop device, attached nowhere; once more, if it is mounted already.
fn mounted(device: u32) -> io::Result<OwnedFd> {
    let source = CString::new(format!("/dev/loop{device}"))?;
    // No thread of the kernel's shall write zeroes where a sparse file has them anyway.
    let options = [(c"source", Some(source.as_c_str())), (c"nobarrier", None), (c"noinit_itable", None)];
    mount::filesystem_with(c"ext4", &options, mount::NOSUID | mount::NODEV | mount::NOATIME)
}

/// Lets a filesystem be filled to `bytes`.
pub(super) fn limit(device: u32, usage: Usage, bytes: Option<u64>) -> Result<(), Error> {
    let reserved = bytes.map_or(0, |bytes| usage.blocks.saturating_sub(bytes / usage.block));
    let path = PathBuf::from(format!("/sys/fs/ext4/loop{device}/reserved_clusters"));
    fs::write(&path, reserved.to_string()).map_err(Error::io("set the disk limit", &path))
}

/// Refuses a number of files that the filesystem was not made for. It was made for a little more than was asked for: each
/// of its groups has a whole number of blocks of inodes.
pub(super) fn check_inodes(usage: Usage, wanted: Option<u64>) -> Result<(), Error> {
    let groups = usage.blocks.div_ceil(GROUP) + 1;
    let most = usage.inodes;
    let least = most.saturating_sub(groups * INODES_IN_BLOCK);
    match wanted.filter(|wanted| !(least..=most).contains(wanted)) {
        None => Ok(()),
        Some(wanted) => Err(Error::Invalid(format!(
            "disk_inodes: the number of files is fixed when a container is made, and this one has {most}, not {wanted}: \
             ask for it when it is made, or set `disk.inodes`; with project quotas it could be changed (`disk.method`)"
        ))),
    }
}

/// Refuses unless the device has the image of this container's directory: the number of a device that was given up may be
/// another's by now.
pub(super) fn check(device: u32, directory: &Path) -> Result<(), Error> {
    match has(device, &directory.join(IMAGE)) {
        true => Ok(()),
        false => Err(Error::Left(format!("/dev/loop{device} does not have the disk of the container"))),
    }
}

/// Whether a loop device has this file.
fn has(device: u32, image: &Path) -> bool {
    let file = fs::read_to_string(format!("/sys/block/loop{device}/loop/backing_file"));
    file.is_ok_and(|file| Path::new(file.trim_end_matches('\n')) == image)
}

/// Shuts the filesystem of a container down, so that nothing of it is written any more.
pub(super) fn abandon(device: u32, directory: &Path, usage: Usage) -> io::Result<()> {
    if usage.bytes() < WORTH {
        return Ok(());
    }
    // The container's root is mounted in its own namespace alone; the same filesystem is mounted once more to reach it.
    let mount = mounted(device)?;
    // While this mount lasts, the device stays what it is.
    if check(device, directory).is_err() {
        return Ok(());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let root = openat(&mount, ".", flags, Mode::empty())?;
    sys::filesystem::shut_down(root.as_fd())
}

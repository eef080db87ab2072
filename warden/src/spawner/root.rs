//! Paths inside a root that is not trusted: an image may hold links wherever it likes. Nothing here leaves the root.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

/// A container's root.
pub(super) struct Root {
    directory: File,
    /// Owner of what is made: the host uid of the container's root.
    owner: u32,
}

impl Root {
    pub(super) fn open(path: &Path, owner: u32) -> io::Result<Root> {
        Ok(Root { directory: File::open(path)?, owner })
    }

    /// Opens what is at a path, following links inside the root.
    pub(super) fn find(&self, path: &Path, flags: OFlag) -> nix::Result<File> {
        self.resolve(path, flags, ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS)
    }

    /// A directory at a path with no link in it, made when missing.
    pub(super) fn real_directory(&self, path: &Path) -> io::Result<OwnedFd> {
        let strict = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.resolve(path, flags, strict) {
            Err(Errno::ENOENT) => {
                self.directory(path)?;
                Ok(self.resolve(path, flags, strict)?.into())
            }
            other => Ok(other?.into()),
        }
    }

    /// A directory, made with its parents when missing. Links on the way are followed inside the root.
    pub(super) fn directory(&self, path: &Path) -> io::Result<File> {
        match self.find(path, OFlag::O_DIRECTORY) {
            Err(Errno::ENOENT) => (),
            other => return Ok(other?),
        }
        let (parent, name) = split(path)?;
        let parent = self.directory(&parent)?;
        match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
            Err(Errno::EEXIST) => (), // a link to nowhere: the opening below says so
            other => other?,
        }
        let made = self.find(path, OFlag::O_DIRECTORY)?;
        fchown(&made, Some(self.owner), Some(self.owner))?;
        Ok(made)
    }

    /// Makes an empty file unless something is there, and opens what is there as a place to mount on.
    pub(super) fn file_place(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.find(path, OFlag::O_PATH) {
            Err(Errno::ENOENT) => self.write(path, b"")?,
            other => return Ok(other?.into()),
        }
        Ok(self.find(path, OFlag::O_PATH)?.into())
    }

    /// Writes a file in place of whatever is there, a link included, but not a directory. Mode 0644, owned by root.
    pub(super) fn write(&self, path: &Path, contents: &[u8]) -> io::Result<()> {
        let (parent, name) = split(path)?;
        let parent = self.directory(&parent)?;
        match unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => (),
            other => other?,
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(nix::fcntl::openat(&parent, name, flags, Mode::from_bits_truncate(0o644))?);
        fchown(&file, Some(self.owner), Some(self.owner))?;
        file.write_all(contents)
    }

    fn resolve(&self, path: &Path, flags: OFlag, resolve: ResolveFlag) -> nix::Result<File> {
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
        loop {
            match openat2(self.directory.as_fd(), path, how) {
                // The kernel asks to try again where something was renamed meanwhile.
                Err(Errno::EAGAIN | Errno::EINTR) => (),
                other => return other.map(File::from),
            }
        }
    }
}

/// The parent and the last name. `EINVAL` for a path that ends in `..` or has no name.
fn split(path: &Path) -> io::Result<(PathBuf, &OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((Path::new("/").join(parent), name)),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

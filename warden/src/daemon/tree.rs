//! The host's side of a copy, with rsync's rules: `dir/` is what is in the directory, `dir` the directory; permissions
//! and links are kept; a file with several names becomes several files; devices, pipes and sockets are left out.

use super::Error;
use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use tar::{Archive, Builder, Entry, EntryType, Header};

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// What is copied from the host.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    /// The name that it is given; nothing for the contents of a directory.
    name: Option<PathBuf>,
}

impl Source {
    /// Reads the path of a request; `allow` says whether it may be read, and gives it without links.
    pub(crate) fn of(text: &str, allow: impl Fn(&Path) -> Result<PathBuf, Error>) -> Result<Self, Error> {
        let path = allow(Path::new(text))?;
        let contents = text.ends_with('/') || text.ends_with("/.");
        let name = Path::new(text).file_name().map(PathBuf::from).filter(|_| !contents);
        Ok(Source { path, name })
    }

    /// Writes the tar stream.
    pub(crate) fn write(&self, out: File) -> Result<(), Error> {
        let mut archive = Builder::new(out);
        let written = (|| {
            // Opened once by its real path; from there on nothing is looked up by path, and no link is followed.
            let parent = self.path.parent().unwrap_or(Path::new("/"));
            let parent = open_directory(parent)?;
            match (&self.name, self.path.file_name()) {
                (Some(name), Some(file)) => pack(&mut archive, &parent, file, name),
                // The contents of a directory, or the root itself.
                (_, file) => {
                    let file = file.unwrap_or(OsStr::new("."));
                    let directory = openat(&parent, file, DIRECTORY, Mode::empty())?;
                    let stat = nix::sys::stat::fstat(&directory)?;
                    archive.append_data(&mut header(&stat, EntryType::Directory), "./", io::empty())?;
                    pack_all(&mut archive, directory, Path::new("."))
                }
            }
        })();
        written.and_then(|()| archive.into_inner().map(drop)).map_err(Error::io("read", &self.path))
    }
}

/// Opens a directory by a path without links. One that has a link in it now has been exchanged since it was allowed.
fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(DIRECTORY).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    Ok(openat2(AT_FDCWD, path, how)?)
}

fn pack(archive: &mut Builder<File>, parent: &OwnedFd, file: &OsStr, name: &Path) -> io::Result<()> {
    let stat = fstatat(parent, file, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => {
            let directory = openat(parent, file, DIRECTORY, Mode::empty())?;
            archive.append_data(&mut header(&stat, EntryType::Directory), name, io::empty())?;
            pack_all(archive, directory, name)
        }
        SFlag::S_IFLNK => {
            let target = readlinkat(parent, file)?;
            archive.append_link(&mut header(&stat, EntryType::Symlink), name, target)
        }
        SFlag::S_IFREG => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let opened = File::from(openat(parent, file, flags, Mode::empty())?);
            let stat = nix::sys::stat::fstat(&opened)?;
            let size = stat.st_size as u64;
            let mut header = header(&stat, EntryType::Regular);
            header.set_size(size);
            // A file that shrinks while it is read would leave the stream out of step.
            let exactly = opened.take(size).chain(io::repeat(0)).take(size);
            archive.append_data(&mut header, name, exactly)
        }
        _ => Ok(()),
    }
}

fn pack_all(archive: &mut Builder<File>, directory: OwnedFd, name: &Path) -> io::Result<()> {
    let mut listing = Dir::from_fd(directory.try_clone()?)?;
    let mut names: Vec<Vec<u8>> = Vec::new();
    for entry in listing.iter() {
        let entry = entry?;
        let file = entry.file_name().to_bytes();
        if file != b"." && file != b".." {
            names.push(file.to_vec());
        }
    }
    names.sort();
    for file in names {
        let file = OsStr::from_bytes(&file);
        match pack(archive, &directory, file, &name.join(file)) {
            // Removed since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            other => other?,
        }
    }
    Ok(())
}

fn header(stat: &FileStat, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o777);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

/// Where copies from a container go.
#[derive(Debug)]
pub(crate) struct Target {
    /// The directory that they go into.
    directory: PathBuf,
    /// The name that a single file gets instead of its own.
    name: Option<PathBuf>,
    owner: (Uid, Gid),
}

impl Target {
    /// Reads the path of a request; `allow` says whether it may be written, and gives it without links.
    pub(crate) fn of(
        text: &str,
        (uid, gid): (u32, u32),
        allow: impl Fn(&Path) -> Result<PathBuf, Error>,
    ) -> Result<Self, Error> {
        let owner = (Uid::from_raw(uid), Gid::from_raw(gid));
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Target { directory: allow(path)?, name: None, owner });
        }
        let name = path
            .file_name()
            .map(PathBuf::from)
            .ok_or_else(|| Error::Invalid(format!("{text} is no path")))?;
        let directory = allow(path.parent().unwrap_or(Path::new("/")))?;
        match text.ends_with('/') {
            true => Err(Error::Invalid(format!("directory {text} does not exist"))),
            false => Ok(Target { directory, name: Some(name), owner }),
        }
    }

    /// Reads the tar stream, which a container has written: nothing in it is believed.
    pub(crate) fn read(&self, data: File) -> Result<(), Error> {
        self.unpack(data).map_err(Error::io("write", &self.directory))
    }

    fn unpack(&self, data: File) -> io::Result<()> {
        let root = open_directory(&self.directory)?;
        let mut archive = Archive::new(data);
        let mut base = root.try_clone()?;
        for (number, entry) in archive.entries()?.enumerate() {
            let mut entry = entry?;
            let mut parts = parts(&entry.path()?)?;
            let is_directory = entry.header().entry_type() == EntryType::Directory;
            if let (0, Some(name)) = (number, &self.name) {
                if is_directory {
                    // A directory to a name that is not there: it is made, and the directory goes into it.
                    base = self.enter(&root, name.as_os_str())?;
                } else {
                    parts = vec![name.clone()];
                }
            }
            let Some((last, parents)) = parts.split_last() else { continue };
            let mut parent = base.try_clone()?;
            for part in parents {
                parent = self.enter(&parent, part.as_os_str())?;
            }
            self.place(&parent, last.as_os_str(), &mut entry)?;
        }
        Ok(())
    }

    /// A directory in a directory, made when missing. What is there and is no directory is removed.
    fn enter(&self, parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        match openat(parent, name, DIRECTORY, Mode::empty()) {
            Ok(directory) => return Ok(directory),
            Err(nix::Error::ENOENT) => (),
            Err(nix::Error::ENOTDIR | nix::Error::ELOOP) => {
                unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?
            }
            Err(error) => return Err(error.into()),
        }
        mkdirat(parent, name, Mode::from_bits_truncate(0o755))?;
        let directory = openat(parent, name, DIRECTORY, Mode::empty())?;
        fchown(&directory, Some(self.owner.0), Some(self.owner.1))?;
        Ok(directory)
    }

    fn place(&self, parent: &OwnedFd, name: &OsStr, entry: &mut Entry<'_, File>) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(entry.header().mode()? & 0o777);
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory {
            let directory = self.enter(parent, name)?;
            return Ok(fchmod(directory.as_fd(), mode)?);
        }
        if !matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::Symlink) {
            return Ok(());
        }
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(nix::Error::ENOENT) => (),
            Err(error) => return Err(error.into()),
        }
        let (uid, gid) = (Some(self.owner.0), Some(self.owner.1));
        if kind == EntryType::Symlink {
            let target = entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?;
            symlinkat(target.as_os_str(), parent, name)?;
            return Ok(fchownat(parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?);
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(parent, name, flags, Mode::from_bits_truncate(0o600))?);
        io::copy(entry, &mut file)?;
        fchown(&file, uid, gid)?;
        Ok(fchmod(&file, mode)?)
    }
}

/// The parts of a name; one that leads anywhere but down is refused.
fn parts(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => (),
            Component::Normal(part) => parts.push(PathBuf::from(part)),
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a name in the tar stream leads out of it",
                ));
            }
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn me() -> (u32, u32) {
        (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
    }

    fn copy(from: &str, to: &str) -> Result<(), Error> {
        let real = |path: &Path| path.canonicalize().map_err(Error::io("find", path));
        let stream = tempfile::tempfile().unwrap();
        Source::of(from, real)?.write(stream.try_clone().unwrap())?;
        io::Seek::rewind(&mut &stream).unwrap();
        Target::of(to, me(), real)?.read(stream)
    }

    #[test]
    fn a_tree_comes_over_with_its_modes_and_links() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = from.path().join("d");
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("sub/file"), "text").unwrap();
        fs::set_permissions(dir.join("sub/file"), fs::Permissions::from_mode(0o741)).unwrap();
        fs::hard_link(dir.join("sub/file"), dir.join("again")).unwrap();
        symlink("/etc/passwd", dir.join("link")).unwrap();
        nix::unistd::mkfifo(&dir.join("pipe"), Mode::S_IRWXU).unwrap();
        let (dir, into) = (dir.display().to_string(), to.path().display().to_string());
        copy(&dir, &into).unwrap();
        copy(&format!("{dir}/"), &into).unwrap();
        for base in [to.path().join("d"), to.path().to_owned()] {
            assert_eq!(fs::metadata(base.join("sub/file")).unwrap().permissions().mode() & 0o7777, 0o741);
            assert_eq!(fs::read_to_string(base.join("again")).unwrap(), "text");
            assert_eq!(fs::read_link(base.join("link")).unwrap(), Path::new("/etc/passwd"));
            assert!(!base.join("pipe").exists());
        }
        copy(&format!("{dir}/sub/file"), &format!("{into}/named")).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("named")).unwrap(), "text");
        assert!(copy(&dir, &format!("{into}/missing/")).is_err());
    }

    /// A stream as a hostile container may write it.
    fn hostile(entries: &[(EntryType, &str, &str)]) -> File {
        let mut archive = Builder::new(tempfile::tempfile().unwrap());
        for (kind, name, text) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o6777);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name(text).unwrap();
                header.set_size(0);
                header.set_cksum();
                archive.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(text.len() as u64);
                header.set_cksum();
                archive.append(&header, text.as_bytes()).unwrap();
            }
        }
        let mut file = archive.into_inner().unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file
    }

    #[test]
    fn nothing_is_written_outside_the_target() {
        let (outside, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = |data| {
            let real = |path: &Path| Ok(path.to_owned());
            Target::of(to.path().to_str().unwrap(), me(), real).unwrap().read(data)
        };
        let away = outside.path().to_str().unwrap();
        assert!(target(hostile(&[(EntryType::Regular, "../x", "bad")])).is_err());
        assert!(target(hostile(&[(EntryType::Regular, "/tmp/x", "bad")])).is_err());
        target(hostile(&[(EntryType::Symlink, "l", away), (EntryType::Regular, "l/x", "bad")])).unwrap();
        target(hostile(&[(EntryType::Symlink, "m", &format!("{away}/y")), (EntryType::Regular, "m", "ok")]))
            .unwrap();
        target(hostile(&[(EntryType::Link, "h", "/etc/passwd"), (EntryType::Char, "c", "")])).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(!to.path().join("h").exists() && !to.path().join("c").exists());
        assert_eq!(
            fs::metadata(to.path().join("m")).unwrap().permissions().mode() & 0o7777,
            0o777,
            "no set-uid"
        );
    }
}

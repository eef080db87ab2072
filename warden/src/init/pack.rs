//! A file or a directory out of the container, as a tar stream. Links stay links; sockets, pipes and devices are left out;
//! files with several names become several files. A file that changes while it is read keeps the size it had at first.

use crate::wire::Failure;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Writes `path` to `out`. With a `/` at its end, or `/.`: the contents of the directory, as `./`.
pub(super) fn pack(path: &Path, out: File) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new("pack", path, error.raw_os_error().unwrap_or(libc::EIO));
    let bytes = path.as_os_str().as_bytes();
    let contents = bytes.ends_with(b"/") || bytes.ends_with(b"/.");
    let mut archive = Builder::new(out);
    if contents {
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_dir() {
            return Err(Failure::new("pack", path, libc::ENOTDIR));
        }
        directory(&mut archive, path, Path::new("./"), &metadata).map_err(failed)?;
    } else {
        let name = path.file_name().ok_or_else(|| Failure::new("pack", path, libc::EINVAL))?;
        let metadata = std::fs::symlink_metadata(path).map_err(failed)?;
        entry(&mut archive, path, Path::new(name), &metadata).map_err(failed)?;
    }
    archive.into_inner().and_then(|mut out| out.flush()).map_err(failed)
}

fn entry(archive: &mut Builder<File>, path: &Path, name: &Path, metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        directory(archive, path, name, metadata)
    } else if kind.is_symlink() {
        let mut header = header(metadata, EntryType::Symlink, 0);
        archive.append_link(&mut header, name, std::fs::read_link(path)?)
    } else if kind.is_file() {
        file(archive, path, name)
    } else {
        Ok(())
    }
}

fn directory(archive: &mut Builder<File>, path: &Path, name: &Path, metadata: &Metadata) -> io::Result<()> {
    let mut header = header(metadata, EntryType::Directory, 0);
    archive.append_data(&mut header, name, io::empty())?;
    let mut names: Vec<_> =
        std::fs::read_dir(path)?.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    for child in names {
        let path: PathBuf = path.join(&child);
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) => entry(archive, &path, &name.join(&child), &metadata)?,
            // Removed since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn file(archive: &mut Builder<File>, path: &Path, name: &Path) -> io::Result<()> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(());
    }
    let size = metadata.len();
    let mut header = header(&metadata, EntryType::Regular, size);
    archive.append_data(&mut header, name, Exactly { file, left: size })
}

fn header(metadata: &Metadata, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(metadata.mode() & 0o777);
    header.set_uid(metadata.uid().into());
    header.set_gid(metadata.gid().into());
    header.set_mtime(metadata.mtime().max(0) as u64);
    header
}

/// As many bytes as were promised: cut where the file has grown, zeros where it has shrunk.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..most];
        let mut count = self.file.read(buffer)?;
        if count == 0 {
            buffer.fill(0);
            count = most;
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_size_that_was_promised() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        std::fs::write(&path, "abcdef").unwrap();
        for (promised, expected) in [(3, &b"abc"[..]), (8, &b"abcdef\0\0"[..])] {
            let mut out = Vec::new();
            Exactly { file: File::open(&path).unwrap(), left: promised }.read_to_end(&mut out).unwrap();
            assert_eq!(out, expected);
        }
    }
}

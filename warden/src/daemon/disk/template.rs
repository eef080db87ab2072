//! What a new ext4 filesystem is before anything is in it. Made by mkfs.ext4 once, written into every image.

use crate::daemon::Error;
use nix::unistd::{Whence, lseek};
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A new filesystem, as the few blocks of it that are not zero.
#[derive(Debug)]
pub(super) struct Template {
    /// Bytes of the whole.
    pub(super) size: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Template {
    /// Makes a filesystem in the file `path`, which is removed again.
    pub(super) fn make(path: &Path, size: u64, inodes: u64) -> Result<Template, Error> {
        let make = || -> Result<Template, Error> {
            let file = File::create(path).map_err(Error::io("make the template of disks", path))?;
            file.set_len(size).map_err(Error::io("size the template of disks", path))?;
            format(path, inodes)?;
            Template::read(path, size).map_err(Error::io("read the template of disks", path))
        };
        let made = make();
        let _ = fs::remove_file(path);
        made
    }

    fn read(path: &Path, size: u64) -> io::Result<Template> {
        let mut file = File::open(path)?;
        let mut pieces = Vec::new();
        let mut position = 0;
        while let Some(start) = seek(&file, position, Whence::SeekData)? {
            position = seek(&file, start, Whence::SeekHole)?.unwrap_or(size);
            let mut bytes = vec![0; (position - start) as usize];
            file.seek(SeekFrom::Start(start))?;
            io::Read::read_exact(&mut file, &mut bytes)?;
            pieces.push((start, bytes));
        }
        Ok(Template { size, pieces })
    }

    /// Writes them into an empty file of that size.
    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        self.pieces.iter().try_for_each(|(at, bytes)| file.write_all_at(bytes, *at))
    }
}

/// lseek(2) to data or a hole; `None` when there is none any more.
fn seek(file: &File, from: u64, whence: Whence) -> io::Result<Option<u64>> {
    match lseek(file, from as i64, whence) {
        Ok(position) => Ok(Some(position as u64)),
        Err(nix::Error::ENXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn format(image: &Path, inodes: u64) -> Result<(), Error> {
    // No journal: after a crash of the host the container is gone anyway. No blocks kept for root: limits are ours. Few
    // blocks that are not zero, and those together: no spare superblocks, all tables of the filesystem at its start.
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-b", "4096", "-O", "^has_journal,^resize_inode,sparse_super2"])
        .args(["-E", "lazy_itable_init=1,nodiscard,num_backup_sb=0,packed_meta_blocks=1", "-G", "1024"])
        .args(["-N", &inodes.to_string()])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_template_is_what_mkfs_has_made() {
        let place = tempfile::tempdir().unwrap();
        let (size, path) = (64 << 20, place.path().join("template"));
        let template = Template::make(&path, size, 1_000).unwrap();
        assert!(!path.exists());
        let stored: usize = template.pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(stored < 1 << 20, "{stored} bytes in {} pieces", template.pieces.len());
        let copy = place.path().join("copy");
        let file = File::create(&copy).unwrap();
        file.set_len(size).unwrap();
        template.write(&file).unwrap();
        let check = Command::new("e2fsck").args(["-f", "-n"]).arg(&copy).output().expect("e2fsck runs");
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
        let error = Template::make(&path, 4_096, 1_000).unwrap_err().chain();
        assert!(error.contains("mkfs.ext4 failed"), "{error}");
    }
}

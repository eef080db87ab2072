//! A tar stream into the container, with the rules of `rsync -rlp`: modes and links are kept, owners are who writes,
//! devices, pipes and sockets are left out. The first entry says what is copied: a directory (its entries go below the
//! target), or a single file, which goes into the target if that is a directory or ends in `/`, and becomes it if not.

use crate::wire::Failure;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tar::{Archive, Entry, EntryType};

/// Unpacks `data` at `target`.
pub(super) fn unpack(target: &Path, data: File) -> Result<(), Failure> {
    let failed = |path: &Path, error: io::Error| {
        Failure::new("unpack", path, error.raw_os_error().unwrap_or(libc::EBADMSG))
    };
    let mut archive = Archive::new(data);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    // No set-uid, set-gid or sticky bits.
    archive.set_mask(0o7000);
    let mut directories: Vec<(PathBuf, u32)> = Vec::new();
    let entries = archive.entries().map_err(|error| failed(target, error))?;
    for (number, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| failed(target, error))?;
        let name = entry.path().map_err(|error| failed(target, error))?.into_owned();
        let kind = entry.header().entry_type();
        if number == 0 && kind != EntryType::Directory && becomes(target) {
            place(&mut entry, target).map_err(|error| failed(target, error))?;
            continue;
        }
        if number == 0 {
            fs::create_dir_all(target).map_err(|error| failed(target, error))?;
        }
        match kind {
            EntryType::Directory => {
                let mode = entry.header().mode().map_err(|error| failed(&name, error))? & 0o777;
                // False for a name that leads out of the target: left out.
                if !entry.unpack_in(target).map_err(|error| failed(&name, error))? {
                    continue;
                }
                // Writable until everything is in it.
                let path = target.join(&name);
                fs::set_permissions(&path, Permissions::from_mode(mode | 0o700))
                    .map_err(|error| failed(&name, error))?;
                directories.push((path, mode));
            }
            EntryType::Regular | EntryType::Continuous | EntryType::Symlink | EntryType::Link => {
                entry.unpack_in(target).map_err(|error| failed(&name, error))?;
            }
            _ => (),
        }
    }
    for (path, mode) in directories.into_iter().rev() {
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Whether a single file becomes the target instead of going into it.
fn becomes(target: &Path) -> bool {
    !target.as_os_str().as_bytes().ends_with(b"/") && !target.is_dir()
}

fn place(entry: &mut Entry<'_, File>, target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous | EntryType::Symlink => entry.unpack(target).map(drop),
        _ => Ok(()),
    }
}

//! The system buildpacks are part of the binary, and are laid out in the data directory when the platform
//! comes up: one thing to install, and nothing that another user could change.

use anyhow::{Context, Result};
use include_dir::{Dir, DirEntry, include_dir};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

static BUILDPACKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/buildpacks");

/// Writes the buildpacks into `directory`, in place of those of an earlier version.
pub(crate) fn lay_out(directory: &Path) -> Result<()> {
    let new = sibling(directory, "new");
    let old = sibling(directory, "old");
    let failed = || format!("cannot lay the buildpacks out in {}", directory.display());
    remove(&new).with_context(failed)?;
    remove(&old).with_context(failed)?;
    write(&BUILDPACKS, &new).with_context(failed)?;
    if directory.exists() {
        fs::rename(directory, &old).with_context(failed)?;
    }
    fs::rename(&new, directory).with_context(failed)?;
    remove(&old).with_context(failed)
}

fn sibling(directory: &Path, suffix: &str) -> PathBuf {
    directory.with_extension(suffix)
}

fn remove(directory: &Path) -> std::io::Result<()> {
    if directory.exists() { fs::remove_dir_all(directory) } else { Ok(()) }
}

fn write(directory: &Dir<'_>, target: &Path) -> std::io::Result<()> {
    fs::create_dir_all(target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o755))?;
    for entry in directory.entries() {
        let name = entry.path().file_name().expect("an embedded file has a name");
        match entry {
            DirEntry::Dir(inner) => write(inner, &target.join(name))?,
            DirEntry::File(file) => {
                let path = target.join(name);
                fs::write(&path, file.contents())?;
                // Scripts say so themselves; the archive that this binary is does not keep modes.
                let mode = if file.contents().starts_with(b"#!") { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            }
        }
    }
    Ok(())
}

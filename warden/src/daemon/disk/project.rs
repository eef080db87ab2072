//! Directories of the host's own filesystem, limited by its project quotas. Each container's is a project of its own, whose
//! number is the first uid of its range: no two have the same, and none of them is anybody else's.

use crate::daemon::Error;
use crate::sys::filesystem::{self, Used};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Name of the directory in a container's directory.
pub(super) const DIRECTORY: &str = "disk";

/// Why a directory's filesystem cannot limit projects, if it cannot.
pub(super) fn probe(directory: &Path, project: u32) -> Result<(), String> {
    let place = directory.join("probe");
    let _ = fs::remove_dir(&place);
    let tried = (|| {
        fs::create_dir(&place)?;
        let opened = File::open(&place)?;
        if !filesystem::limits_projects(opened.as_fd())? {
            return Err(io::Error::other("limits of projects are off; mount it with prjquota"));
        }
        filesystem::set_project(opened.as_fd(), project)?;
        filesystem::limit_project(opened.as_fd(), project, Some(1 << 20), Some(16))?;
        let used = filesystem::used_by_project(opened.as_fd(), project)?;
        filesystem::limit_project(opened.as_fd(), project, None, None)?;
        match used.files {
            0 => Err(io::Error::other("it does not count projects")),
            _ => Ok(()),
        }
    })();
    let _ = fs::remove_dir(&place);
    tried.map_err(|error| error.to_string())
}

/// Makes the directory of a container; with `project` everything in it will be counted under that.
pub(super) fn make(directory: &Path, project: Option<u32>) -> Result<PathBuf, Error> {
    let path = directory.join(DIRECTORY);
    let mut builder = fs::DirBuilder::new();
    builder.mode(0o700).create(&path).map_err(Error::io("make the directory of a disk", &path))?;
    if let Some(project) = project {
        let opened = File::open(&path).map_err(Error::io("open the directory of a disk", &path))?;
        filesystem::set_project(opened.as_fd(), project)
            .map_err(Error::io("make a project of a disk", &path))?;
    }
    Ok(path)
}

/// Limits a project on the filesystem of a container's directory.
pub(super) fn limit(
    directory: &Path,
    project: u32,
    bytes: Option<u64>,
    inodes: Option<u64>,
) -> Result<(), Error> {
    let opened = File::open(directory).map_err(Error::io("open", directory))?;
    filesystem::limit_project(opened.as_fd(), project, bytes, inodes)
        .map_err(Error::io("set the quota of a project", directory))
}

/// What a project has.
pub(super) fn used(directory: &Path, project: u32) -> Option<Used> {
    filesystem::used_by_project(File::open(directory).ok()?.as_fd(), project).ok()
}

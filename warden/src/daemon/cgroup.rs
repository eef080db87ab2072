//! Control groups: where containers are counted and limited. cgroup v1 (also of hybrid hosts) and cgroup v2.
//!
//! A platform has one group under the daemon's own, `cupola-<instance>`, and a container one group in that. Groups are
//! made, emptied and removed by plain file operations; limits and figures go through cgroups-rs.

mod layout;
mod limits;
mod stats;

pub(crate) use layout::Layout;
pub(crate) use limits::UNLIMITED;

use super::Error;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a group that is not empty yet is looked at again.
const POLL: Duration = Duration::from_millis(5);

/// The groups of one container.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    v2: bool,
    directories: Vec<PathBuf>,
}

impl Group {
    /// The groups in these directories, whether they exist or not.
    pub(crate) fn new(v2: bool, directories: Vec<PathBuf>) -> Self {
        Group { v2, directories }
    }

    /// Makes the directories. Ones that exist are no error.
    pub(crate) fn make(&self) -> Result<(), Error> {
        for directory in &self.directories {
            match fs::create_dir(directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("make a cgroup", directory)(error));
                }
                _ => (),
            }
        }
        Ok(())
    }

    /// What a container's first process needs to enter them.
    pub(crate) fn entry(&self) -> crate::wire::CgroupEntry {
        match (self.v2, self.directories.first()) {
            (true, Some(directory)) => crate::wire::CgroupEntry::V2 { dir: directory.clone() },
            _ => crate::wire::CgroupEntry::V1 {
                tasks: self.directories.iter().map(|dir| dir.join("tasks")).collect(),
            },
        }
    }

    /// The processes in them.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let mut all: Vec<i32> = Vec::new();
        for directory in &self.directories {
            let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Kills every process but `spare` until there is none, or the deadline has come; gives the number that is left.
    pub(crate) fn kill(&self, spare: Option<i32>, timeout: Duration) -> usize {
        let deadline = Instant::now() + timeout;
        loop {
            let left: Vec<i32> = self.processes().into_iter().filter(|pid| Some(*pid) != spare).collect();
            if left.is_empty() || Instant::now() > deadline {
                return left.len();
            }
            // A process was in the group a moment ago, and nobody else makes processes in it: the number cannot have
            // become another's unless all numbers were used up within that moment.
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Removes the directories. Ones that are not there are no error.
    pub(crate) fn remove(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        for directory in &self.directories {
            loop {
                match fs::remove_dir(directory) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    // A process that has ended is counted a little longer.
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                        std::thread::sleep(POLL);
                    }
                    Err(error) => return Err(Error::io("remove a cgroup", directory)(error)),
                }
            }
        }
        Ok(())
    }

    /// The directory that has a controller's files.
    fn with(&self, file: &str) -> Option<&Path> {
        self.directories.iter().map(PathBuf::as_path).find(|directory| directory.join(file).exists())
    }
}

fn read_number(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

/// The value of a key in a file of `key value` lines.
fn read_key(directory: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(directory.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn write(directory: &Path, file: &str, value: &str) -> Result<(), Error> {
    let path = directory.join(file);
    fs::write(&path, value).map_err(Error::io("write a cgroup file", &path))
}

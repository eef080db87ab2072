//! Control groups: where containers are counted and limited. cgroup v1 (also of hybrid hosts) and cgroup v2.
//!
//! A platform has one group under the daemon's own, `cupola-<instance>`, and a container one group in that: on v1 one in
//! each hierarchy. All of it is plain file operations: a limit or a figure is one line in one file.
//!
//! | file | what it does |
//! |---|---|
//! | `layout` | where the groups are on this host |
//! | `devices` | which devices containers may use: a list on v1, a program on v2 |
//! | `limits` | limits |
//! | `stats` | figures |

mod devices;
mod layout;
mod limits;
mod stats;

pub(crate) use layout::Layout;
pub(crate) use limits::{Processor, Rates, UNLIMITED};

use super::Error;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to wait for a group to become empty before the first other look, and at most between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));

/// What a directory of a group may have files of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    CpuAccounting,
    Pids,
    Io,
}

impl Controller {
    const ALL: [Controller; 5] =
        [Controller::Memory, Controller::Cpu, Controller::CpuAccounting, Controller::Pids, Controller::Io];

    /// A file that a group has if and only if it has this controller.
    fn mark(self, v2: bool) -> &'static str {
        match (self, v2) {
            (Controller::Memory, true) => "memory.max",
            (Controller::Memory, false) => "memory.limit_in_bytes",
            (Controller::Cpu, true) => "cpu.weight",
            (Controller::Cpu, false) => "cpu.shares",
            (Controller::CpuAccounting, true) => "cpu.stat",
            (Controller::CpuAccounting, false) => "cpuacct.usage",
            (Controller::Pids, _) => "pids.max",
            (Controller::Io, true) => "io.max",
            (Controller::Io, false) => "blkio.throttle.read_bps_device",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
            Controller::CpuAccounting => "cpuacct",
            Controller::Pids => "pids",
            Controller::Io => "io",
        }
    }
}

/// For each controller the number of the directory that has it, if any has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Homes([Option<usize>; Controller::ALL.len()]);

impl Homes {
    /// Looks for them in directories that exist.
    fn find(v2: bool, directories: &[PathBuf]) -> Self {
        Homes(Controller::ALL.map(|controller| {
            directories.iter().position(|directory| directory.join(controller.mark(v2)).exists())
        }))
    }
}

/// The groups of one container.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    v2: bool,
    directories: Arc<[PathBuf]>,
    homes: Homes,
}

impl Group {
    fn new(v2: bool, directories: Vec<PathBuf>, homes: Homes) -> Self {
        Group { v2, directories: directories.into(), homes }
    }

    /// Makes the directories. Ones that exist are no error.
    pub(crate) fn make(&self) -> Result<(), Error> {
        self.directories.iter().try_for_each(|directory| make(directory, "make a cgroup"))
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
        for directory in self.directories.iter() {
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
        let mut pause = PAUSES.0;
        loop {
            let left: Vec<i32> = self.processes().into_iter().filter(|pid| Some(*pid) != spare).collect();
            if left.is_empty() {
                return 0;
            }
            if !(spare.is_none() && self.kill_all()) {
                // A process was in the group a moment ago, and nobody else makes processes in it: the number cannot
                // have become another's unless all numbers were used up within that moment.
                for pid in &left {
                    let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
                }
            }
            if Instant::now() > deadline {
                return left.len();
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// v2 since 5.14: kills all at once, also what is being forked in this moment.
    fn kill_all(&self) -> bool {
        self.v2 && self.directories.first().is_some_and(|dir| fs::write(dir.join("cgroup.kill"), "1").is_ok())
    }

    /// Removes the directories. Ones that are not there are no error. One that cannot be removed does not keep the others.
    pub(crate) fn remove(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + timeout;
        let mut left = Vec::new();
        for directory in self.directories.iter() {
            if let Err(error) = remove(directory, deadline) {
                left.push((directory, error));
            }
        }
        let count = left.len();
        match left.into_iter().next() {
            None => Ok(()),
            Some((directory, error)) if count == 1 => Err(Error::io("remove a cgroup", directory)(error)),
            Some((directory, error)) => {
                Err(Error::Left(format!("{count} cgroups, among them {}: {error}", directory.display())))
            }
        }
    }

    /// The directory that has a controller's files.
    fn home(&self, controller: Controller) -> Option<&Path> {
        let number = self.homes.0[controller as usize]?;
        self.directories.get(number).map(PathBuf::as_path)
    }

    /// The same, or an error that says what is missing.
    fn needed(&self, controller: Controller) -> Result<&Path, Error> {
        let missing =
            || Error::Cgroups(format!("this host has no {} controller for containers", controller.name()));
        self.home(controller).ok_or_else(missing)
    }
}

fn make(directory: &Path, action: &'static str) -> Result<(), Error> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io(action, directory)(error))
        }
        _ => Ok(()),
    }
}

fn remove(directory: &Path, deadline: Instant) -> io::Result<()> {
    let mut pause = PAUSES.0;
    loop {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A process that has ended is counted a little longer.
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSES.1);
            }
            other => return other,
        }
    }
}

fn read_number(directory: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(directory.join(file)).ok()?.trim().parse().ok()
}

/// The value of a key in a text of `key value` lines.
fn key(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The value of a key in a file of `key value` lines.
fn read_key(directory: &Path, file: &str, name: &str) -> Option<u64> {
    key(&fs::read_to_string(directory.join(file)).ok()?, name)
}

fn write(directory: &Path, file: &str, value: &str) -> Result<(), Error> {
    let path = directory.join(file);
    fs::write(&path, value).map_err(|error| Error::CgroupValue {
        path,
        value: value.to_owned(),
        source: error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_that_cannot_be_removed_does_not_keep_the_others() {
        let place = tempfile::tempdir().unwrap();
        let directories: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| place.path().join(name)).collect();
        let group = Group::new(false, directories.clone(), Homes::default());
        group.make().unwrap();
        group.make().unwrap();
        fs::write(directories[0].join("in-the-way"), "").unwrap();
        let error = group.remove(Duration::ZERO).unwrap_err().chain();
        assert!(error.contains("/a"), "{error}");
        assert!(!directories[1].exists() && !directories[2].exists());
        fs::remove_file(directories[0].join("in-the-way")).unwrap();
        group.remove(Duration::ZERO).unwrap();
        group.remove(Duration::ZERO).unwrap();
    }

    #[test]
    fn controllers_are_found_by_their_files() {
        let place = tempfile::tempdir().unwrap();
        let directories: Vec<PathBuf> = ["a", "b"].iter().map(|name| place.path().join(name)).collect();
        directories.iter().for_each(|directory| fs::create_dir(directory).unwrap());
        fs::write(directories[1].join("memory.limit_in_bytes"), "").unwrap();
        let group = Group::new(false, directories.clone(), Homes::find(false, &directories));
        assert_eq!(group.home(Controller::Memory), Some(directories[1].as_path()));
        assert!(group.needed(Controller::Io).unwrap_err().chain().contains("no io controller"));
    }

    #[test]
    fn keys_are_whole_words() {
        assert_eq!(key("anon_thp 1\nanon 2\n", "anon"), Some(2));
        assert_eq!(key("anon 2\n", "file"), None);
    }
}

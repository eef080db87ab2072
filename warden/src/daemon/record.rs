//! The journal: one file per container, written before each step that it describes, so that a daemon that is killed at
//! any moment knows at its next start what there may be. Every name is derived from the id.

use super::Error;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Being created: a daemon that finds it so destroys it.
    Born,
    /// In use.
    Active,
    /// All its processes have been ended.
    Stopped,
    /// Being destroyed: a daemon that finds it so goes on.
    Destroyed,
}

impl Phase {
    /// The word of the protocol.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Born => "born",
            Phase::Active => "active",
            Phase::Stopped => "stopped",
            Phase::Destroyed => "destroyed",
        }
    }
}

/// Everything that the daemon must know about a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Internal name, 11 of a-z and 2-7.
    pub(crate) id: String,
    /// Name that clients use.
    pub(crate) handle: String,
    /// Where it is in its life.
    pub(crate) phase: Phase,
    /// Seconds; `u32::MAX` is never.
    pub(crate) grace_time: u32,
    /// Read-only layers, topmost first, the root filesystem last.
    pub(crate) layers: Vec<PathBuf>,
    /// Host paths shown inside.
    pub(crate) binds: Vec<BindRecord>,
    /// First address of its /30. Addresses and not a number of the pool: the pool may be another at the next start.
    pub(crate) network: Ipv4Addr,
    /// First uid of its range on the host.
    pub(crate) uid_base: u32,
    /// Its cgroup directories.
    pub(crate) cgroups: Vec<PathBuf>,
    /// Its init, once it runs.
    pub(crate) init: Option<InitProcess>,
    /// Bytes of disk.
    pub(crate) disk_bytes: u64,
    /// Bytes of memory, if limited.
    pub(crate) memory_bytes: Option<u64>,
    /// Share of the processor, if set.
    pub(crate) cpu_shares: Option<u64>,
    /// Ports of the host that lead to it.
    pub(crate) ports: Vec<Port>,
    /// Destinations that it may reach.
    pub(crate) outs: Vec<super::net::Out>,
    /// What has happened.
    pub(crate) events: Vec<String>,
    /// What clients keep with it.
    #[serde(default)]
    pub(crate) properties: super::properties::Properties,
    /// Its host name; its id when missing.
    #[serde(default)]
    pub(crate) hostname: Option<String>,
    /// Seconds since the epoch when it was made; 0 where an earlier daemon did not note it.
    #[serde(default)]
    pub(crate) created_at: u64,
}

/// A host path shown inside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BindRecord {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
    /// The host's uid and gid that the ordinary user stands for in it.
    #[serde(default)]
    pub(crate) owner: Option<(u32, u32)>,
}

/// A process, told from a later one of the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InitProcess {
    pub(crate) pid: i32,
    /// Field 22 of `/proc/<pid>/stat`: ticks since boot.
    pub(crate) start_time: u64,
}

/// A port of the host that leads to a port of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(crate) host: u16,
    pub(crate) container: u16,
    /// Whether it is of our pool.
    pub(crate) pooled: bool,
}

/// The directory of records.
#[derive(Debug)]
pub(crate) struct Journal(PathBuf);

impl Journal {
    /// Uses a directory, which is made when missing.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&directory).map_err(Error::io("make the journal directory", &directory))?;
        Ok(Journal(directory))
    }

    /// Writes a record; when this returns it is on disk.
    pub(crate) fn write(&self, record: &Record) -> Result<(), Error> {
        let path = self.path(&record.id);
        let text = serde_json::to_vec_pretty(record).expect("a record has no keys but text");
        replace(&path, &text).map_err(Error::io("write the journal", &path))
    }

    /// Removes a record: nothing of the container is left.
    pub(crate) fn remove(&self, id: &str) -> Result<(), Error> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove the journal entry", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Every record. What a killed daemon had half written is removed.
    pub(crate) fn read(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(Error::io("list the journal", &self.0))? {
            let path = entry.map_err(Error::io("list the journal", &self.0))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => {
                    let text = fs::read(&path).map_err(Error::io("read the journal", &path))?;
                    records.push(
                        serde_json::from_slice(&text).map_err(|source| Error::Journal { path, source })?,
                    );
                }
                _ => {
                    fs::remove_file(&path).map_err(Error::io("remove a half-written journal entry", &path))?
                }
            }
        }
        Ok(records)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }
}

/// Replaces a file by another of the same name, on disk when it returns.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

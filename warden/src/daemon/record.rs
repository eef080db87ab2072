//! What the daemon keeps of a container on disk; see `journal` for how.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;

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
    /// The start of the host that it was made in; empty in records of daemons that did not write it.
    #[serde(default)]
    pub(crate) boot: String,
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
    /// First address of its /30; `None` where it has no network. Addresses and not a number of the pool: the pool may be
    /// another at the next start.
    pub(crate) network: Option<Ipv4Addr>,
    /// Whether it has no writable layer.
    #[serde(default)]
    pub(crate) read_only: bool,
    /// First uid of its range on the host.
    pub(crate) uid_base: u32,
    /// Its cgroup directories.
    pub(crate) cgroups: Vec<PathBuf>,
    /// Its init, once it runs.
    pub(crate) init: Option<InitProcess>,
    /// Where its own files are; of a record that was written before there was a choice, unknown.
    #[serde(default)]
    pub(crate) disk: Option<super::disk::Disk>,
    /// What it may have.
    #[serde(default)]
    pub(crate) limits: super::limits::Limits,
    /// Seconds since the epoch when it was made; 0 where that was not written down.
    #[serde(default)]
    pub(crate) created_at: u64,
    /// What is known of its running out of memory.
    #[serde(default)]
    pub(crate) out_of_memory: Option<super::oom::OutOfMemory>,
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

impl Record {
    /// A record with nothing in it yet.
    pub(crate) fn blank(id: String, phase: Phase) -> Self {
        Record {
            boot: String::new(),
            handle: id.clone(),
            id,
            phase,
            grace_time: u32::MAX,
            layers: Vec::new(),
            binds: Vec::new(),
            network: None,
            read_only: false,
            uid_base: 0,
            cgroups: Vec::new(),
            init: None,
            disk: None,
            limits: super::limits::Limits::default(),
            created_at: 0,
            out_of_memory: None,
            ports: Vec::new(),
            outs: Vec::new(),
            events: Vec::new(),
        }
    }
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

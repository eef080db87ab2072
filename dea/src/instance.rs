//! One instance.
//!
//! - [`state`]: the machine, drawn and pure
//! - `runner`: the task that owns the instance and carries out what the machine says
//! - `container`: its container, from stack and droplet to a started process
//! - `environment`: what the process gets to know, as environment
//! - `health`: when it counts as healthy
//! - `logs`, `output`: its lines; `kept`: its last output

pub(crate) mod container;
mod environment;
mod health;
mod kept;
pub(crate) mod logs;
mod output;
mod runner;
pub(crate) mod state;

use crate::{filters::Candidate, resources::Reservation};
use cupola_protocol::{
    InstanceId, Version,
    dea::{InstanceHeartbeat, InstanceState, Start, default_partition},
    droplet::ExitReason,
};
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::{mpsc, watch};

pub(crate) use kept::{Kept, Outputs};
pub(crate) use runner::{Origin, start};

/// What is known of an instance, and kept over a restart of the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its id.
    pub(crate) instance: InstanceId,
    /// What was asked for; `dea.update` changes its routes and version.
    pub(crate) message: Start,
    /// Its state, as the bus spells it.
    pub(crate) state: InstanceState,
    /// Since when, in seconds since 1970.
    pub(crate) state_timestamp: f64,
    /// When it was accepted, in seconds since 1970.
    pub(crate) accepted: f64,
    /// Its process, from its start on.
    pub(crate) process: Option<Process>,
    /// Bytes of its output that were passed on.
    pub(crate) offset: u64,
    /// How it ended.
    pub(crate) exit: Option<Exit>,
}

/// A started process and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// The job in the container.
    pub(crate) job: u32,
    /// How it is reached.
    pub(crate) address: Address,
}

/// How an instance is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    /// Address that routers use.
    pub(crate) host: String,
    /// Port that routers use.
    pub(crate) port: u16,
    /// Address of the container on its link.
    pub(crate) container_host: String,
    /// Port inside.
    pub(crate) container_port: u16,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// Exit status of the process; −1 when it never had one.
    pub(crate) status: i32,
    /// In words for the developer.
    pub(crate) description: String,
}

impl Exit {
    /// The end of an instance whose process was never started or has no status.
    pub(crate) fn without_status(description: impl Into<String>) -> Self {
        Self { status: -1, description: description.into() }
    }
}

impl Record {
    /// A new instance.
    pub(crate) fn new(message: Start, now: f64) -> Self {
        Self {
            instance: InstanceId::generate(),
            message,
            state: InstanceState::Born,
            state_timestamp: now,
            accepted: now,
            process: None,
            offset: 0,
            exit: None,
        }
    }

    /// What filters look at.
    pub(crate) fn candidate(&self) -> Candidate<'_> {
        Candidate {
            app: &self.message.droplet,
            version: &self.message.version,
            instance: &self.instance,
            index: self.message.index,
            state: self.state,
        }
    }

    /// What it has reserved.
    pub(crate) fn reservation(&self) -> Reservation {
        let limits = self.message.limits;
        Reservation { state: self.state, memory: limits.mem, disk: limits.disk }
    }

    /// Its part of the heartbeat; none when it is as good as gone. `BORN` goes as `STARTING`, which historic
    /// health managers know.
    pub(crate) fn heartbeat(&self) -> Option<InstanceHeartbeat> {
        let state = match self.state {
            InstanceState::Stopping | InstanceState::Stopped => return None,
            InstanceState::Born => InstanceState::Starting,
            state => state,
        };
        Some(InstanceHeartbeat {
            cc_partition: default_partition(),
            droplet: self.message.droplet.clone(),
            version: self.message.version.clone(),
            instance: self.instance.clone(),
            index: self.message.index,
            state,
            state_timestamp: self.state_timestamp,
        })
    }

    /// Whether it is at the same place of the same app.
    pub(crate) fn same_slot(&self, other: &Self) -> bool {
        self.message.droplet == other.message.droplet && self.message.index == other.message.index
    }
}

/// What the owner of all instances can tell one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// End, for this reason.
    Stop(ExitReason),
    /// Take these routes and perhaps this version.
    Update {
        /// All routes from now on.
        uris: Vec<String>,
        /// The version from now on.
        version: Option<Version>,
    },
    /// Tell the routers again.
    Register,
    /// Leave the container alone and end the task: the agent goes, the instance stays.
    Detach,
}

/// The owner's side of one instance.
#[derive(Debug)]
pub(crate) struct Instance {
    record: watch::Receiver<Record>,
    offset: Arc<AtomicU64>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Instance {
    /// What is known of it now.
    pub(crate) fn record(&self) -> watch::Ref<'_, Record> {
        self.record.borrow()
    }

    /// The same, with the output that was passed on so far: what a journal keeps.
    pub(crate) fn snapshot(&self) -> Record {
        Record { offset: self.offset.load(Ordering::Relaxed), ..self.record.borrow().clone() }
    }

    /// Bytes of its output that were passed on.
    pub(crate) fn offset(&self) -> u64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Tells it something. An instance that has ended hears nothing.
    pub(crate) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Whether its task has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.commands.is_closed()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cupola_protocol::{AppId, Mebibytes, dea::Limits};

    /// An instance of an app, for tests that need one.
    pub(crate) fn record(app: &str) -> Record {
        let message = Start {
            droplet: AppId::new(app),
            name: app.to_owned(),
            index: 0,
            version: Version::new("v1"),
            uris: vec![],
            stack: "default".to_owned(),
            sha1: String::new(),
            sha256: None,
            executable_uri: String::new(),
            services: vec![],
            limits: Limits { mem: Mebibytes(64), disk: Mebibytes(128), fds: 1024 },
            cc_partition: default_partition(),
            env: vec![],
            start_command: None,
            health_check_timeout: None,
            health_check_type: None,
            health_check_http_endpoint: None,
            vcap_application: serde_json::Map::new(),
            egress_network_rules: vec![],
        };
        Record::new(message, 0.0)
    }
}

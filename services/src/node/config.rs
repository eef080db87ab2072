//! The section `[service_node]`.

use super::Error;
use crate::plan::KNOWN;
use cupola_protocol::{Mebibytes, services::Engine};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, net::Ipv4Addr, path::PathBuf, time::Duration};

/// How a service node is set up. Times are in seconds, fractions are allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which one of its kind, for `vcap.component.*`.
    pub index: u32,
    /// The node's own directory: its volumes are in it. The warden must allow it in bind mounts.
    pub data_dir: PathBuf,
    /// Directory of the stacks. The warden must allow them as root filesystems.
    pub stacks_dir: PathBuf,
    /// The stack that has the servers.
    pub stack: String,
    /// The warden's socket.
    pub warden_socket: PathBuf,
    /// Address of this host that apps reach instances by. Without it the address that the host itself would use to
    /// reach others. Instances that are bound already keep the address that they were bound with.
    pub advertise_host: Option<Ipv4Addr>,
    /// Which engines this node runs.
    pub engines: Vec<Engine>,
    /// Memory for all instances together.
    pub memory_mb: Mebibytes,
    /// Disk for all instances together.
    pub disk_mb: Mebibytes,
    /// Ports of the host for instances, one each, for as long as they live. Apart from the warden's own pool and from
    /// those that the kernel gives to clients, since an instance comes back on its port after a restart of the host.
    pub ports: Ports,
    /// The plans that this node serves. A gateway offers those of the same names.
    pub plans: Vec<Plan>,
    /// Time between two announcements.
    pub announce_seconds: f64,
    /// An operation that takes longer is taken back, and answered with an error.
    pub op_time_limit_seconds: f64,
    /// How long a server may take to accept clients.
    pub start_timeout_seconds: f64,
    /// Time between two looks at the size of a volume.
    pub volume_check_seconds: f64,
    /// An instance's share of the processor is its memory in MiB over this, 2 at least.
    pub memory_to_cpu_share_ratio: u64,
    /// What happens to the servers when the node is told to end.
    pub on_shutdown: OnShutdown,
    /// The status page.
    pub status: cupola_status::Config,
}

/// A range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// The first.
    pub start: u16,
    /// How many.
    pub count: u16,
}

/// What an instance may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The engine.
    pub engine: Engine,
    /// Its name: the gateway's plan of the same name.
    pub name: String,
    /// Memory of the container: the kernel ends a server that wants more.
    pub memory_mb: Mebibytes,
    /// Size of the volume. It is looked at every `volume_check_seconds`. Above it the instance takes no more data until
    /// some is deleted; above one and a half times it, PostgreSQL takes no more connections of apps.
    pub disk_mb: Mebibytes,
    /// Connections of apps.
    pub connections: u32,
}

/// What happens to the servers when the node is told to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnShutdown {
    /// They are stopped, and started again with the node.
    #[default]
    Stop,
    /// They run on, and the next node with this data directory takes them up.
    Keep,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            index: 0,
            data_dir: "/var/lib/cupola/service-node".into(),
            stacks_dir: "/var/lib/cupola/stacks".into(),
            stack: "services".to_owned(),
            warden_socket: "/run/cupola/warden.sock".into(),
            advertise_host: None,
            engines: Engine::ALL.to_vec(),
            memory_mb: Mebibytes(2048),
            disk_mb: Mebibytes(16384),
            ports: Ports { start: 30_000, count: 2000 },
            plans: KNOWN
                .iter()
                .map(|plan| Plan {
                    engine: plan.engine,
                    name: plan.name.to_owned(),
                    memory_mb: plan.memory,
                    disk_mb: plan.disk,
                    connections: plan.connections,
                })
                .collect(),
            announce_seconds: 30.0,
            op_time_limit_seconds: 45.0,
            start_timeout_seconds: 60.0,
            volume_check_seconds: 10.0,
            memory_to_cpu_share_ratio: 8,
            on_shutdown: OnShutdown::Stop,
            status: cupola_status::Config::default(),
        }
    }
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |key, problem: &str| Err(Error::Config { key, problem: problem.to_owned() });
        for (key, value) in [
            ("announce_seconds", self.announce_seconds),
            ("op_time_limit_seconds", self.op_time_limit_seconds),
            ("start_timeout_seconds", self.start_timeout_seconds),
            ("volume_check_seconds", self.volume_check_seconds),
        ] {
            if !(value > 0.0 && value <= 1e9) {
                return refuse(key, "must be a number above 0");
            }
        }
        if self.memory_to_cpu_share_ratio == 0 {
            return refuse("memory_to_cpu_share_ratio", "must be at least 1");
        }
        let last = u32::from(self.ports.start) + u32::from(self.ports.count);
        if self.ports.start == 0 || self.ports.count == 0 || last > 65_536 {
            return refuse("ports", "start and count must name ports between 1 and 65535");
        }
        let mut names = BTreeSet::new();
        for plan in &self.plans {
            if plan.name.is_empty() || !names.insert((plan.engine, &plan.name)) {
                return refuse("plans", "each must have a name, and no two of one engine the same");
            }
            // What the servers need to start at all.
            let least = match plan.engine {
                Engine::Postgresql => (128, 256),
                Engine::Redis => (32, 64),
            };
            if plan.memory_mb.0 < least.0 || plan.disk_mb.0 < least.1 || plan.connections == 0 {
                return refuse(
                    "plans",
                    "postgresql needs 128 MiB of memory and 256 of disk at least, redis 32 and 64, and either 1 connection",
                );
            }
        }
        Ok(())
    }

    /// A plan of an engine that this node runs.
    pub(crate) fn plan(&self, engine: Engine, name: &str) -> Option<&Plan> {
        let mut plans = self.plans_of(engine);
        plans.find(|plan| plan.name == name)
    }

    /// The plans of an engine, none for one that this node does not run.
    pub(crate) fn plans_of(&self, engine: Engine) -> impl Iterator<Item = &Plan> {
        let runs = self.engines.contains(&engine);
        self.plans.iter().filter(move |plan| runs && plan.engine == engine)
    }
}

/// A validated number of seconds as a duration.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |config: Config| config.validate().unwrap_err().to_string();
        assert!(refused(Config { announce_seconds: 0.0, ..Config::default() }).contains("announce_seconds"));
        let ports = Ports { start: 65_000, count: 1000 };
        assert!(refused(Config { ports, ..Config::default() }).contains("ports"));
        let mut twice = Config::default();
        twice.plans.push(twice.plans[0].clone());
        assert!(refused(twice).contains("plans"));
        let mut tiny = Config::default();
        tiny.plans[0].memory_mb = Mebibytes(16);
        assert!(refused(tiny).contains("128"));
    }

    #[test]
    fn an_engine_that_is_not_run_has_no_plans() {
        let config = Config { engines: vec![Engine::Redis], ..Config::default() };
        assert_eq!(config.plan(Engine::Postgresql, "small"), None);
        assert!(config.plan(Engine::Redis, "small").is_some());
    }
}

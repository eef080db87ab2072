//! The section `[dea]`.

use crate::{Error, FilesConfig};
use cupola_protocol::{Mebibytes, dea::EgressRule};
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, path::PathBuf, time::Duration};

/// How a node agent is set up. Times are in seconds, fractions are allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which one of its kind, for `vcap.component.*` and route tags.
    pub index: u32,
    /// Data directory of the platform: the agent's own files are in `dea/` below it.
    pub data_dir: PathBuf,
    /// Directory of the stacks; without it `stacks/` in the data directory.
    pub stacks_dir: Option<PathBuf>,
    /// The warden's socket.
    pub warden_socket: PathBuf,
    /// Address at which routers reach the instances. Without it each instance is registered with the host's
    /// end of its link, which is reachable on this machine only.
    pub host: Option<IpAddr>,
    /// Where the node stands, for spreading instances.
    pub zone: String,
    /// Memory to hand out; without it 80 % of the machine's.
    pub memory_mb: Option<Mebibytes>,
    /// Disk to hand out; without it what is free in the data directory at the start.
    pub disk_mb: Option<Mebibytes>,
    /// The memory counts so many times.
    pub memory_overcommit_factor: f64,
    /// The disk counts so many times.
    pub disk_overcommit_factor: f64,
    /// Time between two heartbeats.
    pub heartbeat_seconds: f64,
    /// Time between two advertisements.
    pub advertise_seconds: f64,
    /// Time between two registrations of a route, until a router asks for another pace.
    pub register_seconds: f64,
    /// How long an instance may take to become healthy, when its app does not say.
    pub health_check_timeout_seconds: f64,
    /// Megabytes of memory per processor share.
    pub memory_to_cpu_share_ratio: u64,
    /// Fewest processor shares of an instance.
    pub min_cpu_shares: u64,
    /// Most processor shares of an instance.
    pub max_cpu_shares: u64,
    /// Processes and threads of an instance.
    pub processes: u64,
    /// What every instance may reach, beside what the controller says of one: its services. Hosts, neighbours and
    /// link-local addresses stay closed: the warden sees to that.
    pub egress: Vec<EgressRule>,
    /// Lines that an instance may log per second; the rest is dropped and counted.
    pub log_lines_per_second: u32,
    /// Bytes that an instance may log per second; the rest is dropped and counted.
    pub log_bytes_per_second: u64,
    /// Output that is kept for an agent that is away.
    pub output_ring_bytes: u64,
    /// The largest droplet.
    pub droplet_max_mb: Mebibytes,
    /// An inactivity of so long ends the fetch of a droplet.
    pub droplet_fetch_timeout_seconds: f64,
    /// Droplets that nothing uses are kept up to this size all together.
    pub droplet_budget_mb: Mebibytes,
    /// A droplet that nothing has used for so long is deleted.
    pub droplet_unused_seconds: f64,
    /// How often unused droplets, old crashes and old readings are removed.
    pub clean_seconds: f64,
    /// How long a crash is known, and its log files are kept.
    pub crash_lifetime_seconds: f64,
    /// What happens to the instances when the agent is told to end.
    pub on_shutdown: OnShutdown,
    /// The status page.
    pub status: cupola_status::Config,
    /// How the files of instances are served.
    pub files: FilesConfig,
}

/// What happens to the instances when the agent is told to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnShutdown {
    /// They are stopped, and reported as ended with their agent.
    #[default]
    Stop,
    /// They run on, and the next agent with this data directory takes them up.
    Keep,
}

impl Default for Config {
    /// dea_ng's numbers (its config/dea.yml and lib/dea/config.rb) where it has them.
    fn default() -> Self {
        Self {
            index: 0,
            data_dir: "/var/lib/cupola".into(),
            stacks_dir: None,
            warden_socket: "/run/cupola/warden.sock".into(),
            host: None,
            zone: "default".to_owned(),
            memory_mb: None,
            disk_mb: None,
            memory_overcommit_factor: 1.0,
            disk_overcommit_factor: 1.0,
            heartbeat_seconds: 10.0,
            advertise_seconds: 5.0,
            register_seconds: 20.0,
            health_check_timeout_seconds: 60.0,
            memory_to_cpu_share_ratio: 8,
            min_cpu_shares: 1,
            max_cpu_shares: 256,
            processes: 512,
            egress: vec![EgressRule {
                protocol: "all".to_owned(),
                destination: "0.0.0.0/0".to_owned(),
                ports: None,
                icmp_type: None,
                icmp_code: None,
            }],
            log_lines_per_second: 500,
            log_bytes_per_second: 1 << 20,
            output_ring_bytes: 1 << 20,
            droplet_max_mb: Mebibytes(2048),
            droplet_fetch_timeout_seconds: 30.0,
            droplet_budget_mb: Mebibytes(4096),
            droplet_unused_seconds: 60.0,
            clean_seconds: 60.0,
            crash_lifetime_seconds: 3600.0,
            on_shutdown: OnShutdown::Stop,
            status: cupola_status::Config::default(),
            files: FilesConfig::default(),
        }
    }
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |key, problem: String| Err(Error::Config { key, problem });
        for (key, value) in [
            ("memory_overcommit_factor", self.memory_overcommit_factor),
            ("disk_overcommit_factor", self.disk_overcommit_factor),
            ("heartbeat_seconds", self.heartbeat_seconds),
            ("advertise_seconds", self.advertise_seconds),
            ("register_seconds", self.register_seconds),
            ("health_check_timeout_seconds", self.health_check_timeout_seconds),
            ("droplet_fetch_timeout_seconds", self.droplet_fetch_timeout_seconds),
            ("droplet_unused_seconds", self.droplet_unused_seconds),
            ("clean_seconds", self.clean_seconds),
            ("crash_lifetime_seconds", self.crash_lifetime_seconds),
        ] {
            if !(value > 0.0 && value <= 1e9) {
                return refuse(key, format!("{value} must be a number above 0"));
            }
        }
        for (key, value) in [
            ("memory_to_cpu_share_ratio", self.memory_to_cpu_share_ratio),
            ("min_cpu_shares", self.min_cpu_shares),
            ("processes", self.processes),
            ("log_lines_per_second", u64::from(self.log_lines_per_second)),
            ("log_bytes_per_second", self.log_bytes_per_second),
            ("output_ring_bytes", self.output_ring_bytes),
            ("droplet_max_mb", self.droplet_max_mb.0),
        ] {
            if value == 0 {
                return refuse(key, "must be at least 1".to_owned());
            }
        }
        if self.max_cpu_shares < self.min_cpu_shares {
            return refuse("max_cpu_shares", "must not be below min_cpu_shares".to_owned());
        }
        self.files.validate()?;
        for rule in &self.egress {
            if let Err(problem) = crate::egress::requests("", rule) {
                return refuse("egress", problem.to_string());
            }
        }
        Ok(())
    }

    /// Processor shares of an instance with this memory.
    pub(crate) fn cpu_shares(&self, memory: Mebibytes) -> u64 {
        (memory.0 / self.memory_to_cpu_share_ratio).clamp(self.min_cpu_shares, self.max_cpu_shares)
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
        let bad = Config { heartbeat_seconds: f64::NAN, ..Config::default() };
        assert!(matches!(bad.validate(), Err(Error::Config { key: "heartbeat_seconds", .. })));
        let bad = Config { min_cpu_shares: 300, ..Config::default() };
        assert!(matches!(bad.validate(), Err(Error::Config { key: "max_cpu_shares", .. })));
    }

    #[test]
    fn processor_shares_follow_the_memory() {
        let shares: Vec<u64> =
            [1, 64, 512, 4096].map(|mb| Config::default().cpu_shares(Mebibytes(mb))).into();
        assert_eq!(shares, [1, 8, 64, 256]);
    }
}

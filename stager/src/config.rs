//! What an operator may set.

use crate::Error;
use cupola_protocol::{Mebibytes, dea::EgressRule};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// Configuration of a stager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which one of its kind, for `vcap.component.*`.
    pub index: u32,
    /// The stager's own directory. The warden must allow it to be copied from and to.
    pub data_dir: PathBuf,
    /// Directory of the stacks. The warden must allow them as root filesystems.
    pub stacks_dir: PathBuf,
    /// The warden's socket.
    pub warden_socket: PathBuf,
    /// Directory of the system buildpacks, one directory each.
    pub buildpacks_dir: PathBuf,
    /// Names of the system buildpacks, in the order in which they are asked.
    pub buildpacks: Vec<String>,
    /// Seconds between two advertisements.
    pub advertise_interval_seconds: u64,
    /// Memory for all stagings together, in MiB: what is more is refused.
    pub memory_mb: u64,
    /// Disk for all stagings together, in MiB.
    pub disk_mb: u64,
    /// The least memory that a staging gets, in MiB: installing dependencies needs more than running the app.
    pub staging_memory_mb: u64,
    /// The least disk that a staging gets, in MiB.
    pub staging_disk_mb: u64,
    /// A staging's share of the processor; an app's is its memory over 8, at most 256.
    pub staging_cpu_shares: u64,
    /// Processes and threads that a user of a staging container may have.
    pub staging_processes: u64,
    /// Seconds after which a staging is given up, unless its request says less.
    pub max_duration_seconds: u64,
    /// The largest package that is downloaded, in MiB.
    pub max_package_mb: u64,
    /// The largest app after unpacking, in MiB.
    pub max_unpacked_mb: u64,
    /// The most files and directories that a package may hold.
    pub max_files: u64,
    /// The largest buildpack cache that is kept, in MiB; a larger one is dropped.
    pub max_cache_mb: u64,
    /// Certificates that programs in a staging trust; none leaves the stack's own. An operator's own authority
    /// belongs in the host's bundle, which is the default.
    pub ca_bundle: Option<PathBuf>,
    /// Variables that every staging gets, such as the address of a package index. An app's own win.
    pub environment: BTreeMap<String, String>,
    /// What every staging may reach, beside what its request says: the app's services. What the warden denies stays
    /// denied.
    pub egress: Vec<EgressRule>,
    /// The status page.
    pub status: cupola_status::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            index: 0,
            data_dir: "/var/lib/cupola/stager".into(),
            stacks_dir: "/var/lib/cupola/stacks".into(),
            warden_socket: "/run/cupola/warden.sock".into(),
            buildpacks_dir: "/var/lib/cupola/buildpacks".into(),
            buildpacks: ["nodejs", "python", "staticfile", "binary"].map(str::to_owned).into(),
            advertise_interval_seconds: 5,
            memory_mb: 4096,
            disk_mb: 16384,
            staging_memory_mb: 1024,
            staging_disk_mb: 4096,
            staging_cpu_shares: 512,
            staging_processes: 512,
            max_duration_seconds: 900,
            max_package_mb: 1024,
            max_unpacked_mb: 2048,
            max_files: 100_000,
            max_cache_mb: 1024,
            ca_bundle: Some("/etc/ssl/certs/ca-certificates.crt".into()),
            environment: BTreeMap::new(),
            egress: vec![EgressRule {
                protocol: "all".to_owned(),
                destination: "0.0.0.0/0".to_owned(),
                ports: None,
                icmp_type: None,
                icmp_code: None,
            }],
            status: cupola_status::Config::default(),
        }
    }
}

impl Config {
    /// Refuses what could not work.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let positive = [
            ("advertise_interval_seconds", self.advertise_interval_seconds),
            ("memory_mb", self.memory_mb),
            ("disk_mb", self.disk_mb),
            ("staging_memory_mb", self.staging_memory_mb),
            ("staging_disk_mb", self.staging_disk_mb),
            ("staging_cpu_shares", self.staging_cpu_shares),
            ("staging_processes", self.staging_processes),
            ("max_duration_seconds", self.max_duration_seconds),
            ("max_package_mb", self.max_package_mb),
            ("max_unpacked_mb", self.max_unpacked_mb),
            ("max_files", self.max_files),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Config { key, reason: "must be more than 0" });
        }
        if self.staging_memory_mb > self.memory_mb {
            return Err(Error::Config {
                key: "memory_mb",
                reason: "must hold at least one staging_memory_mb",
            });
        }
        if self.staging_disk_mb > self.disk_mb {
            return Err(Error::Config { key: "disk_mb", reason: "must hold at least one staging_disk_mb" });
        }
        if self.buildpacks.is_empty() {
            return Err(Error::Config { key: "buildpacks", reason: "must name at least one buildpack" });
        }
        Ok(())
    }

    /// Pause between two advertisements.
    pub(crate) fn advertise_interval(&self) -> Duration {
        Duration::from_secs(self.advertise_interval_seconds)
    }

    /// The limit of memory for an app that will have `wanted`.
    pub(crate) fn staging_memory(&self, wanted: Mebibytes) -> Mebibytes {
        wanted.max(Mebibytes(self.staging_memory_mb))
    }

    /// The limit of disk for an app that will have `wanted`.
    pub(crate) fn staging_disk(&self, wanted: Mebibytes) -> Mebibytes {
        wanted.max(Mebibytes(self.staging_disk_mb))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn what_cannot_work_is_refused_by_its_key() {
        let refused = |config: Config| config.validate().unwrap_err().to_string();
        assert!(refused(Config { max_files: 0, ..Config::default() }).contains("max_files"));
        assert!(refused(Config { memory_mb: 512, ..Config::default() }).contains("memory_mb"));
        assert!(refused(Config { buildpacks: vec![], ..Config::default() }).contains("buildpacks"));
    }
}

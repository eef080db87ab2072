//! The daemon's configuration, and what is derived from it.

use super::Error;
use super::net::{Ipv4Net, PoolNet};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The configuration; the `[warden]` section of `cupola.toml`, or a file of its own. Every key has a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The unix socket that clients connect to; made with mode 0660.
    pub socket: PathBuf,
    /// User (name or uid) who may use the socket besides root.
    pub socket_owner: Option<String>,
    /// Directory that the platform keeps its data in; ours is `warden/` in it.
    pub data_dir: PathBuf,
    /// Name of this platform in cgroups and firewall, `[a-z0-9]{1,12}`; from `data_dir` when missing. Two platforms
    /// on one host need two names, two network pools, two uid ranges and two port ranges.
    pub instance: Option<String>,
    /// The static `warden-init` program; beside the daemon's own executable when missing.
    pub init: Option<PathBuf>,
    /// Root filesystem (directory or EROFS image file) of containers that name none.
    pub rootfs: Option<PathBuf>,
    /// Directories of the host that a client other than root may name in bind mounts, copies, layers and root
    /// filesystems.
    pub host_paths: Vec<PathBuf>,
    /// Seconds without a connection after which a container is destroyed; 4294967295 for never.
    pub grace_time: u32,
    /// Bytes of output after which a job is killed.
    pub job_output_limit: u64,
    /// Seconds between SIGTERM and SIGKILL of a stop.
    pub stop_timeout: u64,
    /// Bytes that the names and values of one container's properties may have together.
    pub properties_bytes: usize,
    /// Processes and threads of one container.
    pub pids_limit: u64,
    /// Bytes of a container's `/dev/shm`.
    pub shm_bytes: u64,
    /// Bytes of a container's `/run`.
    pub run_bytes: u64,
    /// Files and directories of a container's `/dev/shm`, `/run` and, where it is in memory, `/tmp`, each.
    pub tmpfs_inodes: u64,
    /// Process limits by name (`nofile`, `nproc`, ...), over the built-in ones and under those of a request.
    pub rlimits: BTreeMap<String, u64>,
    /// `LANG` of jobs; the daemon's own when missing, or else `en_US.UTF-8`.
    pub lang: Option<String>,
    /// Addresses and what they may reach.
    pub network: Network,
    /// Ports of the host that `net_in` gives out.
    pub ports: Range,
    /// User ids of the host: each container has 65,536 of its own from `start` on, and `count` containers can be.
    pub uids: Range,
    /// Disk of containers.
    pub disk: Disk,
}

/// Addresses and what they may reach.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Network that each container gets a /30 of.
    pub pool: String,
    /// Largest packet on a container's link; that of the default route's link when missing.
    pub mtu: Option<u32>,
    /// Name servers of the containers; those of the host when empty.
    pub dns_servers: Vec<Ipv4Addr>,
    /// Networks that every container may reach, other containers among them.
    pub allow_networks: Vec<String>,
    /// Networks that no container may reach, whatever it is allowed. 169.254.0.0/16 is always one.
    pub deny_networks: Vec<String>,
    /// Whether containers may reach the host itself.
    pub allow_host_access: bool,
}

/// A range of numbers.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The first.
    pub start: u32,
    /// How many.
    pub count: u32,
}

/// Disk of containers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// What holds containers to their limits.
    pub method: DiskMethod,
    /// Bytes that a container may use when its creation does not say.
    pub default_bytes: u64,
    /// Most bytes that one may be given: the size of its (sparse) filesystem image.
    pub max_bytes: u64,
    /// Files and directories that a container may have when its creation does not say. (The historic DEA asks for this
    /// number of each of its containers.)
    pub inodes: u64,
    /// Disks that are kept ready for containers to come; 0 for none.
    pub pool: u32,
}

/// What holds containers to their disk limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskMethod {
    /// `project` where the filesystem of `data_dir` can, else `image`.
    Auto,
    /// Project quotas of the filesystem of `data_dir`: ext4 made with `-O quota,project` and mounted with `prjquota`, or
    /// XFS mounted with `pquota`.
    Project,
    /// A filesystem in an image file for each container.
    Image,
    /// Nothing: containers share the filesystem of `data_dir`.
    None,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            socket: "/run/cupola/warden.sock".into(),
            socket_owner: None,
            data_dir: "/var/lib/cupola".into(),
            instance: None,
            init: None,
            rootfs: None,
            host_paths: Vec::new(),
            grace_time: 300,
            job_output_limit: 10 << 20,
            stop_timeout: 10,
            properties_bytes: 256 << 10,
            pids_limit: 512,
            shm_bytes: 64 << 20,
            run_bytes: 16 << 20,
            tmpfs_inodes: 16_384,
            rlimits: BTreeMap::from([("nofile".to_owned(), 8192)]),
            lang: None,
            network: Network::default(),
            ports: Range { start: 61_001, count: 3_999 },
            uids: Range { start: 1_000_000, count: 4_096 },
            disk: Disk::default(),
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Network {
            pool: "10.254.0.0/16".to_owned(),
            mtu: None,
            dns_servers: Vec::new(),
            allow_networks: Vec::new(),
            deny_networks: Vec::new(),
            allow_host_access: false,
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Disk {
            method: DiskMethod::Auto,
            default_bytes: 16 << 30,
            max_bytes: 16 << 30,
            inodes: 200_000,
            pool: 8,
        }
    }
}

/// uids of one container.
pub(crate) const UIDS: u32 = 65_536;

impl Config {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read the configuration", path))?;
        toml::from_str(&text)
            .map_err(|source| Error::ConfigSyntax { path: path.to_owned(), source: Box::new(source) })
    }

    /// Checks what types cannot say.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let bad = |key: &'static str, why: String| Err(Error::Config { key, why });
        if let Some(name) = &self.instance
            && (name.is_empty()
                || name.len() > 12
                || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
        {
            return bad("instance", format!("{name:?} is not 1 to 12 of a-z and 0-9"));
        }
        if self.ports.count == 0
            || self.ports.start == 0
            || u64::from(self.ports.start) + u64::from(self.ports.count) > 65_536
        {
            return bad("ports", "start and count must name ports between 1 and 65535".to_owned());
        }
        let end = u64::from(self.uids.start) + u64::from(self.uids.count) * u64::from(UIDS);
        if self.uids.count == 0 || self.uids.start < UIDS || end > u64::from(u32::MAX) {
            return bad("uids", format!("start must be {UIDS} or more, and the last uid below {}", u32::MAX));
        }
        if self.disk.default_bytes > self.disk.max_bytes || self.disk.max_bytes < 16 << 20 {
            return bad(
                "disk",
                "default_bytes must not be above max_bytes, nor that below 16 MiB".to_owned(),
            );
        }
        if self.tmpfs_inodes == 0 || self.shm_bytes == 0 || self.run_bytes == 0 {
            return bad("tmpfs_inodes", "it, shm_bytes and run_bytes must be above 0".to_owned());
        }
        if self.disk.inodes < 16 || self.disk.inodes > u64::from(u32::MAX) {
            return bad("disk.inodes", format!("must be from 16 to {}", u32::MAX));
        }
        for name in self.rlimits.keys() {
            if super::rlimit::number(name).is_none() {
                return bad(
                    "rlimits",
                    format!("{name:?} is no process limit; see setrlimit(2), in lower case"),
                );
            }
        }
        self.pool()?;
        for (key, list) in [
            ("network.allow_networks", &self.network.allow_networks),
            ("network.deny_networks", &self.network.deny_networks),
        ] {
            for text in list {
                if let Err(why) = text.parse::<Ipv4Net>() {
                    return bad(key, format!("{text:?} {why}"));
                }
            }
        }
        Ok(())
    }

    /// The network pool.
    pub(crate) fn pool(&self) -> Result<PoolNet, Error> {
        PoolNet::parse(&self.network.pool).map_err(|why| Error::Config { key: "network.pool", why })
    }

    /// The name of this platform in what the kernel shows.
    pub(crate) fn instance(&self) -> String {
        self.instance.clone().unwrap_or_else(|| {
            // FNV-1a: all that is asked is that two directories seldom have one name.
            let hash = self
                .data_dir
                .as_os_str()
                .as_encoded_bytes()
                .iter()
                .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                    (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
                });
            format!("{:08x}", (hash >> 32) as u32 ^ hash as u32)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_a_file() {
        let config = Config::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        toml::from_str::<Config>(&text).unwrap().validate().unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_key() {
        let refused =
            |text: &str| toml::from_str::<Config>(text).unwrap().validate().unwrap_err().to_string();
        assert!(refused("instance = 'A b'").contains("instance"));
        assert!(refused("network.pool = '10.0.0.0/31'").contains("network.pool"));
        assert!(refused("network.allow_networks = ['10.0.0.1/33']").contains("allow_networks"));
        assert!(refused("ports = { start = 65000, count = 1000 }").contains("ports"));
        assert!(refused("uids = { start = 0, count = 10 }").contains("uids"));
        assert!(refused("rlimits = { files = 1 }").contains("rlimits"));
        assert!(toml::from_str::<Config>("sokcet = '/x'").is_err(), "unknown keys are errors");
    }
}

//! All containers of the daemon, and what they are given.

use super::cgroup::Layout;
use super::config::UIDS;
use super::container::Container;
use super::disk::Disks;
use super::id::{Ids, JobIds};
use super::journal::{Damaged, Journal};
use super::loopback::Loopbacks;
use super::net::firewall::Firewall;
use super::net::{PoolNet, link};
use super::oom::MemoryWatch;
use super::pool::Pool;
use super::record::{Port, Record};
use super::{Config, Error, lock};
use crate::spawner::client::Spawner;
use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use tokio::runtime::Handle;

/// `LANG` of jobs where nobody says.
const LANG: &str = "en_US.UTF-8";

/// All containers of the daemon.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) config: Config,
    /// Read to use it, written to replace it.
    pub(crate) spawner: RwLock<Spawner>,
    pub(crate) init: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) loopbacks: Loopbacks,
    pub(crate) firewall: Firewall,
    pub(crate) disks: Disks,
    pub(crate) memory: MemoryWatch,
    pub(crate) journal: Journal,
    /// Containers whose records cannot be read: what they have is nobody else's.
    pub(crate) damaged: Mutex<Vec<Damaged>>,
    pub(crate) depot: PathBuf,
    pub(crate) pool: PoolNet,
    pub(crate) mtu: u32,
    pub(crate) resolvers: Vec<Ipv4Addr>,
    /// `LANG` of jobs.
    pub(crate) lang: String,
    pub(crate) ids: Ids,
    pub(crate) job_ids: JobIds,
    pub(crate) pools: Mutex<Pools>,
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
    pub(crate) runtime: Handle,
}

/// What containers are given numbers of.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) uids: Pool,
    pub(crate) networks: Pool,
    pub(crate) ports: Pool,
}

/// Numbers of the pools that one container has.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) uids: Option<u32>,
    pub(crate) network: Option<u32>,
    pub(crate) ports: Vec<u32>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// uid of the client's process.
    pub(crate) uid: u32,
}

impl Engine {
    /// Prepares everything that containers need of the host, without any container yet.
    pub(crate) fn prepare(config: Config, init: &Path, runtime: Handle) -> Result<Self, Error> {
        let data = config.data_dir.join("warden");
        let depot = data.join("depot");
        for directory in [&data, &depot] {
            let mut builder = fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(Error::io("make the directory", directory))?;
        }
        let pool = config.pool()?;
        check_pool(pool, &config)?;
        let disks = Disks::prepare(&config.disk, &data.join("disk"), config.uids.start - 1)?;
        let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
        fs::write(forward, "1").map_err(Error::io("let the host forward packets", forward))?;
        let layout = Layout::prepare(&format!("cupola-{}", config.instance()))?;
        let resolvers = resolvers(&config);
        let firewall = Firewall::new(&config, pool, &resolvers);
        let spawner = Spawner::start(init).map_err(Error::Spawner)?;
        let pools = Pools {
            uids: Pool::new(config.uids.count),
            networks: Pool::new(pool.count()),
            ports: Pool::new(config.ports.count),
        };
        Ok(Engine {
            journal: Journal::open(data.join("journal"), depot.clone())?,
            damaged: Mutex::default(),
            job_ids: JobIds::open(data.join("last-job"))?,
            lang: lang(&config),
            mtu: config.network.mtu.unwrap_or_else(link::default_mtu),
            ids: Ids::default(),
            pools: Mutex::new(pools),
            containers: Mutex::default(),
            spawner: RwLock::new(spawner),
            init: init.to_owned(),
            memory: MemoryWatch::new(layout.is_v2())?,
            layout,
            loopbacks: Loopbacks::default(),
            firewall,
            disks,
            config,
            depot,
            pool,
            resolvers,
            runtime,
        })
    }

    /// The container of a handle.
    pub(crate) fn find(&self, handle: &str) -> Result<Arc<Container>, Error> {
        lock(&self.containers).get(handle).cloned().ok_or_else(|| Error::UnknownHandle(handle.to_owned()))
    }

    /// Every container.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        lock(&self.containers).values().cloned().collect()
    }

    /// Registers a container; its handle must be free.
    pub(crate) fn register(&self, record: Record) -> Result<Arc<Container>, Error> {
        let mut containers = lock(&self.containers);
        if containers.contains_key(&record.handle) {
            return Err(Error::DuplicateHandle(record.handle));
        }
        let container = Arc::new(Container::new(record, &self.depot, &self.layout));
        containers.insert(container.handle.clone(), container.clone());
        Ok(container)
    }

    /// Forgets a container, of which nothing is left, and gives back what it had.
    pub(crate) fn unregister(&self, container: &Container) {
        lock(&self.containers).remove(&container.handle);
        let record = container.record().clone();
        let numbers = self.numbers(&record);
        let mut pools = lock(&self.pools);
        numbers.uids.into_iter().for_each(|number| pools.uids.give_back(number));
        numbers.network.into_iter().for_each(|number| pools.networks.give_back(number));
        numbers.ports.into_iter().for_each(|number| pools.ports.give_back(number));
    }

    /// What of the pools a container has. What an earlier configuration has given is of no pool.
    pub(crate) fn numbers(&self, record: &Record) -> Numbers {
        let port = |port: &Port| u32::from(port.host).checked_sub(self.config.ports.start);
        Numbers {
            uids: record.uid_base.checked_sub(self.config.uids.start).map(|distance| distance / UIDS),
            network: record.network.and_then(|network| self.pool.number_of(network)),
            ports: record.ports.iter().filter(|port| port.pooled).filter_map(port).collect(),
        }
    }

    /// When there is no container, what the platform has in the kernel can go.
    pub(crate) fn leave(&self) {
        self.disks.close();
        if !self.all().is_empty() || !lock(&self.damaged).is_empty() {
            return;
        }
        for result in [self.firewall.delete(), self.layout.remove()] {
            if let Err(error) = result {
                tracing::warn!(error = error.chain(), "something is left of the platform");
            }
        }
    }

    /// Refuses a path of the host that the client may not name; gives it without links.
    pub(crate) fn host_path(&self, path: &Path, peer: Peer) -> Result<PathBuf, Error> {
        if !path.is_absolute() {
            return Err(Error::Invalid(format!("{} is not an absolute path of the host", path.display())));
        }
        let real = path.canonicalize().map_err(Error::io("find", path))?;
        let allowed = |dir: &PathBuf| dir.canonicalize().is_ok_and(|dir| real.starts_with(dir));
        match peer.uid == 0 || self.config.host_paths.iter().any(allowed) {
            true => Ok(real),
            false => Err(Error::Forbidden(path.to_owned())),
        }
    }
}

/// Refuses a pool that somebody else's addresses are in. Our own links of before a restart are in it rightly.
fn check_pool(pool: PoolNet, config: &Config) -> Result<(), Error> {
    let ours = |link: &str| {
        let id = link.strip_prefix("w-").and_then(|link| link.strip_suffix("-0"));
        id.is_some_and(|id| config.data_dir.join("warden/journal").join(format!("{id}.json")).exists())
    };
    match link::addresses_in(pool)?.into_iter().find(|(_, link)| !ours(link)) {
        None => Ok(()),
        Some((address, link)) => Err(Error::PoolInUse { pool: pool.net().to_string(), address, link }),
    }
}

/// The name servers of containers: the configured ones, or else the host's that a container can reach.
fn resolvers(config: &Config) -> Vec<Ipv4Addr> {
    if !config.network.dns_servers.is_empty() {
        return config.network.dns_servers.clone();
    }
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers =
        text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<Ipv4Addr>().ok());
    servers.filter(|address| !address.is_loopback()).collect()
}

/// `LANG` of jobs: the configured one, or else the daemon's own.
fn lang(config: &Config) -> String {
    let own = || std::env::var("LANG").ok().filter(|lang| !lang.is_empty() && !lang.contains('\0'));
    config.lang.clone().or_else(own).unwrap_or_else(|| LANG.to_owned())
}

//! Making a container.

use super::config::UIDS;
use super::container::Container;
use super::disk::Taken;
use super::engine::{Engine, Peer};
use super::limits::Limits;
use super::net::link;
use super::record::{BindRecord, InitProcess, Phase, Record};
use super::{Error, lock};
use crate::init::client::InitClient;
use crate::spawner::client::{SpawnError, Spawned, Spawner};
use crate::wire::{Bind, ContainerPlan, Layer, Upper, UserSpec};
use cupola_protocol::warden::{BindMode, CreateRequest};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The ordinary user of containers.
const USER: &str = "vcap";
/// Its uid and gid inside, where the root filesystem does not say.
const USER_ID: u32 = 1_000;
/// Longest host name, in bytes (`__NEW_UTS_LEN`).
const HOSTNAME: usize = 64;

impl Engine {
    /// Makes a container and gives its handle. When it fails, nothing is left, and the error is the first one.
    pub(crate) fn create(self: &Arc<Self>, request: CreateRequest, peer: Peer) -> Result<String, Error> {
        let begun = std::time::Instant::now();
        let container = self.reserve(request, peer)?;
        let _turn = lock(&container.turn);
        let built = self.build(&container).and_then(|()| self.follow_own(&container));
        match built {
            Ok(()) => {
                let ms = begun.elapsed().as_millis() as u64;
                tracing::info!(handle = container.handle, id = container.id, ms, "container created");
                Ok(container.handle.clone())
            }
            Err(error) => {
                self.tear_down(&container).unwrap_or_else(|left| {
                    tracing::error!(
                        handle = container.handle,
                        error = left.chain(),
                        "failed container left behind"
                    );
                });
                Err(error)
            }
        }
    }

    /// Checks the request, takes what the container needs of the pools, and registers it.
    fn reserve(&self, request: CreateRequest, peer: Peer) -> Result<Arc<Container>, Error> {
        let id = self.ids.next();
        let handle = request.handle.filter(|handle| !handle.is_empty()).unwrap_or_else(|| id.clone());
        if handle.len() > 1_024 || handle.contains('\0') {
            return Err(Error::Invalid("a handle has at most 1024 bytes, and no NUL".to_owned()));
        }
        let mut binds = Vec::new();
        for bind in request.bind_mounts {
            let source = Path::new(&bind.src_path);
            if !source.exists() {
                return Err(Error::Invalid(format!("bind mount source {} does not exist", bind.src_path)));
            }
            let mode = BindMode::try_from(bind.mode).map_err(|_| {
                Error::Invalid(format!("bind mount mode {} is neither RO (0) nor RW (1)", bind.mode))
            })?;
            let target = PathBuf::from(bind.dst_path);
            if !target.is_absolute() {
                return Err(Error::Invalid(format!(
                    "bind mount target {} is not absolute",
                    target.display()
                )));
            }
            let source = self.host_path(source, peer)?;
            let owner = match bind.owned {
                Some(true) => Some(owner_of(&source, peer)?),
                _ => None,
            };
            binds.push(BindRecord { source, target, read_only: mode == BindMode::Ro, owner });
        }
        let mut layers = Vec::new();
        for layer in request.layers {
            layers.push(self.layer(Path::new(&layer), peer)?);
        }
        layers.push(match (request.rootfs.filter(|path| !path.is_empty()), &self.config.rootfs) {
            (Some(path), _) => self.layer(Path::new(&path), peer)?,
            // The operator's choice needs nobody's permission.
            (None, Some(path)) => self.layer(path, Peer { uid: 0 })?,
            (None, None) => {
                let why = "no root filesystem: name one in the request, or set `rootfs` in the configuration";
                return Err(Error::Invalid(why.to_owned()));
            }
        });
        let properties = self.properties(request.properties)?;
        let hostname = request.hostname.filter(|name| !name.is_empty());
        hostname.as_deref().map(check_hostname).transpose()?;
        let mut limits_wanted = request.limits.unwrap_or_default();
        limits_wanted.disk_bytes = limits_wanted.disk_bytes.or(request.disk_bytes);
        let network = request.network.as_deref().filter(|text| !text.is_empty());
        let wanted = network.map(|text| {
            let outside = || Error::Invalid(format!("network {text:?} is not a /30 of {}", self.pool.net()));
            self.pool.number(text).ok_or_else(outside)
        });
        let wanted = wanted.transpose()?;
        let (no_network, read_only) =
            (request.no_network.unwrap_or(false), request.read_only.unwrap_or(false));
        if no_network && wanted.is_some() {
            return Err(Error::Invalid("a container without a network has no network address".to_owned()));
        }

        let mut limits = self.checked_limits(&Limits::initial(&self.config), &limits_wanted)?;
        if read_only {
            (limits.disk_bytes, limits.disk_inodes) = (None, None);
        }

        let (uids, network) = self.take(wanted, no_network)?;
        let record = Record {
            boot: self.journal.boot().to_owned(),
            cgroups: self.layout.directories(&id),
            grace_time: request.grace_time.unwrap_or(self.config.grace_time),
            handle,
            layers,
            binds,
            network: network.map(|network| self.pool.subnet(network).first()),
            read_only,
            uid_base: self.config.uids.start + uids * UIDS,
            limits,
            properties,
            hostname,
            created_at: super::now(),
            ..Record::blank(id, Phase::Born)
        };
        self.register(record).inspect_err(|_| {
            let mut pools = lock(&self.pools);
            pools.uids.give_back(uids);
            network.into_iter().for_each(|network| pools.networks.give_back(network));
        })
    }

    /// A uid range, and a network unless none is wanted.
    fn take(&self, wanted: Option<u32>, no_network: bool) -> Result<(u32, Option<u32>), Error> {
        let mut pools = lock(&self.pools);
        let count = self.config.uids.count;
        let uids =
            pools.uids.take().ok_or(Error::Exhausted { what: "uid range", count, key: "uids.count" })?;
        if no_network {
            return Ok((uids, None));
        }
        let network = match wanted {
            None => pools.networks.take(),
            Some(number) => pools.networks.take_exactly(number).then_some(number),
        };
        match (network, wanted) {
            (Some(network), _) => Ok((uids, Some(network))),
            (None, wanted) => {
                pools.uids.give_back(uids);
                Err(match wanted {
                    Some(_) => Error::Invalid("the network is in use by another container".to_owned()),
                    None => {
                        Error::Exhausted { what: "network", count: self.pool.count(), key: "network.pool" }
                    }
                })
            }
        }
    }

    /// A layer's path, which must be a directory or a file.
    fn layer(&self, path: &Path, peer: Peer) -> Result<PathBuf, Error> {
        let found = fs::metadata(path).map_err(|error| {
            Error::Invalid(format!("rootfs or layer {} cannot be used: {error}", path.display()))
        })?;
        match found.is_dir() || found.is_file() {
            true => self.host_path(path, peer),
            false => Err(Error::Invalid(format!(
                "rootfs or layer {} is neither directory nor file",
                path.display()
            ))),
        }
    }

    /// Everything of the container, from its first record to an init that answers.
    fn build(&self, container: &Container) -> Result<(), Error> {
        let disk = self.take_disk(container)?;
        let record = container.record().clone();
        self.journal.begin(&record)?;
        let directory = &container.directory;
        let made = fs::DirBuilder::new().mode(0o700).create(directory);
        made.map_err(Error::io("make the container's directory", directory))?;
        container.group.make()?;
        self.set_limits(container)?;
        let disk = disk.map(|disk| self.disks.place(disk, directory, &record.limits)).transpose()?;
        let namespace = match container.subnet {
            Some(subnet) => link::make(&container.id, subnet, self.mtu)?,
            None => self.loopbacks.take()?,
        };
        container.with_member(|member| self.firewall.add(member))?;

        let (upper, mount) = disk.map_or((Upper::None, None), |disk| (disk.upper, disk.mount));
        let plan = self.plan(container, &record, upper);
        let spawned = self.spawn_init(plan, namespace.as_fd(), mount.as_ref().map(AsFd::as_fd))?;
        drop(mount);
        let start_time =
            start_time(spawned.pid).ok_or_else(|| Error::Left("its init ended at once".to_owned()))?;
        let init = InitProcess { pid: spawned.pid, start_time };
        container.set_process(Some(spawned.pidfd));
        let socket = container.socket();
        let client =
            InitClient::connect_own(&socket).map_err(Error::io("reach the container's init", &socket))?;
        container.set_init(Some(Arc::new(client)));
        // The one record that makes it a container to be taken over.
        container.change(&self.journal, |record| (record.init, record.phase) = (Some(init), Phase::Active))
    }

    /// A disk for the container, unless it is to have none; its record says which.
    fn take_disk(&self, container: &Container) -> Result<Option<Taken>, Error> {
        let record = container.record().clone();
        if record.read_only {
            return Ok(None);
        }
        let disk = self.disks.take(record.uid_base, record.limits.disk_inodes)?;
        container.record().disk = Some(disk.disk());
        Ok(Some(disk))
    }

    /// Builds the container. A spawner that has ended is replaced for the next one.
    fn spawn_init(
        &self,
        plan: ContainerPlan,
        namespace: BorrowedFd<'_>,
        upper: Option<BorrowedFd<'_>>,
    ) -> Result<Spawned, Error> {
        let result =
            self.spawner.read().unwrap_or_else(PoisonError::into_inner).spawn(plan, namespace, upper);
        let gone = |failure: &SpawnError| matches!(failure.errno, libc::EPIPE | libc::ECONNRESET);
        if result.as_ref().is_err_and(gone) {
            let mut spawner = self.spawner.write().unwrap_or_else(PoisonError::into_inner);
            // Several that waited for it may have seen it go: the first of them replaces it.
            if spawner.is_gone() {
                tracing::error!("the spawner is gone; starting another");
                *spawner = Spawner::start(&self.init).map_err(Error::Spawner)?;
            }
        }
        result.map_err(Error::Build)
    }

    fn plan(&self, container: &Container, record: &Record, upper: Upper) -> ContainerPlan {
        let layer = |path: &PathBuf| match path.is_dir() {
            true => Layer::Directory(path.clone()),
            false => Layer::Erofs(path.clone()),
        };
        let bind = |bind: &BindRecord| Bind {
            source: bind.source.clone(),
            target: bind.target.clone(),
            read_only: bind.read_only,
            owner: bind.owner,
        };
        ContainerPlan {
            id: container.id.clone(),
            hostname: record.hostname.clone().unwrap_or_else(|| container.id.clone()),
            depot: container.directory.clone(),
            uid_base: record.uid_base,
            cgroup: container.group.entry(),
            lowers: record.layers.iter().map(layer).collect(),
            upper,
            binds: record.binds.iter().map(bind).collect(),
            shm_bytes: self.config.shm_bytes,
            run_bytes: self.config.run_bytes,
            tmpfs_inodes: self.config.tmpfs_inodes,
            views: self.layout.views(&container.id),
            files: self.files(container, record.hostname.as_deref().unwrap_or(&container.id)),
            user: UserSpec {
                name: USER.to_owned(),
                uid: USER_ID,
                gid: USER_ID,
                home: PathBuf::from("/home").join(USER),
            },
        }
    }

    fn files(&self, container: &Container, hostname: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let own =
            container.subnet.map_or(String::new(), |subnet| format!("{} {hostname}\n", subnet.container()));
        let resolvers: String =
            self.resolvers.iter().map(|server| format!("nameserver {server}\n")).collect();
        let files = [
            ("/etc/hostname", format!("{hostname}\n")),
            ("/etc/hosts", format!("127.0.0.1 localhost\n{own}")),
            ("/etc/resolv.conf", resolvers),
        ];
        files.map(|(path, text)| (PathBuf::from(path), text.into_bytes())).to_vec()
    }
}

/// The owner of a directory that a container shall write in the owner's name: the client itself, since nobody may have
/// files made in another's name, root's least of all.
fn owner_of(source: &Path, peer: Peer) -> Result<(u32, u32), Error> {
    let found = fs::symlink_metadata(source).map_err(Error::io("look at", source))?;
    match found.is_dir() && found.uid() == peer.uid {
        true => Ok((found.uid(), found.gid())),
        false => Err(Error::Invalid(format!(
            "{} is not a directory of the client's own: it belongs to uid {}, and the client is {}",
            source.display(),
            found.uid(),
            peer.uid
        ))),
    }
}

/// Refuses what is no host name: it becomes a line of `/etc/hosts`.
fn check_hostname(name: &str) -> Result<(), Error> {
    let right = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    match right && name.len() <= HOSTNAME {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "host name {name:?} is not up to {HOSTNAME} of letters, digits, `-`, `.` and `_`"
        ))),
    }
}

/// When a process began, in ticks since the host's start: field 22 of its stat file (proc(5)).
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name is in parentheses and may hold anything; the fields go on after the last one.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

//! The start of a daemon: containers of an earlier one are taken over, or their end is finished.

use super::config::UIDS;
use super::container::Container;
use super::create::start_time;
use super::engine::Engine;
use super::journal::Damaged;
use super::net::link;
use super::record::{Phase, Record};
use super::{Error, lock};
use crate::init::client::InitClient;
use crate::sys::process;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

impl Engine {
    /// Takes over every container that still runs; destroys the others and whatever nobody knows of.
    pub(crate) fn recover(self: &Arc<Self>) -> Result<(), Error> {
        let found = self.journal.read()?;
        self.spare(found.damaged)?;
        for record in found.records {
            self.claim(&record);
            let container = self.register(record)?;
            match self.adopt(&container) {
                Ok(()) => {
                    tracing::info!(handle = container.handle, id = container.id, "container taken over")
                }
                Err(why) => {
                    tracing::info!(
                        handle = container.handle,
                        id = container.id,
                        why,
                        "container cannot be taken over"
                    );
                    // Not journaled: its record has made this daemon come to that, and will make the next one.
                    container.record().phase = Phase::Destroyed;
                }
            }
        }
        // One transaction with all that live on, before anything else can go wrong.
        let all = self.all();
        let alive = |container: &&Arc<Container>| container.record().phase != Phase::Destroyed;
        let records: Vec<(Arc<Container>, Record)> = all
            .iter()
            .filter(alive)
            .map(|container| (container.clone(), container.record().clone()))
            .collect();
        let members: Vec<_> = records
            .iter()
            .filter_map(|(container, record)| {
                let (id, subnet) = (&container.id, container.subnet?);
                Some(super::net::firewall::Member { id, subnet, ports: &record.ports, outs: &record.outs })
            })
            .collect();
        self.firewall.rebuild(&members)?;
        for container in all.iter().filter(|container| !alive(container)) {
            let _turn = lock(&container.turn);
            if let Err(error) = self.tear_down(container) {
                tracing::error!(
                    handle = container.handle,
                    error = error.chain(),
                    "destroy will be tried again"
                );
            }
        }
        self.sweep()
    }

    /// Keeps what containers have whose records cannot be read: they are neither swept nor is what they have given again.
    fn spare(&self, damaged: Vec<Damaged>) -> Result<(), Error> {
        for container in &damaged {
            let Damaged { id, network, uid_base } = container;
            tracing::error!(
                id,
                ?network,
                ?uid_base,
                "container left alone: neither of its records can be read. End its processes and remove its journal \
                 entry and its directory in the depot, and the next start removes the rest"
            );
            let directory = self.depot.join(id);
            // Its directory for jobs belongs to the root of the container, its link has the address of the host's end.
            let owner = fs::metadata(directory.join("jobs")).ok().map(|found| found.uid());
            let label = link::name(id);
            let address = link::addresses_in(self.pool)?.into_iter().find(|(_, link)| *link == label);
            let network = (*network).or(address.map(|(address, _)| address));
            let mut pools = lock(&self.pools);
            if let Some(uid) = uid_base.or(owner).and_then(|uid| uid.checked_sub(self.config.uids.start)) {
                pools.uids.take_exactly(uid / UIDS);
            }
            if let Some(number) = network.and_then(|network| self.pool.number_of(network)) {
                pools.networks.take_exactly(number);
            }
        }
        *lock(&self.damaged) = damaged;
        Ok(())
    }

    /// Takes what a recorded container has out of the pools.
    fn claim(&self, record: &Record) {
        let numbers = self.numbers(record);
        let mut pools = lock(&self.pools);
        // One that is taken already, or of no pool, nobody else can be given either.
        if let Some(number) = numbers.uids {
            pools.uids.take_exactly(number);
        }
        if let Some(number) = numbers.network {
            pools.networks.take_exactly(number);
        }
        for number in numbers.ports {
            pools.ports.take_exactly(number);
        }
    }

    /// Connects to the init of a container, if it is the one that was started.
    fn adopt(self: &Arc<Self>, container: &Arc<Container>) -> Result<(), String> {
        let record = container.record().clone();
        if !self.journal.is_current(&record) {
            return Err("the host has been started anew since".to_owned());
        }
        if !matches!(record.phase, Phase::Active | Phase::Stopped) {
            return Err(format!("it was {}", record.phase.as_str()));
        }
        let init = record.init.ok_or("it has no init")?;
        // Opened first: what is then read of the number is read of this process, or it has ended.
        let process = process::pidfd_open(init.pid).map_err(|_| "its init is gone")?;
        if start_time(init.pid) != Some(init.start_time) {
            return Err("its init is gone".to_owned());
        }
        container.set_process(Some(process));
        let client = InitClient::connect(&container.socket()).map_err(|error| error.to_string())?;
        container.set_init(Some(Arc::new(client)));
        self.restore_limits(container);
        self.follow(container).map_err(|error| error.chain())?;
        if record.phase == Phase::Stopped {
            let _turn = lock(&container.turn);
            // The stop may have been cut off.
            self.end_processes(container, super::stop::How::Kill).map_err(|error| error.chain())?;
        }
        // Nobody was there to be told.
        self.check_memory(container, None);
        Ok(())
    }

    /// Removes what has our names and is nobody's.
    fn sweep(&self) -> Result<(), Error> {
        let mut known: Vec<String> = self.all().iter().map(|container| container.id.clone()).collect();
        known.extend(lock(&self.damaged).iter().map(|container| container.id.clone()));
        let is_known = |name: &str| known.iter().any(|id| id == name);
        let name = |path: &std::path::Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        self.layout.sweep(|path| name(path).is_some_and(|name| is_known(&name)))?;
        for entry in fs::read_dir(&self.depot).map_err(Error::io("list the depot", &self.depot))?.flatten() {
            let path = entry.path();
            let Some(id) = name(&path).filter(|id| !is_known(id)) else { continue };
            tracing::info!(id, "removing what is left of an unknown container");
            link::remove(&link::name(&id))?;
            fs::remove_dir_all(&path).map_err(Error::io("remove an unknown container's directory", &path))?;
        }
        Ok(())
    }
}

//! A container as the daemon holds it.

use super::cgroup::{Group, Layout};
use super::job::Job;
use super::journal::Journal;
use super::net::Subnet;
use super::net::firewall::Member;
use super::record::{Phase, Record};
use super::{Error, lock};
use crate::init::client::InitClient;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) handle: String,
    /// `<depot>/<id>`.
    pub(crate) directory: PathBuf,
    /// Its addresses; `None` where it has a loopback link alone.
    pub(crate) subnet: Option<Subnet>,
    pub(crate) group: Group,
    /// Held through every change of the container, so that changes go one after the other.
    pub(crate) turn: Mutex<()>,
    record: Mutex<Record>,
    init: Mutex<Option<Arc<InitClient>>>,
    /// A descriptor for the process of its init.
    process: Mutex<Option<Arc<OwnedFd>>>,
    pub(crate) jobs: Mutex<BTreeMap<u32, Arc<Job>>>,
    /// Connections that have referred to it and are still open, and how often that number has changed.
    pub(crate) references: Mutex<(usize, u64)>,
}

impl Container {
    /// The container of a record.
    pub(crate) fn new(record: Record, depot: &Path, layout: &Layout) -> Self {
        Container {
            id: record.id.clone(),
            handle: record.handle.clone(),
            directory: depot.join(&record.id),
            subnet: record.network.map(Subnet::at),
            group: layout.group(&record.id, record.cgroups.clone()),
            turn: Mutex::default(),
            record: Mutex::new(record),
            init: Mutex::default(),
            process: Mutex::default(),
            jobs: Mutex::default(),
            references: Mutex::default(),
        }
    }

    /// The record; not to be held over anything slow.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        lock(&self.record)
    }

    /// Changes the record, on disk first; what could not be written has not happened.
    pub(crate) fn change(&self, journal: &Journal, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let mut record = self.record();
        let mut changed = record.clone();
        change(&mut changed);
        journal.write(&changed)?;
        *record = changed;
        Ok(())
    }

    /// Adds an event; the same is not added twice.
    pub(crate) fn event(&self, journal: &Journal, event: &str) {
        if self.record().events.iter().any(|known| known == event) {
            return;
        }
        if let Err(error) = self.change(journal, |record| record.events.push(event.to_owned())) {
            tracing::error!(handle = self.handle, event, error = error.chain(), "event not recorded");
        }
    }

    /// Refuses unless the container is in one of these phases.
    pub(crate) fn require(&self, phases: &[Phase], allowed: &'static str) -> Result<(), Error> {
        let current = self.record().phase;
        match phases.contains(&current) {
            true => Ok(()),
            false => Err(Error::State { allowed, current: current.as_str() }),
        }
    }

    /// Refuses unless the container is active.
    pub(crate) fn require_active(&self) -> Result<(), Error> {
        self.require(&[Phase::Active], "active")
    }

    /// Its init; an error while it has none.
    pub(crate) fn init(&self) -> Result<Arc<InitClient>, Error> {
        let current = self.record().phase.as_str();
        lock(&self.init).clone().ok_or(Error::State { allowed: "active, stopped", current })
    }

    /// Gives it its init, or takes it away.
    pub(crate) fn set_init(&self, init: Option<Arc<InitClient>>) {
        *lock(&self.init) = init;
    }

    /// The process of its init, while it has one that is known to be it.
    pub(crate) fn process(&self) -> Option<Arc<OwnedFd>> {
        lock(&self.process).clone()
    }

    /// Gives it the process of its init, or takes it away.
    pub(crate) fn set_process(&self, process: Option<OwnedFd>) {
        *lock(&self.process) = process.map(Arc::new);
    }

    /// Where the init listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("init.sock")
    }

    /// Where a job's output is.
    pub(crate) fn job_directory(&self, job: u32) -> PathBuf {
        self.directory.join("jobs").join(job.to_string())
    }

    /// A job whose result has not been given.
    pub(crate) fn job(&self, id: u32) -> Result<Arc<Job>, Error> {
        lock(&self.jobs).get(&id).cloned().ok_or(Error::NoSuchJob(id))
    }

    /// Its addresses; an error where it has no network.
    pub(crate) fn network(&self) -> Result<Subnet, Error> {
        let none = || Error::Invalid(format!("container {} was made without a network", self.handle));
        self.subnet.ok_or_else(none)
    }

    /// Calls `act` with what the firewall must know of it: nothing where it has no network.
    pub(crate) fn with_member(&self, act: impl FnOnce(Member<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let Some(subnet) = self.subnet else { return Ok(()) };
        let record = self.record().clone();
        act(Member { id: &self.id, subnet, ports: &record.ports, outs: &record.outs })
    }

    /// The number of its init on the host.
    pub(crate) fn init_pid(&self) -> Option<i32> {
        self.record().init.map(|init| init.pid)
    }
}

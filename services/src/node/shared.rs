//! What every task of a node shares: the instances, and who has which port.

use super::{
    Config, Plan,
    capacity::Room,
    container::failed,
    figures::Figures,
    instance::{Command, Instance},
    record::{Phase, Record, Records},
};
use crate::{address, secret};
use cupola_bus::Bus;
use cupola_protocol::{
    ServiceNodeId,
    services::{Announce, Engine, ServiceError, error_code},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use warden_client::Client;

/// What every task of a node shares.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) id: ServiceNodeId,
    pub(crate) bus: Bus,
    pub(crate) warden: Client,
    pub(crate) stacks: rootfs::Store,
    pub(crate) records: Records,
    pub(crate) figures: Figures,
    /// Directory of the volumes.
    pub(crate) volumes: PathBuf,
    /// Instances by name.
    pub(crate) instances: Mutex<BTreeMap<String, Arc<Instance>>>,
    /// Something has changed that gateways should hear of.
    pub(crate) changed: Notify,
    /// The node ends.
    pub(crate) shutdown: CancellationToken,
    /// Tasks of instances, and answers under way.
    pub(crate) tasks: TaskTracker,
}

/// A place for an instance.
#[derive(Debug)]
pub(crate) enum Place {
    /// It is there already.
    Taken(Arc<Instance>),
    /// It is made now, by a task with this end of its commands.
    New(Arc<Instance>, mpsc::Receiver<Command>),
}

/// Takes a lock, whoever has panicked with it: what it guards is changed in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Node {
    /// Name of an instance's container.
    pub(crate) fn handle(&self, name: &str) -> String {
        format!("{}{name}", self.handle_prefix())
    }

    /// What the names of all our containers begin with, and nobody else's.
    pub(crate) fn handle_prefix(&self) -> String {
        let id: String = self.id.as_str().chars().take(8).collect();
        format!("service-{id}-")
    }

    /// Address that apps reach instances by.
    pub(crate) fn host(&self) -> Result<Ipv4Addr, String> {
        address::advertised(self.config.advertise_host).ok_or_else(|| {
            "this host has no address that apps could reach: set advertise_host in [service_node]".to_owned()
        })
    }

    /// An instance.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Instance>> {
        lock(&self.instances).get(name).cloned()
    }

    /// All instances.
    pub(crate) fn all(&self) -> Vec<Arc<Instance>> {
        lock(&self.instances).values().cloned().collect()
    }

    /// Finds the instance of this name, or a place for it.
    pub(crate) fn place(&self, engine: Engine, plan: &Plan, name: String) -> Result<Place, ServiceError> {
        let mut instances = lock(&self.instances);
        if let Some(instance) = instances.get(&name) {
            let record = lock(&instance.record);
            return match record.engine == engine && record.plan.name == plan.name {
                true => Ok(Place::Taken(instance.clone())),
                false => {
                    let why = format!("the instance {name} is there already, with another plan");
                    Err(ServiceError::new(409, error_code::MALFORMED, why))
                }
            };
        }
        let full = |why: String| ServiceError::new(503, error_code::UNAVAILABLE, why);
        if self.room(&instances).fits(plan) < 1 {
            return Err(full(format!("the node has no room for one more instance of plan {}", plan.name)));
        }
        let taken: BTreeSet<u16> = instances.values().map(|instance| lock(&instance.record).port).collect();
        let ports = self.config.ports;
        let port = (ports.start..=ports.start + (ports.count - 1))
            .filter(|port| !taken.contains(port))
            // A server of the host would be cut off by our mapping.
            .find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok())
            .ok_or_else(|| full("no port is free on the node: see [service_node.ports]".to_owned()))?;
        let record = Record {
            name: name.clone(),
            engine,
            plan: plan.clone(),
            phase: Phase::Creating,
            port,
            admin_password: secret::password(),
            job: None,
            users: BTreeSet::new(),
        };
        self.records.write(&record).map_err(|error| failed("write the record of the instance", &error))?;
        let (instance, commands) = Instance::new(record);
        instances.insert(name, instance.clone());
        Ok(Place::New(instance, commands))
    }

    fn room(&self, instances: &BTreeMap<String, Arc<Instance>>) -> Room {
        let plans: Vec<Plan> =
            instances.values().map(|instance| lock(&instance.record).plan(&self.config).clone()).collect();
        Room::whole(&self.config).without(plans.iter())
    }

    /// Why no instance could be made, whatever room there is.
    pub(crate) fn obstacle(&self) -> Option<String> {
        if let Err(error) = self.stacks.find(&self.config.stack) {
            return Some(format!(
                "{error}; build it with `cupola stack build {}` (half a minute)",
                self.config.stack
            ));
        }
        self.host().err()
    }

    /// What gateways are told: one announcement for each plan of an engine.
    pub(crate) fn announcements(&self, engine: Engine) -> Vec<Announce> {
        let error = self.obstacle();
        let room = self.room(&lock(&self.instances));
        let announce = |plan: &Plan| Announce {
            id: self.id.clone(),
            plan: plan.name.clone(),
            supported_versions: vec![super::engine::recipe(engine).version().to_owned()],
            available_capacity: if error.is_some() { 0 } else { room.fits(plan) },
            capacity_unit: 1,
            error: error.clone(),
        };
        self.config.plans_of(engine).map(announce).collect()
    }
}

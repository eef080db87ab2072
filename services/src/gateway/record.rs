//! What is known of instances and bindings: in memory, and one file for each instance on disk, written before anything is
//! done and before anything is answered.

use super::Error;
use crate::{files, secret::digest};
use cupola_protocol::{
    AppId, OfferingId, PlanId, ServiceBindingId, ServiceInstanceId, ServiceNodeId,
    osb::OperationState,
    services::{BindingCredentials, Engine},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// A node makes it.
    Provisioning,
    /// It can be used.
    Ready,
    /// It could not be made. The platform removes it, or tries again.
    Failed,
    /// A node removes it.
    Deprovisioning,
}

/// What goes on with an instance, or went on last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operation {
    /// What the platform asks for it with.
    pub(crate) id: String,
    pub(crate) state: OperationState,
    pub(crate) description: Option<String>,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) id: ServiceInstanceId,
    pub(crate) service_id: OfferingId,
    pub(crate) plan_id: PlanId,
    pub(crate) engine: Engine,
    /// Name of the plan.
    pub(crate) plan: String,
    pub(crate) organization_guid: String,
    pub(crate) space_guid: String,
    pub(crate) parameters: Option<Map<String, Value>>,
    /// Its name on the node.
    pub(crate) name: String,
    /// The node that has it, or may have it.
    pub(crate) node: Option<ServiceNodeId>,
    pub(crate) phase: Phase,
    pub(crate) operation: Operation,
    pub(crate) bindings: BTreeMap<ServiceBindingId, Binding>,
}

/// Where a binding is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BindingPhase {
    /// The node makes it.
    Binding,
    /// It can be used.
    Bound,
    /// It could not be made.
    Failed,
    /// The node takes it back.
    Unbinding,
}

/// A binding.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) service_id: OfferingId,
    pub(crate) plan_id: PlanId,
    pub(crate) app: Option<AppId>,
    pub(crate) parameters: Option<Map<String, Value>>,
    pub(crate) phase: BindingPhase,
    /// User on the node.
    pub(crate) username: String,
    pub(crate) password: String,
    /// What the node has answered.
    pub(crate) credentials: Option<BindingCredentials>,
}

impl std::fmt::Debug for Binding {
    /// Without the credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding")
            .field("username", &self.username)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// All instances.
#[derive(Debug)]
pub(crate) struct Instances {
    directory: PathBuf,
    known: Mutex<BTreeMap<ServiceInstanceId, Instance>>,
}

/// The instances while somebody decides: nobody else does meanwhile.
pub(crate) struct Turn<'a> {
    instances: &'a Instances,
    known: MutexGuard<'a, BTreeMap<ServiceInstanceId, Instance>>,
}

impl Instances {
    /// Reads what an earlier gateway has written.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        files::make_directory(&directory).map_err(Error::file("make", &directory))?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(&directory).map_err(Error::file("list", &directory))? {
            let path = entry.map_err(Error::file("list", &directory))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read(&path).map_err(Error::file("read", &path))?;
                let instance: Instance =
                    serde_json::from_slice(&text).map_err(|source| Error::Record { path, source })?;
                known.insert(instance.id.clone(), instance);
            } else {
                // What a killed gateway had half written.
                fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            }
        }
        Ok(Instances { directory, known: Mutex::new(known) })
    }

    /// Takes the turn to decide.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { instances: self, known: self.known.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// An instance as it is now.
    pub(crate) fn get(&self, id: &ServiceInstanceId) -> Option<Instance> {
        self.turn().get(id).cloned()
    }

    /// All instances as they are now.
    pub(crate) fn all(&self) -> Vec<Instance> {
        self.turn().known.values().cloned().collect()
    }

    /// Ids come from outside, and may be any text.
    fn path(&self, id: &ServiceInstanceId) -> PathBuf {
        self.directory.join(digest(&[id.as_str()], 64)).with_extension("json")
    }
}

impl Turn<'_> {
    /// An instance.
    pub(crate) fn get(&self, id: &ServiceInstanceId) -> Option<&Instance> {
        self.known.get(id)
    }

    /// Takes an instance up, or changes it: on disk first.
    pub(crate) fn put(&mut self, instance: Instance) -> io::Result<()> {
        files::write_whole(&self.instances.path(&instance.id), &serde_json::to_vec(&instance)?)?;
        self.known.insert(instance.id.clone(), instance);
        Ok(())
    }

    /// Changes an instance, if it is there.
    pub(crate) fn change(
        &mut self,
        id: &ServiceInstanceId,
        change: impl FnOnce(&mut Instance),
    ) -> io::Result<()> {
        let Some(mut instance) = self.known.get(id).cloned() else { return Ok(()) };
        change(&mut instance);
        self.put(instance)
    }

    /// Forgets an instance.
    pub(crate) fn remove(&mut self, id: &ServiceInstanceId) -> io::Result<()> {
        files::remove(&self.instances.path(id))?;
        self.known.remove(id);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn instance(id: &str, phase: Phase) -> Instance {
        Instance {
            id: id.into(),
            service_id: "s".into(),
            plan_id: "p".into(),
            engine: Engine::Redis,
            plan: "small".into(),
            organization_guid: "o".into(),
            space_guid: "s".into(),
            parameters: None,
            name: "d1".into(),
            node: None,
            phase,
            operation: Operation { id: "1".into(), state: OperationState::InProgress, description: None },
            bindings: BTreeMap::new(),
        }
    }

    #[test]
    fn what_was_written_is_read_whatever_its_id() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("instances");
        let instances = Instances::open(folder.clone()).unwrap();
        for id in ["one", "../../etc/passwd", &"long".repeat(500)] {
            instances.turn().put(instance(id, Phase::Ready)).unwrap();
        }
        instances.turn().change(&"one".into(), |instance| instance.phase = Phase::Failed).unwrap();
        instances.turn().remove(&"../../etc/passwd".into()).unwrap();
        let read = Instances::open(folder.clone()).unwrap();
        assert_eq!(read.all(), instances.all());
        assert_eq!((read.all().len(), read.get(&"one".into()).unwrap().phase), (2, Phase::Failed));
        let damaged = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
        fs::write(damaged, "{").unwrap();
        assert!(matches!(Instances::open(folder), Err(Error::Record { .. })), "damage is not passed over");
    }
}

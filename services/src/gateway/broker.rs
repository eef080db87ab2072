//! Carries out what the rules say, with the nodes. What was begun goes on when the client goes away, and when the gateway
//! is restarted: requests to nodes are the same again, and are answered as the first time.

use super::{
    Config, Plan, catalog,
    config::seconds,
    figures::Figures,
    nodes::Nodes,
    orphans::Orphans,
    record::{Binding, BindingPhase, Instance, Instances, Operation, Phase, Turn},
    rules::{self, Mode, Refused, Step},
};
use crate::secret;
use cupola_bus::{Bus, Error as BusError};
use cupola_protocol::{
    ServiceBindingId, ServiceInstanceId, ServiceNodeId,
    message::{Request, Subject},
    osb::{BindRequest, OperationState, ProvisionRequest},
    services::{
        Announce, Bind, BindingCredentials, BindingHandle, Engine, NodeHandles, Provision, PurgeOrphan,
        ServiceError, Unbind, Unprovision, WantedBinding, WantedInstance, error_code,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant as Moment,
};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// Hex digits of a name that say whose it is, and of those that say which.
const OURS: usize = 6;
const WHICH: usize = 26;

/// What the gateway's tasks share.
pub(crate) struct Broker {
    pub(crate) config: Config,
    /// Digits that all names of this gateway have: another one's are not its to judge.
    mark: String,
    bus: Bus,
    instances: Instances,
    nodes: Mutex<Nodes>,
    orphans: Mutex<Orphans>,
    pub(crate) figures: Figures,
    /// Operations under way.
    pub(crate) tasks: TaskTracker,
}

/// How an operation on a node ended.
type Ended = Result<(), ServiceError>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Broker {
    pub(crate) fn new(config: Config, id: &str, bus: Bus, instances: Instances, figures: Figures) -> Self {
        Broker {
            config,
            mark: secret::digest(&["gateway", id], OURS),
            bus,
            instances,
            nodes: Mutex::default(),
            orphans: Mutex::default(),
            figures,
            tasks: TaskTracker::new(),
        }
    }

    /// Name of an instance on its node: always the same, so that a request that is sent again finds it.
    fn instance_name(&self, id: &ServiceInstanceId) -> String {
        format!("d{}{}", self.mark, secret::digest(&["instance", id.as_str()], WHICH))
    }

    fn user_name(&self, instance: &ServiceInstanceId, binding: &ServiceBindingId) -> String {
        let digest = secret::digest(&["binding", instance.as_str(), binding.as_str()], WHICH);
        format!("u{}{digest}", self.mark)
    }

    /// Brings the figures up to date.
    pub(crate) fn show(&self) {
        let nodes = lock(&self.nodes).count();
        self.figures.show(&self.instances, nodes);
    }

    /// An instance.
    pub(crate) fn instance(&self, id: &ServiceInstanceId) -> Option<Instance> {
        self.instances.get(id)
    }

    fn mode(&self, plan: &Plan, accepts_incomplete: bool) -> Mode {
        Mode { accepts_incomplete, asynchronous: plan.asynchronous }
    }

    /// Makes an instance; [`Step::Done`] when it was there, [`Step::Begin`] when it was made or is being made.
    pub(crate) async fn provision(
        self: &Arc<Self>,
        id: &ServiceInstanceId,
        request: &ProvisionRequest,
        accepts_incomplete: bool,
    ) -> Result<(Step, Option<String>), Refused> {
        let plan = catalog::find(&self.config, &request.service_id, &request.plan_id)
            .ok_or_else(|| Refused::new(400, "no such service_id and plan_id: fetch the catalog again"))?;
        if request.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
            return Err(Refused::new(400, "instances of this plan take no parameters"));
        }
        let mode = self.mode(plan, accepts_incomplete);
        let (step, operation) = {
            let mut turn = self.instances.turn();
            let step = rules::provision(turn.get(id), request, mode)?;
            if !matches!(step, Step::Begin { .. }) {
                return Ok((step, None));
            }
            let operation = new_operation();
            let instance = Instance {
                id: id.clone(),
                service_id: request.service_id.clone(),
                plan_id: request.plan_id.clone(),
                engine: plan.engine,
                plan: plan.name.clone(),
                organization_guid: request.organization_guid.clone(),
                space_guid: request.space_guid.clone(),
                parameters: request.parameters.clone(),
                name: self.instance_name(id),
                // The node of a try that has failed may have it after all.
                node: turn.get(id).and_then(|before| before.node.clone()),
                phase: Phase::Provisioning,
                operation: operation.clone(),
                bindings: BTreeMap::new(),
            };
            turn.put(instance).map_err(not_written)?;
            (step, operation.id)
        };
        let ended = self.begin(id.clone());
        self.wait(step, operation, ended).await
    }

    /// Removes an instance.
    pub(crate) async fn deprovision(
        self: &Arc<Self>,
        id: &ServiceInstanceId,
        accepts_incomplete: bool,
    ) -> Result<(Step, Option<String>), Refused> {
        let (step, operation) = {
            let mut turn = self.instances.turn();
            let known = turn.get(id);
            let plan = known.and_then(|known| catalog::find(&self.config, &known.service_id, &known.plan_id));
            // A plan that is offered no longer is removed while the platform waits.
            let mode = Mode { accepts_incomplete, asynchronous: plan.is_some_and(|plan| plan.asynchronous) };
            let step = rules::deprovision(known, mode)?;
            if !matches!(step, Step::Begin { .. }) {
                return Ok((step, None));
            }
            let operation = new_operation();
            let id_of = operation.id.clone();
            turn.change(id, |instance| {
                instance.phase = Phase::Deprovisioning;
                instance.operation = operation;
            })
            .map_err(not_written)?;
            (step, id_of)
        };
        let ended = self.begin(id.clone());
        self.wait(step, operation, ended).await
    }

    async fn wait(
        &self,
        step: Step,
        operation: String,
        ended: oneshot::Receiver<Ended>,
    ) -> Result<(Step, Option<String>), Refused> {
        match step {
            Step::Begin { background: false } => match ended.await {
                Ok(Ok(())) => Ok((step, None)),
                Ok(Err(error)) => Err(refused(&error)),
                Err(_) => Err(Refused::new(500, "the gateway ends")),
            },
            step => Ok((step, Some(operation))),
        }
    }

    /// Takes up what an earlier gateway has left under way.
    pub(crate) fn resume(self: &Arc<Self>) -> Result<(), std::io::Error> {
        for instance in self.instances.all() {
            let unsure =
                |binding: &Binding| matches!(binding.phase, BindingPhase::Binding | BindingPhase::Unbinding);
            if instance.bindings.values().any(unsure) {
                // Nobody waits for them any more: the platform removes what it did not see succeed, and removes again
                // what it did not see removed.
                self.instances.turn().change(&instance.id, |instance| {
                    instance.bindings.values_mut().for_each(|binding| match binding.phase {
                        BindingPhase::Binding => binding.phase = BindingPhase::Failed,
                        BindingPhase::Unbinding => binding.phase = BindingPhase::Bound,
                        BindingPhase::Bound | BindingPhase::Failed => {}
                    });
                })?;
            }
            if matches!(instance.phase, Phase::Provisioning | Phase::Deprovisioning) {
                tracing::info!(instance = %instance.id, phase = ?instance.phase, "an operation is taken up again");
                drop(self.begin(instance.id));
            }
        }
        Ok(())
    }

    /// Does what an instance's phase says, in a task of its own.
    fn begin(self: &Arc<Self>, id: ServiceInstanceId) -> oneshot::Receiver<Ended> {
        let (told, heard) = oneshot::channel();
        let broker = self.clone();
        self.tasks.spawn(async move {
            let ended = broker.carry_out(&id).await;
            let _ = told.send(ended);
        });
        heard
    }

    async fn carry_out(&self, id: &ServiceInstanceId) -> Ended {
        let Some(instance) = self.instances.get(id) else { return Ok(()) };
        let making = instance.phase == Phase::Provisioning;
        let ended = match making {
            true => self.make(&instance).await,
            false => self.remove(&instance).await,
        };
        self.figures.ended(making, ended.is_ok());
        if let Err(error) = &ended {
            tracing::warn!(instance = %id, making, %error, "an operation has failed");
        }
        let mut turn = self.instances.turn();
        let written = match (&ended, making) {
            (Ok(()), false) => turn.remove(id),
            (Ok(()), true) => finish(&mut turn, id, Phase::Ready, OperationState::Succeeded, None),
            (Err(error), true) => {
                finish(&mut turn, id, Phase::Failed, OperationState::Failed, Some(error.to_string()))
            }
            // It is as it was: whether it could be used before is what its bindings depend on.
            (Err(error), false) => {
                finish(&mut turn, id, Phase::Ready, OperationState::Failed, Some(error.to_string()))
            }
        };
        ended.and(written.map_err(|error| internal(&error)))
    }

    async fn make(&self, instance: &Instance) -> Ended {
        let plan = catalog::find(&self.config, &instance.service_id, &instance.plan_id);
        let version = plan.and_then(|plan| plan.version.clone());
        let (mut excluded, mut refusal) = (BTreeSet::new(), None);
        loop {
            let wanted = (instance.engine, instance.plan.as_str(), version.as_deref());
            let over = self.config.allow_over_provisioning;
            // The node of an earlier try comes first, known or not: it may have the instance already.
            let before = instance.node.clone().filter(|node| !excluded.contains(node));
            let choose = || lock(&self.nodes).choose(wanted, &excluded, over);
            let chosen = before.map_or_else(choose, Ok);
            let node = match (chosen, refusal) {
                (Ok(node), _) => node,
                // What a node says of itself is more than that there is none.
                (Err(_), Some(refusal)) => return Err(refusal),
                (Err(none), None) => {
                    return Err(ServiceError::new(503, error_code::UNAVAILABLE, none.to_string()));
                }
            };
            // Before it is asked: whatever happens then, it is known where to look.
            self.instances
                .turn()
                .change(&instance.id, |known| known.node = Some(node.clone()))
                .map_err(|error| internal(&error))?;
            let request = Provision {
                plan: instance.plan.clone(),
                credentials: Some(WantedInstance { name: instance.name.clone() }),
                version: version.clone(),
            };
            lock(&self.nodes).begin(instance.engine, &node, &instance.plan);
            let answer = self.ask(&instance.engine.provision(&node), &request).await;
            lock(&self.nodes).end(instance.engine, &node);
            match answer.and_then(|answer| judge(answer.success, answer.error)) {
                Ok(()) => return Ok(()),
                // It has done nothing, and another may have room.
                Err(error) if error.msg.code == error_code::UNAVAILABLE => {
                    excluded.insert(node);
                    refusal = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn remove(&self, instance: &Instance) -> Ended {
        let Some(node) = &instance.node else { return Ok(()) };
        let bindings = instance.bindings.values().map(|binding| handle(instance, binding)).collect();
        let request = Unprovision { name: instance.name.clone(), bindings };
        let done = self.ask(&instance.engine.unprovision(node), &request).await?;
        judge(done.success, done.error)
    }

    /// Makes a binding; gives its credentials.
    pub(crate) async fn bind(
        self: &Arc<Self>,
        id: &ServiceInstanceId,
        binding_id: &ServiceBindingId,
        request: &BindRequest,
    ) -> Result<(Step, BindingCredentials), Refused> {
        if request.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
            return Err(Refused::new(400, "bindings take no parameters"));
        }
        let (instance, binding) = {
            let mut turn = self.instances.turn();
            let instance = turn.get(id);
            let known = instance.and_then(|instance| instance.bindings.get(binding_id));
            let step = rules::bind(instance, known, request)?;
            if step == Step::Done
                && let Some(credentials) = known.and_then(|known| known.credentials.clone())
            {
                return Ok((step, credentials));
            }
            let Some(instance) = instance.cloned() else {
                return Err(Refused::new(404, "there is no such instance"));
            };
            let binding = Binding {
                service_id: request.service_id.clone(),
                plan_id: request.plan_id.clone(),
                app: rules::app(request),
                parameters: request.parameters.clone(),
                phase: BindingPhase::Binding,
                username: self.user_name(id, binding_id),
                password: secret::password(),
                credentials: None,
            };
            let put =
                |instance: &mut Instance| _ = instance.bindings.insert(binding_id.clone(), binding.clone());
            turn.change(id, put).map_err(not_written)?;
            (instance, binding)
        };
        let (broker, binding_id) = (self.clone(), binding_id.clone());
        // A task, so that it goes on when the client goes away.
        let task =
            self.tasks.spawn(async move { broker.make_binding(&instance, &binding_id, &binding).await });
        match task.await {
            Ok(made) => made
                .map(|credentials| (Step::Begin { background: false }, credentials))
                .map_err(|e| refused(&e)),
            Err(_) => Err(Refused::new(500, "the operation broke off")),
        }
    }

    async fn make_binding(
        &self,
        instance: &Instance,
        binding_id: &ServiceBindingId,
        binding: &Binding,
    ) -> Result<BindingCredentials, ServiceError> {
        let asked = async {
            let node = instance.node.as_ref().ok_or_else(nowhere)?;
            let request = Bind {
                name: instance.name.clone(),
                bind_opts: serde_json::Map::new(),
                credentials: Some(WantedBinding {
                    username: binding.username.clone(),
                    password: binding.password.clone(),
                }),
            };
            let answer = self.ask(&instance.engine.bind(node), &request).await?;
            judge(answer.success, answer.error)?;
            answer.credentials.ok_or_else(|| {
                ServiceError::new(500, error_code::INTERNAL, "the node has answered without credentials")
            })
        };
        let made = asked.await;
        if let Err(error) = &made {
            tracing::warn!(instance = %instance.id, binding = %binding_id, %error, "a binding has failed");
        }
        self.change_binding(instance, binding_id, |binding| {
            binding.phase = if made.is_ok() { BindingPhase::Bound } else { BindingPhase::Failed };
            binding.credentials = made.as_ref().ok().cloned();
        })?;
        made
    }

    /// Takes a binding back.
    pub(crate) async fn unbind(
        self: &Arc<Self>,
        id: &ServiceInstanceId,
        binding_id: &ServiceBindingId,
    ) -> Result<Step, Refused> {
        let (instance, before) = {
            let mut turn = self.instances.turn();
            let instance = turn.get(id);
            let known = instance.and_then(|instance| instance.bindings.get(binding_id));
            let step = rules::unbind(instance, known)?;
            let (Step::Begin { .. }, Some(instance), Some(before)) =
                (&step, instance.cloned(), known.cloned())
            else {
                return Ok(step);
            };
            turn.change(id, |instance| {
                if let Some(binding) = instance.bindings.get_mut(binding_id) {
                    binding.phase = BindingPhase::Unbinding;
                }
            })
            .map_err(not_written)?;
            (instance, before)
        };
        let (broker, binding_id) = (self.clone(), binding_id.clone());
        let task =
            self.tasks.spawn(async move { broker.remove_binding(&instance, &binding_id, before).await });
        match task.await {
            Ok(removed) => {
                removed.map(|()| Step::Begin { background: false }).map_err(|error| refused(&error))
            }
            Err(_) => Err(Refused::new(500, "the operation broke off")),
        }
    }

    async fn remove_binding(&self, instance: &Instance, id: &ServiceBindingId, before: Binding) -> Ended {
        let asked = async {
            let node = instance.node.as_ref().ok_or_else(nowhere)?;
            let request = Unbind { credentials: handle(instance, &before) };
            let done = self.ask(&instance.engine.unbind(node), &request).await?;
            judge(done.success, done.error)
        };
        match asked.await {
            Ok(()) => self
                .instances
                .turn()
                .change(&instance.id, |instance| _ = instance.bindings.remove(id))
                .map_err(|error| internal(&error)),
            Err(error) => {
                tracing::warn!(instance = %instance.id, binding = %id, %error, "a binding is not taken back");
                self.change_binding(instance, id, |binding| binding.phase = before.phase)?;
                Err(error)
            }
        }
    }

    fn change_binding(
        &self,
        instance: &Instance,
        id: &ServiceBindingId,
        change: impl FnOnce(&mut Binding),
    ) -> Ended {
        let change = |instance: &mut Instance| {
            if let Some(binding) = instance.bindings.get_mut(id) {
                change(binding);
            }
        };
        self.instances.turn().change(&instance.id, change).map_err(|error| internal(&error))
    }

    /// Asks a node.
    async fn ask<R: Request>(&self, subject: &Subject, request: &R) -> Result<R::Reply, ServiceError> {
        let limit = seconds(self.config.node_timeout_seconds);
        self.bus.request(subject, request, limit).await.map_err(|error| match error {
            BusError::NoResponders { .. } => {
                ServiceError::new(503, error_code::UNAVAILABLE, "the service node is not there")
            }
            BusError::Timeout { .. } => {
                let why = format!("the service node has not answered within {} s", limit.as_secs_f64());
                ServiceError::new(504, error_code::GATEWAY_TIMEOUT, why)
            }
            other => internal(&other),
        })
    }

    /// Takes what a node has said of itself.
    pub(crate) fn heard(&self, engine: Engine, announce: Announce) {
        lock(&self.nodes).heard(engine, announce, Moment::now());
    }

    /// Forgets nodes that have been silent for long.
    pub(crate) fn forget_silent(&self) {
        lock(&self.nodes).forget_silent(seconds(self.config.node_lifetime_seconds), Moment::now());
    }

    /// Looks at what a node has, and has it remove what nobody knows.
    pub(crate) async fn look(&self, engine: Engine, handles: NodeHandles) {
        let node = ServiceNodeId::from(handles.node_id.as_str());
        let purge = {
            let instances = self.instances.all();
            let ours = |name: &str| name.get(1..).is_some_and(|rest| rest.starts_with(&self.mark));
            let here = |name: &str| {
                // What could not be made must not be there.
                let known = instances.iter().find(|known| known.name == name && known.phase != Phase::Failed);
                known.filter(|known| known.node.as_ref() == Some(&node))
            };
            let knows = |name: &str| !ours(name) || here(name).is_some();
            let knows_binding = |binding: &BindingHandle| {
                let used = |known: &Binding| {
                    known.username == binding.username && known.phase != BindingPhase::Failed
                };
                !ours(&binding.username)
                    || here(&binding.name).is_some_and(|known| known.bindings.values().any(used))
            };
            let interval = seconds(self.config.orphan_check_seconds);
            lock(&self.orphans).look(&handles, knows, knows_binding, interval, Moment::now())
        };
        let Some(purge) = purge else { return };
        tracing::warn!(%node, ?purge, "orphans are found, and removed");
        let asked = self.ask::<PurgeOrphan>(&engine.purge_orphan(&node), &purge).await;
        if let Err(error) = asked.and_then(|done| judge(done.success, done.error)) {
            tracing::warn!(%node, %error, "orphans are not removed; the next look finds them again");
        }
    }
}

fn new_operation() -> Operation {
    let id = secret::password();
    Operation { id, state: OperationState::InProgress, description: None }
}

fn finish(
    turn: &mut Turn<'_>,
    id: &ServiceInstanceId,
    phase: Phase,
    state: OperationState,
    description: Option<String>,
) -> std::io::Result<()> {
    turn.change(id, |instance| {
        instance.phase = phase;
        instance.operation.state = state;
        instance.operation.description = description;
    })
}

fn handle(instance: &Instance, binding: &Binding) -> BindingHandle {
    BindingHandle { name: instance.name.clone(), username: binding.username.clone() }
}

fn judge(success: bool, error: Option<ServiceError>) -> Ended {
    match (success, error) {
        (true, _) => Ok(()),
        (false, Some(error)) => Err(error),
        (false, None) => {
            Err(ServiceError::new(500, error_code::INTERNAL, "the node failed and does not say why"))
        }
    }
}

fn nowhere() -> ServiceError {
    ServiceError::new(500, error_code::INTERNAL, "the instance is on no node")
}

fn internal(error: &(dyn std::error::Error + 'static)) -> ServiceError {
    tracing::error!(error, "an operation of the gateway has failed");
    ServiceError::new(500, error_code::INTERNAL, format!("the gateway failed: {error}"))
}

fn not_written(error: std::io::Error) -> Refused {
    refused(&internal(&error))
}

/// A node's error as an answer to the platform.
fn refused(error: &ServiceError) -> Refused {
    match error.msg.code {
        error_code::CONCURRENT => Refused::concurrent(&error.msg.description),
        // Whatever it is, it is not the platform's fault: its request was sound.
        _ if error.status < 500 => Refused::new(500, &error.msg.description),
        _ => Refused::new(error.status, &error.msg.description),
    }
}

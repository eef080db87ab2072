//! The bus's requests and their answers. Each is worked on by a task of its own, since making an instance takes seconds.

use super::{
    config::seconds,
    engine,
    figures::Operation,
    instance::{self, Command, Instance, Origin, Told},
    record::Phase,
    shared::{Node, Place, lock},
};
use crate::secret;
use cupola_bus::{Bus, Error as BusError, Incoming, Subscription};
use cupola_protocol::{
    ServiceNodeId,
    message::{Message, Subject},
    services::{
        Bind, BindingCredentials, BindingHandle, Bound, CheckOrphan, Discover, Done, Engine,
        InstanceCredentials, NodeHandles, Provision, Provisioned, PurgeOrphan, ServiceError, Unbind,
        Unprovision, error_code,
    },
};
use futures::{StreamExt, stream::BoxStream};
use std::sync::Arc;
use tokio::{sync::oneshot, time::timeout};

/// Something that was asked.
pub(crate) enum Asked {
    Discover(Engine),
    Provision(Engine, Incoming<Provision>),
    Unprovision(Incoming<Unprovision>),
    Bind(Incoming<Bind>),
    Unbind(Incoming<Unbind>),
    CheckOrphan(Engine),
    PurgeOrphan(Incoming<PurgeOrphan>),
}

/// Subscribes to everything that may be asked about an engine.
pub(crate) async fn subscribe(
    bus: &Bus,
    engine: Engine,
    node: &ServiceNodeId,
) -> Result<Vec<BoxStream<'static, Asked>>, BusError> {
    async fn stream<M: Message>(
        bus: &Bus,
        subject: Subject,
        asked: impl Fn(Incoming<M>) -> Asked + Send + 'static,
    ) -> Result<BoxStream<'static, Asked>, BusError> {
        let subscription: Subscription<M> = bus.subscribe_to(&subject).await?;
        Ok(subscription.map(asked).boxed())
    }
    Ok(vec![
        stream::<Discover>(bus, engine.discover(), move |_| Asked::Discover(engine)).await?,
        stream(bus, engine.provision(node), move |incoming| Asked::Provision(engine, incoming)).await?,
        stream(bus, engine.unprovision(node), Asked::Unprovision).await?,
        stream(bus, engine.bind(node), Asked::Bind).await?,
        stream(bus, engine.unbind(node), Asked::Unbind).await?,
        stream::<CheckOrphan>(bus, engine.check_orphan(), move |_| Asked::CheckOrphan(engine)).await?,
        stream(bus, engine.purge_orphan(node), Asked::PurgeOrphan).await?,
    ])
}

/// Works on what was asked, and answers.
pub(crate) async fn answer(node: Arc<Node>, asked: Asked) {
    let told = match asked {
        Asked::Discover(engine) => return announce(&node, engine).await,
        Asked::CheckOrphan(engine) => {
            node.bus.publish_to(&engine.node_handles(), &handles(&node, engine)).await
        }
        Asked::Provision(engine, incoming) => {
            let (credentials, error) = split(node.provision(engine, &incoming.message).await);
            node.figures.ended(Operation::Provision, error.is_none());
            incoming.reply(&Provisioned { success: error.is_none(), credentials, error }).await
        }
        Asked::Bind(incoming) => {
            let (credentials, error) = split(node.bind(&incoming.message).await);
            node.figures.ended(Operation::Bind, error.is_none());
            incoming.reply(&Bound { success: error.is_none(), credentials, error }).await
        }
        Asked::Unprovision(incoming) => {
            let result = node.unprovision(&incoming.message.name).await;
            node.figures.ended(Operation::Unprovision, result.is_ok());
            incoming.reply(&done(result)).await
        }
        Asked::Unbind(incoming) => {
            let result = node.unbind(&incoming.message.credentials).await;
            node.figures.ended(Operation::Unbind, result.is_ok());
            incoming.reply(&done(result)).await
        }
        Asked::PurgeOrphan(incoming) => {
            let result = node.purge(&incoming.message).await;
            node.figures.ended(Operation::Purge, result.is_ok());
            incoming.reply(&done(result)).await
        }
    };
    if let Err(error) = told {
        tracing::warn!(error = &error as &dyn std::error::Error, "an answer was not sent");
    }
}

/// Tells gateways what fits.
pub(crate) async fn announce(node: &Node, engine: Engine) {
    for announcement in node.announcements(engine) {
        if let Err(error) = node.bus.publish_to(&engine.announce(), &announcement).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot announce");
        }
    }
}

fn handles(node: &Node, engine: Engine) -> NodeHandles {
    let records = node.all().into_iter().map(|instance| instance.now());
    let records: Vec<_> =
        records.filter(|record| record.engine == engine && record.phase == Phase::Ready).collect();
    NodeHandles {
        instances_list: records.iter().map(|record| record.name.clone()).collect(),
        bindings_list: records
            .iter()
            .flat_map(|record| {
                let handle = |username: &String| BindingHandle {
                    name: record.name.clone(),
                    username: username.clone(),
                };
                record.users.iter().map(handle).collect::<Vec<_>>()
            })
            .collect(),
        node_id: node.id.to_string(),
    }
}

fn split<T>(result: Result<T, ServiceError>) -> (Option<T>, Option<ServiceError>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    }
}

fn done(result: Result<(), ServiceError>) -> Done {
    Done { success: result.is_ok(), error: result.err() }
}

fn malformed(why: impl Into<String>) -> ServiceError {
    ServiceError::new(400, error_code::MALFORMED, why)
}

impl Node {
    async fn provision(
        self: &Arc<Self>,
        engine: Engine,
        request: &Provision,
    ) -> Result<InstanceCredentials, ServiceError> {
        let plan = self.config.plan(engine, &request.plan).ok_or_else(|| {
            ServiceError::new(
                400,
                error_code::UNKNOWN_PLAN,
                format!("the node serves no plan {}", request.plan),
            )
        })?;
        let version = engine::recipe(engine).version();
        if let Some(wanted) = &request.version
            && wanted != version
        {
            let why = format!("the node makes version {version} of {engine}, not {wanted}");
            return Err(ServiceError::new(400, error_code::UNKNOWN_VERSION, why));
        }
        if let Some(obstacle) = self.obstacle() {
            return Err(ServiceError::new(503, error_code::UNAVAILABLE, obstacle));
        }
        let name = match &request.credentials {
            Some(wanted) if secret::is_name(&wanted.name) => wanted.name.clone(),
            Some(wanted) => return Err(malformed(format!("{:?} is no name of an instance", wanted.name))),
            None => format!("d{}", secret::digest(&[&secret::password()], 32)),
        };
        let instance = match self.place(engine, plan, name)? {
            Place::Taken(instance) => instance,
            Place::New(instance, commands) => {
                let (told, heard) = oneshot::channel();
                let task = instance::run(self.clone(), instance.clone(), commands, Origin::New(told));
                self.tasks.spawn(task);
                // Gateways should not send more meanwhile than fits.
                self.changed.notify_one();
                match timeout(seconds(self.config.op_time_limit_seconds), heard).await {
                    Ok(Ok(result)) => result?,
                    Ok(Err(_)) => return Err(ending()),
                    Err(_) => {
                        instance.abandon.cancel();
                        return Err(late());
                    }
                }
                instance
            }
        };
        let record = instance.now();
        if record.phase != Phase::Ready || instance.abandon.is_cancelled() {
            let why = format!("the instance {} is being made or removed", record.name);
            return Err(ServiceError::new(503, error_code::CONCURRENT, why));
        }
        let host =
            self.host().map_err(|why| ServiceError::new(503, error_code::UNAVAILABLE, why))?.to_string();
        Ok(InstanceCredentials {
            name: record.name,
            node_id: self.id.clone(),
            hostname: host.clone(),
            host,
            port: record.port,
        })
    }

    async fn unprovision(&self, name: &str) -> Result<(), ServiceError> {
        let Some(instance) = self.find(name) else { return Ok(()) };
        instance.abandon.cancel();
        match timeout(seconds(self.config.op_time_limit_seconds), instance.ended.cancelled()).await {
            Ok(()) => Ok(()),
            Err(_) => {
                let why = format!("the instance {name} is not removed yet; the node goes on with it");
                Err(ServiceError::new(500, error_code::NODE_TIMEOUT, why))
            }
        }
    }

    async fn bind(&self, request: &Bind) -> Result<BindingCredentials, ServiceError> {
        let (username, password) = match &request.credentials {
            Some(wanted) if secret::is_name(&wanted.username) && secret::is_password(&wanted.password) => {
                (wanted.username.clone(), wanted.password.clone())
            }
            Some(_) => return Err(malformed("user or password of the binding is not one")),
            None => (format!("u{}", secret::digest(&[&secret::password()], 32)), secret::password()),
        };
        // The scripts' own user is no binding.
        if username == engine::ADMIN {
            return Err(malformed("this user is the node's own"));
        }
        let instance = self.known(&request.name)?;
        let bind = |told| Command::Bind { username: username.clone(), password: password.clone(), told };
        if let Err(error) = self.command(&instance, bind).await {
            if error.msg.code == error_code::NODE_TIMEOUT {
                // It comes after the binding, and takes it back.
                let (told, _) = oneshot::channel();
                let _ = instance.commands.try_send(Command::Unbind { username, told });
            }
            return Err(error);
        }
        let host = self.host().map_err(|why| ServiceError::new(503, error_code::UNAVAILABLE, why))?;
        let record = instance.now();
        let recipe = engine::recipe(record.engine);
        Ok(recipe.credentials(&record.name, (host, record.port), (&username, &password)))
    }

    async fn unbind(&self, binding: &BindingHandle) -> Result<(), ServiceError> {
        let Some(instance) = self.find(&binding.name) else { return Ok(()) };
        if !lock(&instance.record).users.contains(&binding.username) {
            return Ok(());
        }
        let username = binding.username.clone();
        self.command(&instance, |told| Command::Unbind { username, told }).await
    }

    async fn purge(&self, request: &PurgeOrphan) -> Result<(), ServiceError> {
        tracing::warn!(instances = ?request.orphan_ins_list, bindings = request.orphan_binding_list.len(), "orphans are removed");
        let mut first = Ok(());
        for binding in &request.orphan_binding_list {
            first = first.and(self.unbind(binding).await);
        }
        for name in &request.orphan_ins_list {
            first = first.and(self.unprovision(name).await);
        }
        first
    }

    fn known(&self, name: &str) -> Result<Arc<Instance>, ServiceError> {
        let instance = self.find(name).filter(|instance| lock(&instance.record).phase == Phase::Ready);
        instance.ok_or_else(|| {
            ServiceError::new(404, error_code::NOT_FOUND, format!("the node has no instance {name}"))
        })
    }

    /// Has the instance's task do something, within the time that an operation may take.
    async fn command(
        &self,
        instance: &Instance,
        command: impl FnOnce(Told) -> Command,
    ) -> Result<(), ServiceError> {
        let (told, heard) = oneshot::channel();
        let sent = async {
            instance.commands.send(command(told)).await.map_err(|_| ending())?;
            heard.await.map_err(|_| ending())?
        };
        timeout(seconds(self.config.op_time_limit_seconds), sent).await.unwrap_or_else(|_| Err(late()))
    }
}

fn late() -> ServiceError {
    ServiceError::new(500, error_code::NODE_TIMEOUT, "the node took longer than it may, and takes it back")
}

fn ending() -> ServiceError {
    ServiceError::new(503, error_code::UNAVAILABLE, "the node or the instance ends")
}

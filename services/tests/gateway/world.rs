//! A gateway with a real bus, and nodes that behave: they keep what they are told to make, and answer.

use cupola_bus::Bus;
use cupola_protocol::{
    ServiceNodeId,
    message::{Request, Subject},
    services::{
        Announce, Bind, BindingCredentials, BindingHandle, Bound, CheckOrphan, Discover, Done, Engine,
        InstanceCredentials, NodeHandles, Provision, Provisioned, PurgeOrphan, ServiceError, Unbind,
        Unprovision, error_code,
    },
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use services::gateway::{self, Config};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use testkit::NatsServer;
use tokio::{
    runtime::Runtime,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The engine of the tests' nodes.
pub(crate) const ENGINE: Engine = Engine::Redis;

pub(crate) struct World {
    pub(crate) bus: Bus,
    pub(crate) config: Config,
    pub(crate) address: SocketAddr,
    gateway: Option<Running>,
    http: reqwest::Client,
    nats: NatsServer,
    _data: TempDir,
}

/// A gateway in a runtime of its own, which can be ended as kill -9 ends a process.
type Running = (Runtime, JoinHandle<Result<(), gateway::Error>>, CancellationToken);

impl Drop for World {
    fn drop(&mut self) {
        if let Some((runtime, ..)) = self.gateway.take() {
            runtime.shutdown_background();
        }
    }
}

/// An answer over HTTP.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    /// The `error` word of a refusal.
    pub(crate) fn code(&self) -> (u16, &str) {
        (self.status, self.body["error"].as_str().unwrap_or_default())
    }
}

impl World {
    pub(crate) async fn make(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let nats = NatsServer::start();
        let bus = connect(nats.url()).await;
        let mut config = Config {
            data_dir: data.path().join("gateway"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..Config::default()
        };
        change(&mut config);
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        let address = config.listen;
        let mut world = World { bus, config, address, gateway: None, http, nats, _data: data };
        world.start().await;
        world
    }

    pub(crate) async fn start(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (config, url) = (self.config.clone(), self.nats.url().to_owned());
        let bound = runtime.spawn(async move { gateway::bind(config, connect(&url).await).await.unwrap() });
        let server = bound.await.unwrap();
        self.address = server.addr();
        let shutdown = CancellationToken::new();
        let task = runtime.spawn(server.run(shutdown.clone()));
        self.gateway = Some((runtime, task, shutdown));
    }

    /// As kill -9 does it: everything stops where it is.
    pub(crate) async fn kill(&mut self) {
        let (runtime, task, _) = self.gateway.take().unwrap();
        runtime.shutdown_background();
        assert!(task.await.is_err());
    }

    pub(crate) async fn end(&mut self) {
        let (runtime, task, shutdown) = self.gateway.take().unwrap();
        shutdown.cancel();
        task.await.unwrap().unwrap();
        runtime.shutdown_background();
    }

    pub(crate) fn password(&self) -> String {
        std::fs::read_to_string(self.config.data_dir.join("password")).unwrap()
    }

    /// A request as a platform makes it, before it is sent.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("http://{}{path}", self.address))
            .basic_auth("cupola", Some(self.password()))
            .header("X-Broker-API-Version", "2.17")
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        send(request).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }

    /// `DELETE` of something of this plan.
    pub(crate) async fn delete(&self, path: &str, plan: &str) -> Answer {
        let (service, plan) = self.ids(plan).await;
        let sign = if path.contains('?') { '&' } else { '?' };
        self.ask(Method::DELETE, &format!("{path}{sign}service_id={service}&plan_id={plan}"), None).await
    }

    /// Ids of an offering of the tests' engine, and of a plan of it.
    pub(crate) async fn ids(&self, plan: &str) -> (String, String) {
        let catalog = self.get("/v2/catalog").await.body;
        let services = catalog["services"].as_array().unwrap();
        let service = services.iter().find(|service| service["name"] == ENGINE.name()).unwrap();
        let plans = service["plans"].as_array().unwrap();
        let plan = plans.iter().find(|known| known["name"] == plan).unwrap();
        (service["id"].as_str().unwrap().to_owned(), plan["id"].as_str().unwrap().to_owned())
    }

    /// Body of a `PUT` of an instance of this plan.
    pub(crate) async fn instance(&self, plan: &str) -> Value {
        let (service_id, plan_id) = self.ids(plan).await;
        json!({
            "service_id": service_id, "plan_id": plan_id, "organization_guid": "o", "space_guid": "s",
            "context": {"platform": "cloudfoundry", "instance_name": "db"},
        })
    }

    /// Body of a `PUT` of a binding for an app.
    pub(crate) async fn binding(&self, plan: &str) -> Value {
        let (service_id, plan_id) = self.ids(plan).await;
        json!({"service_id": service_id, "plan_id": plan_id, "bind_resource": {"app_guid": "a"}})
    }

    /// Adds a node with room for so many instances, and waits until the gateway knows it.
    pub(crate) async fn node(&self, id: &str, room: i64) -> Arc<Node> {
        Node::start(connect(self.nats.url()).await, id, room).await
    }
}

pub(crate) async fn send(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    assert_ne!(response.status(), StatusCode::NO_CONTENT);
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    Answer { status, body }
}

pub(crate) async fn connect(url: &str) -> Bus {
    let config = cupola_bus::Config { servers: vec![url.to_owned()], ..Default::default() };
    Bus::connect(&config, "test").await.unwrap()
}

/// How a node behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It does what it is asked, and answers.
    Works,
    /// It waits with everything.
    Waits,
    /// It does what it is asked, and says nothing.
    Mute,
    /// It fails, and says so.
    Fails,
    /// It has no room, whatever it has announced.
    Full,
}

/// A node that keeps what it is told to make.
pub(crate) struct Node {
    id: ServiceNodeId,
    bus: Bus,
    pub(crate) manner: watch::Sender<Manner>,
    room: i64,
    pub(crate) has: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// Requests to make an instance that it has heard.
    pub(crate) asked: Mutex<u32>,
    tasks: Mutex<JoinSet<()>>,
}

impl Node {
    async fn start(bus: Bus, id: &str, room: i64) -> Arc<Self> {
        let node = Arc::new(Node {
            id: id.into(),
            manner: watch::Sender::new(Manner::Works),
            room,
            has: Mutex::default(),
            asked: Mutex::new(0),
            tasks: Mutex::default(),
            bus: bus.clone(),
        });
        let mut discovers = bus.subscribe_to::<Discover>(&ENGINE.discover()).await.unwrap();
        let mut checks = bus.subscribe_to::<CheckOrphan>(&ENGINE.check_orphan()).await.unwrap();
        let own = node.clone();
        node.spawn(async move {
            loop {
                tokio::select! {
                    Some(_) = discovers.next() => own.announce().await,
                    Some(_) = checks.next() => {
                        own.bus.publish_to(&ENGINE.node_handles(), &own.handles()).await.unwrap();
                    }
                    else => return,
                }
            }
        });
        let id = &node.id;
        node.serve::<Provision>(ENGINE.provision(id), Node::provision).await;
        node.serve::<Unprovision>(ENGINE.unprovision(id), |node, request| {
            node.has.lock().unwrap().remove(&request.name);
            done()
        })
        .await;
        node.serve::<Bind>(ENGINE.bind(id), Node::bind).await;
        node.serve::<Unbind>(ENGINE.unbind(id), |node, request| {
            let BindingHandle { name, username } = &request.credentials;
            node.has.lock().unwrap().get_mut(name).map(|users| users.remove(username));
            done()
        })
        .await;
        node.serve::<PurgeOrphan>(ENGINE.purge_orphan(id), |node, request| {
            let mut has = node.has.lock().unwrap();
            has.retain(|name, _| !request.orphan_ins_list.contains(name));
            for binding in &request.orphan_binding_list {
                has.get_mut(&binding.name).map(|users| users.remove(&binding.username));
            }
            done()
        })
        .await;
        bus.flush().await.unwrap();
        node.announce().await;
        bus.flush().await.unwrap();
        node
    }

    /// It is gone, and what it had is still on its disks.
    pub(crate) fn leave(&self) {
        self.tasks.lock().unwrap().abort_all();
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.has.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn handles(&self) -> NodeHandles {
        let has = self.has.lock().unwrap();
        let bindings = has.iter().flat_map(|(name, users)| {
            users.iter().map(|user| BindingHandle { name: name.clone(), username: user.clone() })
        });
        NodeHandles {
            instances_list: has.keys().cloned().collect(),
            bindings_list: bindings.collect(),
            node_id: self.id.to_string(),
        }
    }

    pub(crate) async fn announce(&self) {
        for plan in ["small", "large"] {
            let announce = Announce {
                id: self.id.clone(),
                plan: plan.to_owned(),
                supported_versions: vec!["7.0".to_owned()],
                available_capacity: self.room - self.has.lock().unwrap().len() as i64,
                capacity_unit: 1,
                error: None,
            };
            self.bus.publish_to(&ENGINE.announce(), &announce).await.unwrap();
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap().spawn(task);
    }

    /// Answers every request of a kind, in the node's manner.
    async fn serve<R: Request + Failing>(self: &Arc<Self>, subject: Subject, act: fn(&Node, &R) -> R::Reply) {
        let mut requests = self.bus.subscribe_to::<R>(&subject).await.unwrap();
        let node = self.clone();
        self.spawn(async move {
            while let Some(incoming) = requests.next().await {
                let mut manner = node.manner.subscribe();
                let now = *manner.wait_for(|manner| *manner != Manner::Waits).await.unwrap();
                let reply = match now {
                    Manner::Fails => {
                        R::failed(ServiceError::new(500, error_code::INTERNAL, "the disk is broken"))
                    }
                    Manner::Full => {
                        R::failed(ServiceError::new(503, error_code::UNAVAILABLE, "no room after all"))
                    }
                    Manner::Works | Manner::Mute | Manner::Waits => act(&node, &incoming.message),
                };
                if now != Manner::Mute {
                    incoming.reply(&reply).await.unwrap();
                }
            }
        });
    }

    fn provision(&self, request: &Provision) -> Provisioned {
        *self.asked.lock().unwrap() += 1;
        let name = request.credentials.as_ref().expect("a name").name.clone();
        self.has.lock().unwrap().entry(name.clone()).or_default();
        let host = "192.0.2.7".to_owned();
        let (hostname, node_id) = (host.clone(), self.id.clone());
        let credentials = InstanceCredentials { name, node_id, host, hostname, port: 30_001 };
        Provisioned { success: true, credentials: Some(credentials), error: None }
    }

    fn bind(&self, request: &Bind) -> Bound {
        let wanted = request.credentials.clone().expect("credentials");
        match self.has.lock().unwrap().get_mut(&request.name) {
            None => return Bind::failed(ServiceError::new(404, error_code::NOT_FOUND, "no such instance")),
            Some(users) => users.insert(wanted.username.clone()),
        };
        let credentials = BindingCredentials {
            name: request.name.clone(),
            host: "192.0.2.7".into(),
            hostname: "192.0.2.7".into(),
            port: 30_001,
            user: wanted.username.clone(),
            uri: format!("redis://{}:{}@192.0.2.7:30001/0", wanted.username, wanted.password),
            username: wanted.username,
            password: wanted.password,
            database: None,
            jdbc_url: None,
        };
        Bound { success: true, credentials: Some(credentials), error: None }
    }
}

fn done() -> Done {
    Done { success: true, error: None }
}

/// Requests that a node can fail at.
trait Failing: Request {
    fn failed(error: ServiceError) -> Self::Reply;
}

impl Failing for Provision {
    fn failed(error: ServiceError) -> Provisioned {
        Provisioned { success: false, credentials: None, error: Some(error) }
    }
}

impl Failing for Bind {
    fn failed(error: ServiceError) -> Bound {
        Bound { success: false, credentials: None, error: Some(error) }
    }
}

macro_rules! failing {
    ($($request:ident),+) => {$(
        impl Failing for $request {
            fn failed(error: ServiceError) -> Done {
                Done { success: false, error: Some(error) }
            }
        }
    )+};
}
failing!(Unprovision, Unbind, PurgeOrphan);

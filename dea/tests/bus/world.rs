//! A real nats-server, a blob store with one droplet, a data directory, and everything that is said on the bus.

use crate::fake_warden::FakeWarden;
use cupola_bus::Bus;
use cupola_protocol::{
    AppId, DeaId, InstanceId, Mebibytes, Version,
    dea::{
        Heartbeat, InstanceHeartbeat, InstanceState, Limits, Shutdown, Start, StartReply, default_partition,
        start_subject,
    },
    droplet::Exited,
    logs,
    router::{Register, Unregister},
};
use dea::Config;
use sha2::{Digest, Sha256};
use std::{
    net::TcpListener as StdListener,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

const DROPLET: &[u8] = b"a droplet that the fake warden does not look into";

/// Everything waited for happens within this, or the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was said on the bus.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) heartbeats: Vec<Heartbeat>,
    pub(crate) exits: Vec<Exited>,
    /// Of instances.
    pub(crate) registers: Vec<Register>,
    /// Of file servers.
    pub(crate) directories: Vec<Register>,
    pub(crate) unregisters: Vec<Unregister>,
    pub(crate) shutdowns: Vec<Shutdown>,
    pub(crate) lines: Vec<String>,
}

pub(crate) struct World {
    pub(crate) warden: FakeWarden,
    pub(crate) bus: Bus,
    pub(crate) config: Config,
    heard: Arc<Mutex<Heard>>,
    droplet_url: String,
    agent: Option<(JoinHandle<Result<(), dea::Error>>, CancellationToken)>,
    nats_config: cupola_bus::Config,
    nats: Child,
    nats_port: u16,
    directory: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.nats.kill();
        let _ = self.nats.wait();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        make_stack(&directory.path().join("stacks"));
        let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let nats = start_nats(port);
        let nats_config =
            cupola_bus::Config { servers: vec![format!("nats://127.0.0.1:{port}")], ..Default::default() };
        let bus = connect(&nats_config).await;
        let heard = Arc::new(Mutex::new(Heard::default()));
        listen(&bus, &heard).await;
        let socket = directory.path().join("warden.sock");
        let config = Config {
            data_dir: directory.path().to_owned(),
            warden_socket: socket.clone(),
            memory_mb: Some(Mebibytes(256)),
            disk_mb: Some(Mebibytes(4096)),
            ..Config::default()
        };
        let droplet_url = serve_droplet().await;
        let warden = FakeWarden::start(socket);
        let mut world = Self {
            warden,
            bus,
            config,
            heard,
            droplet_url,
            agent: None,
            nats_config,
            nats,
            nats_port: port,
            directory,
        };
        world.start_agent().await;
        world
    }

    pub(crate) async fn start_agent(&mut self) {
        let bus = connect(&self.nats_config).await;
        let server = dea::bind(self.config.clone(), bus).await.unwrap();
        let shutdown = CancellationToken::new();
        self.agent = Some((tokio::spawn(server.run(shutdown.clone())), shutdown));
    }

    /// As kill -9 does it: without a word.
    pub(crate) async fn kill_agent(&mut self) {
        let (task, _) = self.agent.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    pub(crate) async fn end_agent(&mut self) {
        let (task, shutdown) = self.agent.take().unwrap();
        shutdown.cancel();
        task.await.unwrap().unwrap();
    }

    pub(crate) fn kill_bus(&mut self) {
        self.nats.kill().unwrap();
        self.nats.wait().unwrap();
    }

    pub(crate) fn restart_bus(&mut self) {
        self.nats = start_nats(self.nats_port);
    }

    pub(crate) fn id(&self) -> DeaId {
        DeaId::new(std::fs::read_to_string(self.directory.path().join("dea/id")).unwrap())
    }

    pub(crate) fn message(&self, app: &str) -> Start {
        Start {
            droplet: AppId::new(app),
            name: app.to_owned(),
            index: 0,
            version: Version::new("v1"),
            uris: vec![format!("{app}.example")],
            stack: "default".to_owned(),
            sha1: String::new(),
            sha256: Some(hex::encode(Sha256::digest(DROPLET))),
            executable_uri: self.droplet_url.clone(),
            services: vec![],
            limits: Limits { mem: Mebibytes(64), disk: Mebibytes(128), fds: 1024 },
            cc_partition: default_partition(),
            env: vec![],
            start_command: None,
            health_check_timeout: Some(10),
            health_check_type: None,
            health_check_http_endpoint: None,
            vcap_application: serde_json::Map::new(),
            egress_network_rules: vec![],
        }
    }

    pub(crate) async fn ask(&self, message: &Start) -> StartReply {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.bus.request(&start_subject(&self.id()), message, PATIENCE).await {
                // Controllers ask who has advertised, after its subscriptions on the same connection. This test may be
                // quicker than the server.
                Err(cupola_bus::Error::NoResponders { .. }) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(5)).await;
                }
                answer => return answer.unwrap(),
            }
        }
    }

    /// Starts an instance and waits until it runs.
    pub(crate) async fn run(&self, message: &Start) -> InstanceId {
        let instance = self.ask(message).await.instance.expect("refused");
        self.wait_for_state(&instance, InstanceState::Running).await;
        instance
    }

    pub(crate) async fn wait_for_state(&self, instance: &InstanceId, state: InstanceState) {
        self.wait(&format!("{instance} is {state:?}"), |heard| {
            last_beat(heard, instance).is_some_and(|beat| beat.state == state)
        })
        .await;
    }

    pub(crate) async fn wait(&self, what: &str, mut condition: impl FnMut(&Heard) -> bool) {
        self.wait_until(what, || condition(&self.heard.lock().unwrap())).await;
    }

    pub(crate) async fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            if Instant::now() > deadline {
                let heard = self.heard.lock().unwrap();
                panic!("never: {what}; exits {:?}; lines {:?}", heard.exits, heard.lines);
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn heard<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.heard.lock().unwrap())
    }

    pub(crate) fn handle(&self, instance: &InstanceId) -> String {
        let suffix = instance.as_str();
        self.warden
            .handles()
            .into_iter()
            .find(|handle| handle.ends_with(suffix))
            .expect("no container for the instance")
    }
}

pub(crate) fn last_beat<'a>(heard: &'a Heard, instance: &InstanceId) -> Option<&'a InstanceHeartbeat> {
    heard.heartbeats.last()?.droplets.iter().find(|beat| beat.instance == *instance)
}

fn start_nats(port: u16) -> Child {
    Command::new("nats-server")
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server must be installed: apt-get install nats-server")
}

async fn connect(config: &cupola_bus::Config) -> Bus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Bus::connect(config, "test").await {
            Ok(bus) => return bus,
            Err(error) if Instant::now() > deadline => panic!("nats-server does not come up: {error}"),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Notes one kind of message.
macro_rules! note {
    ($heard:expr, $subscription:expr, $field:ident, $message:ident => $value:expr) => {
        let mut subscription = $subscription.await.unwrap();
        let heard = $heard.clone();
        tokio::spawn(async move {
            while let Some(incoming) = subscription.next().await {
                let $message = incoming.message;
                heard.lock().unwrap().$field.push($value);
            }
        });
    };
}

async fn listen(bus: &Bus, heard: &Arc<Mutex<Heard>>) {
    note!(heard, bus.subscribe::<Heartbeat>(), heartbeats, message => message);
    note!(heard, bus.subscribe::<Exited>(), exits, message => message);
    let mut registers = bus.subscribe::<Register>().await.unwrap();
    let mut unregisters = bus.subscribe::<Unregister>().await.unwrap();
    let routes = heard.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(register) = registers.next() => {
                    let mut heard = routes.lock().unwrap();
                    let of_app = register.message.app.is_some();
                    if of_app { &mut heard.registers } else { &mut heard.directories }.push(register.message);
                }
                Some(unregister) = unregisters.next() => {
                    if unregister.message.0.app.is_some() {
                        routes.lock().unwrap().unregisters.push(unregister.message);
                    }
                }
                else => return,
            }
        }
    });
    note!(heard, bus.subscribe::<Shutdown>(), shutdowns, message => message);
    note!(heard, bus.subscribe_to::<logs::LogLine>(&logs::all()), lines, message => message.message);
    bus.flush().await.unwrap();
}

/// A store with one stack, which the fake warden does not look into.
fn make_stack(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    let digest = "ab".repeat(32);
    std::fs::write(directory.join(format!("{digest}.erofs")), b"image").unwrap();
    let receipt = serde_json::json!({
        "name": "default", "recipe": "", "recipe_digest": "", "sha256": digest, "bytes": 5, "created": 0,
        "build_seconds": 0, "packages": [],
    });
    std::fs::write(directory.join(format!("{digest}.json")), receipt.to_string()).unwrap();
    symlink(format!("{digest}.erofs"), directory.join("default")).unwrap();
}

async fn serve_droplet() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/droplet", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", DROPLET.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(DROPLET).await;
        }
    });
    url
}

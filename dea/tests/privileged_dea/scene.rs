//! Everything around an agent: bus, warden, a stack, a droplet.

use cupola_bus::Bus;
use cupola_protocol::{
    AppId, DeaId, InstanceId, Mebibytes, Subject, Version,
    dea::{
        FindDroplet, Heartbeat, InstanceState, Limits, Start, StartReply, default_partition, start_subject,
    },
    droplet::Exited,
    logs,
    router::Register,
};
use dea::Config;
use sha2::{Digest, Sha256};
use std::{
    fs,
    net::TcpListener as StdListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
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

/// Addresses of the test's containers: no other platform or test has them.
const CONTAINER_NETWORK: &str = "10.249.0.0/16";

/// The app: a web server that does what its path says.
const APP: &str = include_str!("app.py");

/// How long the tests wait for what must come. An emulated processor is given more: the virtual machine's runner says
/// how many times as much.
fn patience() -> Duration {
    Duration::from_secs(20) * slowness()
}

/// How many times as long as on real hardware things may take here.
fn slowness() -> u32 {
    std::env::var("CUPOLA_SLOWNESS")
        .map_or(1, |text| text.parse().expect("CUPOLA_SLOWNESS is a whole number"))
}

/// A child process that ends with the test.
pub(crate) struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What was said on the bus.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) heartbeats: Vec<Heartbeat>,
    pub(crate) exits: Vec<Exited>,
    pub(crate) registers: Vec<Register>,
    pub(crate) lines: Vec<String>,
}

pub(crate) struct Scene {
    pub(crate) bus: Bus,
    pub(crate) warden: warden_client::Client,
    pub(crate) config: Config,
    heard: Arc<Mutex<Heard>>,
    droplet: Vec<u8>,
    droplet_url: String,
    agent: Option<(JoinHandle<Result<(), dea::Error>>, CancellationToken)>,
    warden_process: Option<Ends>,
    nats_config: cupola_bus::Config,
    _nats: Ends,
    data: TempDir,
}

impl Scene {
    /// With a droplet whose app has so many bytes more than it needs.
    pub(crate) async fn set(ballast: usize) -> Self {
        let is_root = rustix_is_root();
        assert!(is_root, "containers are made by root: run this as root");
        let data = tempfile::tempdir().unwrap();
        let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let nats = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server must be installed: apt-get install nats-server");
        // At once: it must not outlive a test that fails before its scene is set.
        let nats = Ends(nats);
        let nats_config =
            cupola_bus::Config { servers: vec![format!("nats://127.0.0.1:{port}")], ..Default::default() };
        let bus = connect(&nats_config).await;
        let heard = Arc::new(Mutex::new(Heard::default()));
        listen(&bus, &heard).await;
        let socket = data.path().join("warden.sock");
        let warden_process = start_warden(data.path(), &socket);
        let warden = warden_client::Client::new(&socket).with_patience(patience());
        warden.ping().await.expect("the warden answers");
        let config = Config {
            data_dir: data.path().to_owned(),
            stacks_dir: Some(stacks()),
            warden_socket: socket,
            memory_mb: Some(Mebibytes(1024)),
            disk_mb: Some(Mebibytes(8192)),
            ..Config::default()
        };
        let droplet = make_droplet(data.path(), ballast);
        let droplet_url = serve(droplet.clone()).await;
        let mut scene = Self {
            bus,
            warden,
            config,
            heard,
            droplet,
            droplet_url,
            agent: None,
            warden_process: Some(warden_process),
            nats_config,
            _nats: nats,
            data,
        };
        scene.start_agent().await;
        scene
    }

    pub(crate) async fn start_agent(&mut self) {
        let server = dea::bind(self.config.clone(), connect(&self.nats_config).await).await.unwrap();
        let shutdown = CancellationToken::new();
        self.agent = Some((tokio::spawn(server.run(shutdown.clone())), shutdown));
    }

    /// As kill -9 does it: without a word.
    pub(crate) async fn kill_agent(&mut self) {
        let (task, _) = self.agent.take().unwrap();
        task.abort();
        let _ = task.await;
    }

    pub(crate) fn kill_warden(&mut self) {
        self.warden_process = None;
    }

    pub(crate) async fn restart_warden(&mut self) {
        self.warden_process = Some(start_warden(self.data.path(), &self.config.warden_socket));
        self.warden.ping().await.expect("the warden answers");
    }

    /// Ends the agent, which ends its instances; nothing may be left.
    pub(crate) async fn end(mut self) {
        let (task, shutdown) = self.agent.take().unwrap();
        shutdown.cancel();
        task.await.unwrap().unwrap();
        assert_eq!(self.warden.list().await.unwrap(), Vec::<String>::new());
        let warden = &mut self.warden_process.as_mut().expect("a warden").0;
        let pid = rustix::process::Pid::from_child(warden);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = warden.wait().unwrap();
        assert!(status.success(), "the warden ended with {status}");
    }

    pub(crate) fn message(&self, memory: u64, env: &[&str]) -> Start {
        Start {
            droplet: AppId::new("app"),
            name: "app".to_owned(),
            index: 0,
            version: Version::new("v1"),
            uris: vec!["app.example".to_owned()],
            stack: "minimal".to_owned(),
            sha1: String::new(),
            sha256: Some(hex::encode(Sha256::digest(&self.droplet))),
            executable_uri: self.droplet_url.clone(),
            services: vec![],
            limits: Limits { mem: Mebibytes(memory), disk: Mebibytes(256), fds: 1024 },
            cc_partition: default_partition(),
            env: env.iter().map(|pair| (*pair).to_owned()).collect(),
            start_command: None,
            health_check_timeout: Some(30 * u64::from(slowness())),
            health_check_type: None,
            health_check_http_endpoint: None,
            vcap_application: serde_json::Map::new(),
            egress_network_rules: vec![],
        }
    }

    pub(crate) async fn ask(&self, message: &Start) -> StartReply {
        let id = DeaId::new(fs::read_to_string(self.data.path().join("dea/id")).unwrap());
        let deadline = Instant::now() + patience();
        loop {
            match self.bus.request(&start_subject(&id), message, patience()).await {
                // Controllers ask who has advertised, after its subscriptions on the same connection. This test may be
                // quicker than the server.
                Err(cupola_bus::Error::NoResponders { .. }) if Instant::now() < deadline => {
                    sleep(Duration::from_millis(5)).await;
                }
                answer => return answer.unwrap(),
            }
        }
    }

    /// Starts an instance and waits until it runs; gives it and the address of its route.
    pub(crate) async fn run(&self, message: &Start) -> (InstanceId, String) {
        let begun = Instant::now();
        let reply = self.ask(message).await;
        let instance = reply.instance.unwrap_or_else(|| panic!("refused: {:?}", reply.error));
        self.wait("it runs or has crashed", |heard| {
            heard.exits.iter().any(|exit| exit.instance == instance)
                || is(heard, &instance, InstanceState::Running)
        })
        .await;
        self.heard(|heard| assert!(is(heard, &instance, InstanceState::Running), "{:?}", heard.exits));
        println!("from the message to healthy: {} ms", begun.elapsed().as_millis());
        (instance.clone(), self.route(&instance).await)
    }

    /// What the agent serves at a path of an instance: status and content.
    pub(crate) async fn read(&self, instance: &InstanceId, path: &str) -> (u16, String) {
        let answer = self.open(instance, path, "", None).await;
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// The agent's answer at the signed address of a path, with more in its query, and for a part.
    pub(crate) async fn open(
        &self,
        instance: &InstanceId,
        path: &str,
        more: &str,
        range: Option<&str>,
    ) -> reqwest::Response {
        let find = FindDroplet {
            droplet: "app".into(),
            version: None,
            instances: Some(vec![instance.clone()]),
            indices: None,
            states: None,
            include_stats: false,
            path: Some(path.to_owned()),
        };
        let found = self.bus.request_replies(&Subject::of::<FindDroplet>(), &find).await.unwrap();
        let found = found.collect(patience(), |found| !found.is_empty()).await;
        let url = found.first().and_then(|found| found.file_uri_direct.clone()).expect("an address");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(format!("{url}{more}"));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        request.send().await.unwrap()
    }

    /// The address at which a router would reach it.
    pub(crate) async fn route(&self, instance: &InstanceId) -> String {
        let mut url = String::new();
        self.wait("a route", |heard| {
            let route = heard
                .registers
                .iter()
                .rev()
                .find(|route| route.private_instance_id.as_ref() == Some(instance));
            url = route.map(|route| format!("http://{}:{}", route.host, route.port)).unwrap_or_default();
            !url.is_empty()
        })
        .await;
        url
    }

    pub(crate) async fn wait_for_state(&self, instance: &InstanceId, state: InstanceState) {
        self.wait(&format!("{instance} is {state:?}"), |heard| is(heard, instance, state)).await;
    }

    pub(crate) async fn wait_for_line(&self, line: &str) {
        self.wait(line, |heard| heard.lines.iter().any(|heard| heard == line)).await;
    }

    pub(crate) async fn wait_for_exit(&self, instance: &InstanceId) -> Exited {
        let mut found = None;
        self.wait("the exit", |heard| {
            found = heard.exits.iter().find(|exit| exit.instance == *instance).cloned();
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    pub(crate) async fn nothing_is_left(&self) {
        let deadline = Instant::now() + patience();
        while !self.warden.list().await.unwrap().is_empty() {
            assert!(Instant::now() < deadline, "a container is left");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn wait(&self, what: &str, mut condition: impl FnMut(&Heard) -> bool) {
        let deadline = Instant::now() + patience();
        while !condition(&self.heard.lock().unwrap()) {
            if Instant::now() > deadline {
                let heard = self.heard.lock().unwrap();
                let log = fs::read_to_string(self.data.path().join("warden.log")).unwrap_or_default();
                panic!("never: {what}; exits {:?}; lines {:?}; warden: {log}", heard.exits, heard.lines);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn heard<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.heard.lock().unwrap())
    }
}

fn is(heard: &Heard, instance: &InstanceId, state: InstanceState) -> bool {
    let last = heard.heartbeats.last();
    last.is_some_and(|last| {
        last.droplets.iter().any(|beat| beat.instance == *instance && beat.state == state)
    })
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(patience()).build().unwrap()
}

/// Asks the app.
pub(crate) async fn get(url: &str, path: &str) -> String {
    client().get(format!("{url}{path}")).send().await.unwrap().text().await.unwrap()
}

/// Asks the app, which may not live to answer.
pub(crate) async fn poke(url: &str, path: &str) {
    let _ = client().get(format!("{url}{path}")).send().await;
}

fn rustix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|figures| figures.uid() == 0)
}

async fn connect(config: &cupola_bus::Config) -> Bus {
    let deadline = Instant::now() + patience();
    loop {
        match Bus::connect(config, "test").await {
            Ok(bus) => return bus,
            Err(error) if Instant::now() > deadline => panic!("nats-server does not come up: {error}"),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn listen(bus: &Bus, heard: &Arc<Mutex<Heard>>) {
    let mut heartbeats = bus.subscribe::<Heartbeat>().await.unwrap();
    let mut exits = bus.subscribe::<Exited>().await.unwrap();
    let mut registers = bus.subscribe::<Register>().await.unwrap();
    let mut lines = bus.subscribe_to::<logs::LogLine>(&logs::all()).await.unwrap();
    bus.flush().await.unwrap();
    let heard = heard.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(heartbeat) = heartbeats.next() => heard.lock().unwrap().heartbeats.push(heartbeat.message),
                Some(exit) = exits.next() => heard.lock().unwrap().exits.push(exit.message),
                Some(register) = registers.next() => heard.lock().unwrap().registers.push(register.message),
                Some(line) = lines.next() => heard.lock().unwrap().lines.push(line.message.message),
                else => return,
            }
        }
    });
}

/// The stacks of the tests; the smallest is built when it is missing.
fn stacks() -> PathBuf {
    let cache = std::env::var_os("CUPOLA_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cache"), PathBuf::from);
    let store = rootfs::Store::open(&cache.join("stacks")).unwrap();
    let recipe = rootfs::Recipe::named("minimal").unwrap();
    rootfs::build(&store, &recipe, &rootfs::Options::default(), &mut |_| ()).unwrap();
    store.folder().canonicalize().unwrap()
}

fn start_warden(data: &Path, socket: &Path) -> Ends {
    let beside = std::env::current_exe().unwrap();
    let program = beside.parent().and_then(Path::parent).unwrap().join("warden");
    assert!(program.is_file(), "{} is missing: run `make build`", program.display());
    let config = data.join("warden.toml");
    let text = format!(
        "socket = {socket:?}\ndata_dir = {:?}\n[network]\npool = {CONTAINER_NETWORK:?}\n[ports]\nstart = 57001\ncount = 500\n[uids]\nstart = 300000000\ncount = 100\n",
        data.join("warden")
    );
    fs::write(&config, text).unwrap();
    let log = fs::File::options().create(true).append(true).open(data.join("warden.log")).unwrap();
    let child = Command::new(program)
        .arg("--config")
        .arg(&config)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    Ends(child.expect("the warden starts"))
}

/// A droplet in the historic layout.
fn make_droplet(data: &Path, ballast: usize) -> Vec<u8> {
    let staged = data.join("staged");
    for directory in ["app", "deps", "profile.d", "logs", "tmp"] {
        fs::create_dir_all(staged.join(directory)).unwrap();
    }
    fs::write(staged.join("app/app.py"), APP).unwrap();
    // Not compressible: unpacking writes as much as it reads.
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(ballast)
    .collect();
    fs::write(staged.join("app/ballast"), noise).unwrap();
    // Links out of the home: to a file of the container, and to one that is on the host alone.
    symlink("/etc/passwd", staged.join("app/passwd")).unwrap();
    symlink("/", staged.join("app/root")).unwrap();
    fs::write(data.join("secret"), "of the host").unwrap();
    symlink(data.join("secret"), staged.join("app/secret")).unwrap();
    fs::write(staged.join("profile.d/greet.sh"), "export FROM_PROFILE=yes\n").unwrap();
    fs::write(
        staged.join("staging_info.yml"),
        r#"{"start_command": "python3 -u app.py", "detected_buildpack": "test"}"#,
    )
    .unwrap();
    let archive = data.join("droplet.tgz");
    let made = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&staged).arg(".").status();
    assert!(made.unwrap().success());
    fs::read(archive).unwrap()
}

async fn serve(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/droplet", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&content).await;
        }
    });
    url
}

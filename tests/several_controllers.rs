//! Two controllers and the developer's command, each a process of its own, on a real PostgreSQL, a real S3 server and
//! a real nats-server. The controller that handles a push is killed in the middle of it, in each phase; the push then
//! ends well.

#[path = "../controller/tests/api/fakes.rs"]
#[allow(dead_code, reason = "the controller's own suite uses all of it")]
mod fakes;

/// What the fakes expect of a suite.
mod platform {
    pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
}

use cupola_bus::Bus;
use cupola_protocol::{
    Version,
    health::StartInstance,
    logs::{self, LogLine},
};
use fakes::{FakeDea, FakeStager};
use nix::unistd::{Uid, User, chown};
use platform::PATIENCE;
use std::{
    fs,
    net::TcpListener as Std,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
};
use testkit::{NatsServer, PostgresServer, S3Server, TempDir, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::spawn_blocking,
};

const CUPOLA: &str = env!("CARGO_BIN_EXE_cupola");
/// Bytes of the app: enough for an upload to be cut in the middle.
const APP_SIZE: usize = 4 << 20;

/// A controller, killed when dropped.
struct Controller {
    child: Child,
    port: u16,
    data_dir: PathBuf,
}

impl Controller {
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Everything around the controllers.
struct Site {
    nats: NatsServer,
    postgres: PostgresServer,
    store: S3Server,
    directory: TempDir,
    bus: Bus,
}

impl Site {
    async fn new() -> Self {
        let (nats, postgres) =
            spawn_blocking(|| (NatsServer::start(), PostgresServer::start())).await.unwrap();
        let config =
            cupola_bus::Config { servers: vec![nats.url().to_owned()], ..cupola_bus::Config::default() };
        let bus = Bus::connect(&config, "test").await.unwrap();
        let site =
            Self { nats, postgres, store: S3Server::start().await, directory: TempDir::new().unwrap(), bus };
        site.give(site.directory.path());
        site
    }

    /// The user that roles run as when the test is root, which they refuse.
    fn user() -> Option<User> {
        let names = ["cupola", "nobody"];
        Uid::effective().is_root().then(|| {
            names.into_iter().find_map(|name| User::from_name(name).unwrap()).expect("a user for the roles")
        })
    }

    fn give(&self, path: &Path) {
        if let Some(user) = Self::user() {
            chown(path, Some(user.uid), Some(user.gid)).unwrap();
        }
    }

    /// A file for the roles' eyes.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        self.give(&path);
        path
    }

    async fn controller(&self, name: &str) -> Controller {
        let port = Std::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data_dir = self.directory.path().join(name);
        for folder in [data_dir.clone(), data_dir.join("run")] {
            fs::create_dir_all(&folder).unwrap();
            self.give(&folder);
        }
        let secret = self.file("database-password", &fs::read(self.postgres.password_file()).unwrap());
        let keys = self.file("s3-credentials", &fs::read(self.store.credentials_file()).unwrap());
        let config = format!(
            "data_dir = {data_dir:?}\ndomain = \"several.test\"\napi_port = {port}\n\
             [bus]\nservers = [{:?}]\n[controller]\ndatabase = {:?}\ndatabase_password_file = {secret:?}\n\
             blobs = {:?}\nblobs_credentials_file = {keys:?}\nlease_seconds = 2\n",
            self.nats.url(),
            self.postgres.url(),
            self.store.url(),
        );
        let file = self.file(&format!("{name}.toml"), config.as_bytes());
        let log = fs::File::create(self.directory.path().join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(CUPOLA);
        command.args(["run", "controller", "--config"]).arg(file).current_dir(&data_dir);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        if let Some(user) = Self::user() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let controller = Controller { child: command.spawn().unwrap(), port, data_dir };
        eventually(PATIENCE, async || match reqwest::get(format!("http://127.0.0.1:{port}/healthz")).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            other => {
                let log = self.directory.path().join(format!("{name}.log"));
                Err(format!("{other:?}\n{}", fs::read_to_string(log).unwrap_or_default()))
            }
        })
        .await;
        controller
    }
}

/// The one address of all controllers: leads each connection to the one that is in use, and can stop an upload in the
/// middle.
struct Balancer {
    port: u16,
    to: Arc<AtomicU16>,
    /// Bytes of a request after which nothing more is passed on; told when that has come.
    limit: Arc<AtomicU64>,
    stuck: Arc<Notify>,
}

impl Balancer {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let balancer = Self {
            port,
            to: Arc::new(AtomicU16::new(to)),
            limit: Arc::new(AtomicU64::new(u64::MAX)),
            stuck: Arc::new(Notify::new()),
        };
        let (to, limit, stuck) = (balancer.to.clone(), balancer.limit.clone(), balancer.stuck.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Nobody there: the connection ends at once.
                let Ok(server) = TcpStream::connect(("127.0.0.1", to.load(Ordering::SeqCst))).await else {
                    continue;
                };
                tokio::spawn(pass(client, server, limit.clone(), stuck.clone()));
            }
        });
        balancer
    }
}

async fn pass(client: TcpStream, server: TcpStream, limit: Arc<AtomicU64>, stuck: Arc<Notify>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let (mut buffer, mut passed) = (vec![0; 64 << 10], 0);
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            passed += read as u64;
            if passed > limit.load(Ordering::SeqCst) {
                limit.store(u64::MAX, Ordering::SeqCst);
                stuck.notify_one();
                std::future::pending::<()>().await;
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    let down = tokio::io::copy(&mut from_server, &mut to_client);
    // When either side is gone, so is the other.
    tokio::select! {
        () = up => {}
        _ = down => {}
    }
}

/// A developer with a home of her own, at the balancer.
struct Developer {
    home: TempDir,
    api: String,
}

impl Developer {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CUPOLA);
        command.args(arguments).env("CUPOLA_HOME", self.home.path()).env("CUPOLA_API", &self.api);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn push(&self, procfile: &str, size: usize) -> tokio::task::JoinHandle<Output> {
        let app = self.home.path().join("app");
        fs::create_dir_all(&app).unwrap();
        fs::write(app.join("Procfile"), procfile).unwrap();
        // Noise, which no archive makes smaller.
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        });
        let noise: Vec<u8> = noise.take(size).collect();
        fs::write(app.join("noise"), noise).unwrap();
        let app = app.display().to_string();
        let mut command = self.command(&["push", "one", "-p", &app, "-m", "16M", "--no-route"]);
        spawn_blocking(move || command.output().unwrap())
    }
}

/// Where the controller of a push dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Upload,
    Staging,
    Starting,
}

async fn a_push_outlives_its_controller(phase: Phase) {
    let site = Site::new().await;
    let mut first = site.controller("first").await;
    let second = site.controller("second").await;
    let balancer = Balancer::start(first.port).await;
    let developer =
        Developer { home: TempDir::new().unwrap(), api: format!("http://127.0.0.1:{}", balancer.port) };
    let password = fs::read_to_string(first.data_dir.join("secrets/admin-password")).unwrap();
    let login = developer.command(&["login", "-u", "admin", "-p", password.trim()]).output().unwrap();
    assert!(login.status.success(), "{login:?}");
    let stager = FakeStager::start(&site.bus).await;
    let mut node = None;
    if phase != Phase::Starting {
        node = Some(FakeDea::start(&site.bus, "dea-1", 1000).await);
    }
    let mut lines = site.bus.subscribe_to::<LogLine>(&logs::all()).await.unwrap();
    let (procfile, size) = match phase {
        Phase::Upload => {
            balancer.limit.store(APP_SIZE as u64 / 2, Ordering::SeqCst);
            ("web: ./run", APP_SIZE)
        }
        Phase::Staging => ("hang once", 100),
        Phase::Starting => ("web: ./run", 100),
    };
    let push = developer.push(procfile, size);
    match phase {
        Phase::Upload => balancer.stuck.notified().await,
        Phase::Staging => eventually(PATIENCE, async || stager.starts(1)).await,
        Phase::Starting => loop {
            let line = tokio::time::timeout(PATIENCE, lines.next()).await.unwrap().unwrap();
            if line.message.message.starts_with("Starting app") {
                break;
            }
        },
    }
    first.kill();
    balancer.to.store(second.port, Ordering::SeqCst);
    if phase == Phase::Starting {
        node = Some(FakeDea::start(&site.bus, "dea-1", 1000).await);
        // The health manager misses the instance, and asks.
        let id = site.postgres.query("SELECT guid FROM apps").unwrap();
        let version = site.postgres.query("SELECT version FROM apps").unwrap();
        let wish = StartInstance {
            message_id: "m".to_owned(),
            droplet: id.as_str().into(),
            version: Version::new(version),
            instance_index: 0,
        };
        site.bus.publish(&wish).await.unwrap();
    }
    let push = push.await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&push.stdout), String::from_utf8_lossy(&push.stderr));
    assert!(push.status.success(), "{phase:?}\n{out}\n{err}");
    assert!(out.contains("1 of 1 instances running"), "{out}\n{err}");
    // Between two looks the command need not even notice.
    if phase == Phase::Upload {
        assert!(err.contains("The API is away, going on"), "{out}\n{err}");
    }
    assert_eq!(node.unwrap().until_indices(&[0]).await.len(), 1);
    // A build that was begun once is one build, whoever staged it.
    assert_eq!(site.postgres.query("SELECT COUNT(*) FROM builds").unwrap(), "1");
    assert_eq!(site.postgres.query("SELECT COUNT(*) FROM packages WHERE state = 'READY'").unwrap(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_outlives_its_controller_during_the_upload() {
    a_push_outlives_its_controller(Phase::Upload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_outlives_its_controller_during_the_staging() {
    a_push_outlives_its_controller(Phase::Staging).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_outlives_its_controller_during_the_start() {
    a_push_outlives_its_controller(Phase::Starting).await;
}

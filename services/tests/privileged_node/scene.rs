//! Everything around a node: bus, warden, the stack, and a container that stands for an app.

use cupola_bus::Bus;
use cupola_protocol::{
    Mebibytes, ServiceNodeId,
    services::{
        Announce, Bind, BindingCredentials, BindingHandle, Bound, Done, Engine, InstanceCredentials,
        Provision, Provisioned, ServiceError, Unbind, Unprovision, WantedBinding, WantedInstance,
    },
};
use services::node::{self, Config, Plan, Ports};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use testkit::{NatsServer, eventually};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use warden_client::message::{CreateRequest, GRACE_NEVER, NetOutRequest, RunRequest, RunResponse};

/// Addresses of the test's containers: no other platform or test has them.
const CONTAINER_NETWORK: &str = "10.248.0.0/16";

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Scene {
    pub(crate) bus: Bus,
    pub(crate) warden: warden_client::Client,
    pub(crate) config: Config,
    pub(crate) id: ServiceNodeId,
    /// The container that stands for an app.
    pub(crate) app: String,
    node: Option<Running>,
    warden_process: Option<Child>,
    nats: NatsServer,
    data: TempDir,
}

/// A node in a runtime of its own, which can be ended as kill -9 ends a process: everything in it stops where it is.
struct Running {
    runtime: Runtime,
    task: JoinHandle<Result<(), node::Error>>,
    shutdown: CancellationToken,
}

impl Scene {
    /// A scene with the plans of the tests, changed as the test wants it.
    pub(crate) async fn set(change: impl FnOnce(&mut Config)) -> Self {
        testkit::require_root();
        let data = tempfile::Builder::new().prefix("service-node-").tempdir().unwrap();
        let nats = NatsServer::start();
        let bus = connect(nats.url()).await;
        let socket = data.path().join("warden.sock");
        let warden_process = start_warden(data.path(), &socket);
        let warden = warden_client::Client::new(&socket).with_patience(Duration::from_secs(20));
        warden.ping().await.expect("the warden answers");
        let plan = |engine, memory, disk| Plan {
            engine,
            name: "test".to_owned(),
            memory_mb: Mebibytes(memory),
            disk_mb: Mebibytes(disk),
            connections: 10,
        };
        let mut config = Config {
            data_dir: data.path().join("node"),
            stacks_dir: stacks(),
            warden_socket: socket,
            memory_mb: Mebibytes(1024),
            disk_mb: Mebibytes(4096),
            ports: Ports { start: 25_000, count: 10 },
            plans: vec![plan(Engine::Postgresql, 256, 256), plan(Engine::Redis, 192, 64)],
            volume_check_seconds: 0.2,
            ..Config::default()
        };
        change(&mut config);
        let mut scene = Scene {
            bus,
            warden,
            config,
            id: ServiceNodeId::new(""),
            app: String::new(),
            node: None,
            warden_process: Some(warden_process),
            nats,
            data,
        };
        scene.start_node().await;
        scene
    }

    pub(crate) async fn start_node(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (config, url) = (self.config.clone(), self.nats.url().to_owned());
        let bound = runtime.spawn(async move { node::bind(config, connect(&url).await).await.unwrap() });
        let server = bound.await.unwrap();
        self.id = server.id().clone();
        let shutdown = CancellationToken::new();
        let task = runtime.spawn(server.run(shutdown.clone()));
        self.node = Some(Running { runtime, task, shutdown });
    }

    /// As kill -9 does it: without a word.
    pub(crate) async fn kill_node(&mut self) {
        let Running { runtime, task, .. } = self.node.take().unwrap();
        runtime.shutdown_background();
        assert!(task.await.is_err(), "it was cut off");
    }

    /// As an operator ends it.
    pub(crate) async fn end_node(&mut self) {
        let Running { runtime, task, shutdown } = self.node.take().unwrap();
        shutdown.cancel();
        task.await.unwrap().unwrap();
        runtime.shutdown_background();
    }

    pub(crate) fn kill_warden(&mut self) {
        let mut process = self.warden_process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub(crate) async fn start_warden(&mut self) {
        self.warden_process = Some(start_warden(self.data.path(), &self.config.warden_socket));
        self.warden.ping().await.expect("the warden answers");
    }

    /// Name of an instance's container.
    pub(crate) fn handle(&self, instance: &str) -> String {
        format!("service-{}-{instance}", &self.id.as_str()[..8])
    }

    pub(crate) async fn provision(
        &self,
        engine: Engine,
        name: &str,
    ) -> Result<InstanceCredentials, ServiceError> {
        let credentials = Some(WantedInstance { name: name.to_owned() });
        let request = Provision { plan: "test".to_owned(), credentials, version: None };
        let Provisioned { success, credentials, error } =
            self.bus.request(&engine.provision(&self.id), &request, PATIENCE).await.unwrap();
        assert_eq!(success, error.is_none());
        error.map_or_else(|| Ok(credentials.expect("credentials")), Err)
    }

    pub(crate) async fn bind(
        &self,
        engine: Engine,
        name: &str,
        username: &str,
    ) -> Result<BindingCredentials, ServiceError> {
        let wanted = WantedBinding { username: username.to_owned(), password: "secret0123456789".to_owned() };
        let request =
            Bind { name: name.to_owned(), bind_opts: Default::default(), credentials: Some(wanted) };
        let Bound { success, credentials, error } =
            self.bus.request(&engine.bind(&self.id), &request, PATIENCE).await.unwrap();
        assert_eq!(success, error.is_none());
        error.map_or_else(|| Ok(credentials.expect("credentials")), Err)
    }

    pub(crate) async fn unbind(&self, engine: Engine, name: &str, username: &str) {
        let credentials = BindingHandle { name: name.to_owned(), username: username.to_owned() };
        let done: Done =
            self.bus.request(&engine.unbind(&self.id), &Unbind { credentials }, PATIENCE).await.unwrap();
        assert!(done.success, "{done:?}");
    }

    pub(crate) async fn unprovision(&self, engine: Engine, name: &str) {
        let request = Unprovision { name: name.to_owned(), bindings: vec![] };
        let done: Done = self.bus.request(&engine.unprovision(&self.id), &request, PATIENCE).await.unwrap();
        assert!(done.success, "{done:?}");
    }

    /// What the node announces of an engine's plan when it is asked.
    pub(crate) async fn announced(&self, engine: Engine) -> Announce {
        let mut heard = self.bus.subscribe_to::<Announce>(&engine.announce()).await.unwrap();
        self.bus.flush().await.unwrap();
        let discover = cupola_protocol::services::Discover {};
        self.bus.publish_to(&engine.discover(), &discover).await.unwrap();
        tokio::time::timeout(PATIENCE, heard.next()).await.expect("an announcement").unwrap().message
    }

    /// Makes the container that stands for an app, with this way out and no other.
    pub(crate) async fn start_app(&mut self, credentials: &[&BindingCredentials]) {
        let stack = rootfs::Store::open(&self.config.stacks_dir).unwrap().find("services").unwrap();
        let request = CreateRequest {
            rootfs: Some(stack.path.display().to_string()),
            grace_time: Some(GRACE_NEVER),
            ..CreateRequest::default()
        };
        self.app = self.warden.create(request).await.unwrap();
        for credentials in credentials {
            let rule = NetOutRequest {
                handle: self.app.clone(),
                network: Some(credentials.host.clone()),
                port: Some(credentials.port.into()),
                ..NetOutRequest::default()
            };
            self.warden.net_out(rule).await.unwrap();
        }
    }

    /// Runs a client in the app's container, with URI in its environment.
    pub(crate) async fn client(&self, credentials: &BindingCredentials, script: &str) -> RunResponse {
        let request = RunRequest {
            handle: self.app.clone(),
            script: script.to_owned(),
            env: vec![
                format!("URI={}", credentials.uri),
                format!("NAME={}", credentials.name),
                "PGCONNECT_TIMEOUT=3".to_owned(),
            ],
            ..RunRequest::default()
        };
        self.warden.run(request).await.unwrap()
    }

    /// What the app's client says; it must succeed.
    pub(crate) async fn says(&self, credentials: &BindingCredentials, script: &str) -> String {
        let ran = self.client(credentials, script).await;
        assert_eq!(ran.exit_status, Some(0), "{script}: {ran:?}");
        ran.stdout.unwrap_or_default().trim().to_owned()
    }

    /// Waits until the app's client says this.
    pub(crate) async fn will_say(&self, credentials: &BindingCredentials, script: &str, expected: &str) {
        eventually(PATIENCE, async || {
            let ran = self.client(credentials, script).await;
            let said = ran.stdout.clone().unwrap_or_default();
            if ran.exit_status == Some(0) && said.trim() == expected {
                Ok(())
            } else {
                Err(format!("{ran:?}"))
            }
        })
        .await;
    }

    /// Nothing of any instance is left: no container, no volume, no record.
    pub(crate) async fn nothing_is_left(&self) {
        eventually(PATIENCE, async || {
            let mut left = self.warden.list().await.unwrap();
            left.retain(|handle| *handle != self.app);
            for directory in ["volumes", "instances"] {
                let entries = fs::read_dir(self.config.data_dir.join(directory)).unwrap();
                left.extend(entries.map(|entry| entry.unwrap().path().display().to_string()));
            }
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    /// Ends everything; nothing may be left.
    pub(crate) async fn end(mut self) {
        if self.node.is_some() {
            self.end_node().await;
        }
        for handle in self.warden.list().await.unwrap() {
            assert!(handle == self.app, "{handle} is left");
            self.warden.destroy(&handle).await.unwrap();
        }
        let mut warden = self.warden_process.take().expect("a warden");
        let pid = nix::unistd::Pid::from_raw(warden.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
        assert!(warden.wait().unwrap().success());
    }
}

impl Drop for Scene {
    /// After a failure a last daemon destroys what there is.
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.runtime.shutdown_background();
        }
        let log = || fs::read_to_string(self.data.path().join("warden.log")).unwrap_or_default();
        if let Some(mut warden) = self.warden_process.take() {
            let client = warden_client::Client::new(&self.config.warden_socket);
            let clean = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    for handle in client.list().await? {
                        client.destroy(&handle).await?;
                    }
                    Ok::<_, warden_client::Error>(())
                })
            });
            let _ = clean.join();
            let pid = nix::unistd::Pid::from_raw(warden.id() as i32);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM);
            let _ = warden.wait();
        }
        if std::thread::panicking() {
            let text = log();
            let lines: Vec<&str> = text.lines().collect();
            eprintln!("--- the warden's last words\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

async fn connect(url: &str) -> Bus {
    let config = cupola_bus::Config { servers: vec![url.to_owned()], ..Default::default() };
    Bus::connect(&config, "test").await.unwrap()
}

/// The stacks of the tests; the one that is needed is built when it is missing.
fn stacks() -> PathBuf {
    let cache = std::env::var_os("CUPOLA_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cache"), PathBuf::from);
    let store = rootfs::Store::open(&cache.join("stacks")).unwrap();
    let recipe = rootfs::Recipe::named("services").unwrap();
    rootfs::build(&store, &recipe, &rootfs::Options::default(), &mut |_| ()).unwrap();
    store.folder().canonicalize().unwrap()
}

fn start_warden(data: &Path, socket: &Path) -> Child {
    let beside = std::env::current_exe().unwrap();
    let program = beside.parent().and_then(Path::parent).unwrap().join("warden");
    assert!(program.is_file(), "{} is missing: run `make build`", program.display());
    let config = data.join("warden.toml");
    let text = format!(
        "socket = {socket:?}\ndata_dir = {:?}\n[network]\npool = {CONTAINER_NETWORK:?}\n[ports]\nstart = 57501\ncount = 100\n[uids]\nstart = 400000000\ncount = 100\n",
        data.join("warden")
    );
    fs::write(&config, text).unwrap();
    let log = fs::File::options().create(true).append(true).open(data.join("warden.log")).unwrap();
    Command::new(program)
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("the warden starts")
}

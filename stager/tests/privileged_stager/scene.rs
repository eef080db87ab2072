//! Everything around a stager: bus, warden, stacks, controller.

use crate::controller::Controller;
use cupola_bus::{Bus, Replies};
use cupola_protocol::{
    AppId, Mebibytes, TaskId,
    logs::{self, LogLine, Source},
    staging::{Meta, Properties, Reply, Start, start_subject},
};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long the parts may take to come up, and containers to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// A child process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The warden; whatever becomes of the test, its containers go before it does.
struct Warden {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Warden {
    /// Asks it to end and waits for that.
    fn end(&mut self) -> std::process::ExitStatus {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM); // it may have ended
        self.child.wait().unwrap()
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        let warden = warden_client::Client::new(&self.socket).with_patience(Duration::ZERO);
        // A runtime of its own, on a thread of its own: the test's may be on its way out.
        let clean = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for handle in warden.list().await.unwrap_or_default() {
                    let _ = warden.destroy(&handle).await;
                }
            });
        };
        let _ = std::thread::spawn(clean).join();
        self.end();
        if std::thread::panicking() {
            println!("--- the warden's log ---\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// A stager and its world.
pub(crate) struct Scene {
    pub(crate) bus: Bus,
    pub(crate) warden: warden_client::Client,
    pub(crate) controller: Controller,
    config: stager::Config,
    id: cupola_protocol::StagerId,
    stager: JoinHandle<Result<(), stager::Error>>,
    shutdown: CancellationToken,
    log: Arc<Mutex<Vec<LogLine>>>,
    _nats: Ends,
    warden_process: Warden,
    _data: tempfile::TempDir,
}

impl Scene {
    /// With the system buildpacks, and one of the stacks.
    pub(crate) async fn set(stack: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../buildpacks").canonicalize().unwrap();
        let config = stager::Config { buildpacks_dir: folder, ..stager::Config::default() };
        Self::build(stack, tempfile::tempdir().unwrap(), config).await
    }

    /// With buildpacks that take every app and compile it by these scripts.
    pub(crate) async fn with_buildpacks(stack: &str, scripts: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let buildpacks_dir = data.path().join("buildpacks");
        for (name, script) in scripts {
            let bin = buildpacks_dir.join(name).join("bin");
            fs::create_dir_all(&bin).unwrap();
            for (program, script) in [("detect", "echo yes"), ("compile", script)] {
                fs::write(bin.join(program), format!("#!/bin/bash\nset -e\n{script}\n")).unwrap();
                fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let buildpacks = scripts.iter().map(|(name, _)| name.to_string()).collect();
        Self::build(stack, data, stager::Config { buildpacks_dir, buildpacks, ..stager::Config::default() })
            .await
    }

    async fn build(stack: &str, data: tempfile::TempDir, config: stager::Config) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "containers are made by root: run this as root");
        let stacks_dir = stacks(stack);
        let (nats, port) = nats();
        let socket = data.path().join("warden.sock");
        let warden_process = warden(data.path(), &socket);
        let warden = warden_client::Client::connect(&socket).await.expect("the warden answers");
        let servers = vec![format!("nats://127.0.0.1:{port}")];
        let bus = eventually("nats-server answers", async || {
            Bus::connect(&cupola_bus::Config { servers: servers.clone(), ..Default::default() }, "test")
                .await
                .ok()
        })
        .await;
        let config = stager::Config {
            data_dir: data.path().join("stager"),
            stacks_dir,
            warden_socket: socket,
            ..config
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut lines = bus.subscribe_to::<LogLine>(&logs::all()).await.unwrap();
        let written = log.clone();
        tokio::spawn(async move {
            while let Some(line) = lines.next().await {
                written.lock().unwrap().push(line.message);
            }
        });
        let (id, stager, shutdown) = run(&config, &bus).await;
        let controller = Controller::start().await;
        Self {
            bus,
            warden,
            controller,
            config,
            id,
            stager,
            shutdown,
            log,
            _nats: nats,
            warden_process,
            _data: data,
        }
    }

    /// Asks the stager; the answers are the caller's to read.
    pub(crate) async fn ask(&self, request: &Start) -> Replies<Reply> {
        let mut request = request.clone();
        request.upload_uri = self.controller.url("/droplet");
        request.buildpack_cache_download_uri = Some(self.controller.url("/cache"));
        request.buildpack_cache_upload_uri = Some(self.controller.url("/cache"));
        self.log.lock().unwrap().clear();
        self.bus.request_replies(&start_subject(&self.id), &request).await.unwrap()
    }

    /// Stages to the end: the first answer, if there were two, and the last.
    pub(crate) async fn stage(&self, request: &Start, patience: Duration) -> (Option<Reply>, Reply) {
        let mut replies = self.ask(request).await;
        let deadline = Instant::now() + patience;
        let first = replies.next(deadline).await.expect("an answer");
        if first.done {
            return (None, first);
        }
        (Some(first), replies.next(deadline).await.expect("a second answer"))
    }

    /// What the developer has seen.
    pub(crate) fn log(&self) -> String {
        let lines = self.log.lock().unwrap();
        assert!(lines.iter().all(|line| line.source_type == Source::Staging));
        lines.iter().map(|line| format!("{}\n", line.message)).collect()
    }

    /// The developer sees these words, sooner or later.
    pub(crate) async fn shows(&self, words: &str) {
        eventually(words, async || self.log().contains(words).then_some(())).await;
    }

    /// No container and no file of a staging is left.
    pub(crate) async fn nothing_is_left(&self) {
        eventually("the containers are gone", async || {
            self.warden.list().await.ok()?.is_empty().then_some(())
        })
        .await;
        let tasks = self.config.data_dir.join("tasks");
        eventually("the workspaces are gone", async || {
            fs::read_dir(&tasks).ok()?.next().is_none().then_some(())
        })
        .await;
    }

    /// As after `kill -9` and a restart: nothing is told to stop.
    pub(crate) async fn kill_and_restart_stager(&mut self) {
        self.stager.abort();
        (self.id, self.stager, self.shutdown) = run(&self.config, &self.bus).await;
    }

    /// Ends the parts in order.
    pub(crate) async fn end(mut self) {
        self.shutdown.cancel();
        self.stager.await.unwrap().unwrap();
        assert!(self.warden.list().await.unwrap().is_empty());
        let status = self.warden_process.end();
        assert!(status.success(), "the warden ended with {status}");
    }
}

/// A request for the package at this address.
pub(crate) fn start(package: &str, stack: &str) -> Start {
    Start {
        app_id: AppId::generate(),
        task_id: TaskId::generate(),
        properties: Properties {
            services: vec![],
            environment: vec!["GREETING=hello".to_owned()],
            meta: Meta::default(),
            buildpack: None,
            vcap_application: serde_json::Map::new(),
        },
        stack: stack.to_owned(),
        download_uri: package.to_owned(),
        upload_uri: String::new(),
        buildpack_cache_download_uri: None,
        buildpack_cache_upload_uri: None,
        memory_limit: Mebibytes(256),
        disk_limit: Mebibytes(1024),
        app_disk_limit: Some(Mebibytes(1024)),
        timeout: None,
        egress_network_rules: vec![],
    }
}

type Running = (cupola_protocol::StagerId, JoinHandle<Result<(), stager::Error>>, CancellationToken);

async fn run(config: &stager::Config, bus: &Bus) -> Running {
    let server = stager::bind(config.clone(), bus.clone()).await.expect("a stager");
    let mut advertised = bus.subscribe::<cupola_protocol::staging::Advertise>().await.unwrap();
    bus.flush().await.unwrap();
    let (id, shutdown) = (server.id().clone(), CancellationToken::new());
    let task = tokio::spawn(server.run(shutdown.clone()));
    let first =
        tokio::time::timeout(PATIENCE, advertised.next()).await.expect("it advertises").unwrap().message;
    assert_eq!(first.id, id);
    assert!(!first.stacks.is_empty() && !first.buildpacks.is_empty());
    (id, task, shutdown)
}

/// The stacks of the tests; the one that is asked for is built when it is missing.
fn stacks(wanted: &str) -> PathBuf {
    let cache = std::env::var_os("CUPOLA_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/cache"), PathBuf::from);
    let store = rootfs::Store::open(&cache.join("stacks")).unwrap();
    let recipe = rootfs::Recipe::named(wanted).unwrap();
    rootfs::build(&store, &recipe, &rootfs::Options::default(), &mut |_| ()).unwrap();
    store.folder().canonicalize().unwrap()
}

fn nats() -> (Ends, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("nats-server")
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nats-server is installed");
    (Ends(child), port)
}

fn warden(data: &Path, socket: &Path) -> Warden {
    let beside = std::env::current_exe().unwrap();
    let program = beside.parent().and_then(Path::parent).unwrap().join("warden");
    assert!(program.is_file(), "{} is missing: run `make build`", program.display());
    let config = data.join("warden.toml");
    // Addresses that no other platform or test has.
    let text = format!(
        "socket = {socket:?}\ndata_dir = {:?}\n[network]\npool = \"10.248.{}.0/24\"\n",
        data.join("warden"),
        std::process::id() % 240
    );
    fs::write(&config, text).unwrap();
    let log = data.join("warden.log");
    let file = fs::File::create(&log).unwrap();
    let mut command = Command::new(program);
    command.arg("--config").arg(&config).stdout(file.try_clone().unwrap()).stderr(file);
    let child = command.spawn();
    Warden { child: child.expect("the warden starts"), socket: socket.to_owned(), log }
}

/// Asks again until there is an answer.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

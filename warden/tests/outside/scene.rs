//! A daemon for a test, with a root filesystem; nothing of it is left when it is dropped.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use warden_client::message::{
    BindMode, BindMount, CreateRequest, GRACE_NEVER, RunRequest, RunResponse, SpawnRequest,
};
use warden_client::{Client, JobStream, Output, StopMode};

/// A daemon and its data.
pub(crate) struct Warden {
    pub(crate) client: Client,
    daemon: Child,
    /// Name of the platform in kernel objects.
    pub(crate) instance: String,
    directory: tempfile::TempDir,
}

/// What a job did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: u32,
    pub(crate) offset: u64,
}

impl Warden {
    /// A daemon with the defaults but for what must not collide with others on this host.
    pub(crate) async fn start() -> Self {
        Warden::start_with("", "").await
    }

    /// The same with more configuration: of the network section, and before any section.
    pub(crate) async fn start_with(network: &str, top: &str) -> Self {
        Warden::start_in(&std::env::temp_dir(), network, top).await
    }

    /// The same with its data somewhere else than in the directory for temporary files.
    pub(crate) async fn start_in(place: &Path, network: &str, top: &str) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test makes containers and needs root: run `make test` as root"
        );
        let directory = tempfile::Builder::new().prefix("warden-outside-").tempdir_in(place).unwrap();
        make_root(&directory.path().join("root"));
        let number = std::process::id() % 240;
        let instance = format!("t{}", std::process::id());
        let config = format!(
            "socket = {:?}\ndata_dir = {:?}\nrootfs = {:?}\ninstance = {instance:?}\ninit = {:?}\n{top}\n\
             ports = {{ start = {}, count = 40 }}\nuids = {{ start = {}, count = 64 }}\n\
             [network]\npool = \"10.251.{number}.0/24\"\n{network}\n",
            directory.path().join("warden.sock"),
            directory.path().join("data"),
            directory.path().join("root"),
            init_program(),
            20_000 + number * 40,
            500_000_000 + number * 64 * 65_536,
        );
        fs::write(directory.path().join("warden.toml"), config).unwrap();
        let client = Client::new(directory.path().join("warden.sock")).with_patience(Duration::from_secs(20));
        let daemon = spawn(directory.path());
        let warden = Warden { client, daemon, instance, directory };
        warden.client.ping().await.unwrap_or_else(|error| panic!("{error}\n{}", warden.log()));
        warden
    }

    /// A directory of the test's own.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What the daemon has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("warden.log")).unwrap_or_default()
    }

    /// The number of the daemon's process.
    pub(crate) fn pid(&self) -> i32 {
        self.daemon.id() as i32
    }

    /// A container as most tests need it.
    pub(crate) async fn container(&self) -> String {
        self.create(CreateRequest::default()).await
    }

    /// A container, with the host's programs shown in it.
    pub(crate) async fn create(&self, mut request: CreateRequest) -> String {
        request = with_usr(request);
        self.client.create(request).await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// Runs a script to its end, as vcap.
    pub(crate) async fn run(&self, handle: &str, script: &str) -> RunResponse {
        let request = RunRequest { handle: handle.into(), script: script.into(), ..Default::default() };
        self.client.run(request).await.unwrap_or_else(|error| panic!("{script}: {error}\n{}", self.log()))
    }

    /// Runs a script that must succeed, and gives its trimmed output.
    pub(crate) async fn say(&self, handle: &str, script: &str) -> String {
        let done = self.run(handle, script).await;
        assert_eq!(done.exit_status, Some(0), "{script}: {done:?}");
        done.stdout.unwrap().trim().to_owned()
    }

    /// Starts a script, as vcap.
    pub(crate) async fn spawn(&self, handle: &str, script: &str) -> u32 {
        let request = SpawnRequest { handle: handle.into(), script: script.into(), ..Default::default() };
        self.client.spawn(request).await.unwrap_or_else(|error| panic!("{script}: {error}\n{}", self.log()))
    }

    /// Kills the daemon as the out-of-memory killer would, and starts another.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill();
        self.daemon = spawn(self.directory.path());
        // A program that the killed daemon was just starting may hold its socket for a moment: not the first answer
        // counts.
        eventually("the daemon answers again", async || self.client.ping().await.is_ok()).await;
    }

    /// Kills the daemon; one that is dead already is no error.
    pub(crate) fn kill(&mut self) {
        let _ = self.daemon.kill();
        self.daemon.wait().unwrap();
    }

    /// Ends the daemon as an operator would; it must succeed.
    pub(crate) fn end(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.pid());
        nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
        let status = self.daemon.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Everything on this host that is named after this platform or lies in its data: mounts, links, firewall, cgroups,
    /// loop devices, files.
    pub(crate) fn inventory(&self) -> Vec<String> {
        let data = self.path().join("data");
        let mut found = Vec::new();
        let data_text = data.display().to_string();
        for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
            if line.contains(&data_text) {
                found.push(format!("mount {line}"));
            }
        }
        let pool = format!("10.251.{}.", std::process::id() % 240);
        let addresses = output("ip", &["-o", "-4", "address"]);
        found
            .extend(addresses.lines().filter(|line| line.contains(&pool)).map(|line| format!("link {line}")));
        // A table that is not there is an error of nft's, and nothing to list.
        let table = format!("cupola_{}", self.instance);
        let rules =
            Command::new("nft").args(["list", "table", "inet", &table]).output().expect("nft runs").stdout;
        found.extend(String::from_utf8_lossy(&rules).lines().map(|line| format!("rule {}", line.trim())));
        let name = format!("cupola-{}", self.instance);
        for directory in walk(Path::new("/sys/fs/cgroup")) {
            if directory.components().any(|part| part.as_os_str() == name.as_str()) {
                found.push(format!("cgroup {}", directory.display()));
            }
        }
        for device in fs::read_dir("/sys/block").unwrap().flatten() {
            let file = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            // Those of containers; the pool's are there as long as the daemon is.
            if file.contains(&data_text) && !file.contains("/warden/disk/") {
                found.push(format!("loop {}", file.trim()));
            }
        }
        for directory in ["warden/depot", "warden/journal"] {
            let entries = fs::read_dir(data.join(directory)).unwrap();
            found.extend(entries.map(|entry| format!("file {}", entry.unwrap().path().display())));
        }
        found.sort();
        found
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        // A test that fails leaves nothing either: a last daemon destroys everything.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        if std::thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", self.log());
        }
        self.daemon = spawn(self.directory.path());
        let client = self.client.clone();
        let clean = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for handle in client.list().await? {
                    client.destroy(&handle).await?;
                }
                Ok::<_, warden_client::Error>(())
            })
        });
        let cleaned = clean.join();
        let pid = nix::unistd::Pid::from_raw(self.pid());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM);
        let _ = self.daemon.wait();
        if !std::thread::panicking() {
            cleaned
                .expect("the clean-up runs")
                .unwrap_or_else(|error| panic!("clean-up: {error}\n{}", self.log()));
        }
    }
}

/// With the host's programs at `/usr`.
pub(crate) fn with_usr(mut request: CreateRequest) -> CreateRequest {
    request.bind_mounts.insert(0, BindMount::new("/usr", "/usr", BindMode::Ro));
    request.grace_time = request.grace_time.or(Some(GRACE_NEVER));
    request
}

/// Reads a job's output to its end.
pub(crate) async fn collect(mut stream: JobStream) -> Done {
    let mut done = Done::default();
    while let Some(piece) = stream.next().await.unwrap() {
        match piece {
            Output::Data { name: warden_client::Name::Stdout, bytes, .. } => {
                done.stdout += &String::from_utf8_lossy(&bytes);
            }
            Output::Data { bytes, .. } => done.stderr += &String::from_utf8_lossy(&bytes),
            Output::Exited { status, .. } => done.status = status,
        }
        done.offset = stream.offset();
    }
    done
}

/// Asks until the answer is yes.
pub(crate) async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ask().await {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A program's output; it must succeed.
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Stops by force, for tests that end with processes that would not.
pub(crate) async fn kill(warden: &Warden, handle: &str) {
    warden.client.stop(handle, StopMode::Kill).await.unwrap();
}

fn spawn(directory: &Path) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("warden.log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_warden"))
        .arg("--config")
        .arg(directory.join("warden.toml"))
        .env("RUST_LOG", "info,warden=debug")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Links into `/usr`, and what a root must have of its own.
fn make_root(root: &Path) {
    for name in ["etc", "usr", "root", "home"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/bash\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
}

/// The static init: `WARDEN_INIT`, else beside this test's own target directory, else built now.
fn init_program() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("WARDEN_INIT") {
            return PathBuf::from(path);
        }
        let beside = Path::new(env!("CARGO_BIN_EXE_warden"));
        let target = beside.ancestors().nth(2).unwrap();
        let path = target.join("x86_64-unknown-linux-gnu/debug/warden-init");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", "warden", "--no-default-features", "--bin", "warden-init"])
            .args(["--target", "x86_64-unknown-linux-gnu"])
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("CARGO_TARGET_DIR", target)
            .status()
            .expect("cargo runs");
        assert!(
            status.success() && path.exists(),
            "the static warden-init cannot be built; try `make build`"
        );
        path
    })
}

/// Every directory below one, the deepest first.
pub(crate) fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        all.extend(walk(&entry.path()));
        all.push(entry.path());
    }
    all
}

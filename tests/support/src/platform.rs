//! A whole platform for a test: `cupola up` on free ports, with a data directory of its own, ended and removed
//! when it is dropped. Black box: everything goes through the `cupola` command and HTTP.

use crate::{Inventory, Scope};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

/// Addresses of the tests' containers: another network than that of a platform in use on this machine.
const CONTAINER_NETWORK: &str = "10.253.0.0/16";
/// Name of the tests' platforms in cgroups and the firewall.
const INSTANCE: &str = "e2e";
/// Two inventories this far apart that are equal are taken for the last: the collectors of the tests' platforms run
/// each second.
const SETTLE: Duration = Duration::from_millis(2500);
/// How long an HTTP request may take.
const HTTP_LIMIT: Duration = Duration::from_secs(20);

/// A running platform.
#[derive(Debug)]
pub struct Platform {
    cupola: PathBuf,
    directory: PathBuf,
    domain: String,
    router: SocketAddr,
    api: SocketAddr,
    http: reqwest::blocking::Client,
}

/// How a command of the developer ended.
#[derive(Debug)]
pub struct Said {
    /// Exit status; none when a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, Some(0), "the command failed:\n{}\n{}", self.out, self.err);
        self
    }

    /// Fails the test unless the command failed with one message that contains every word given.
    #[track_caller]
    pub fn refused(self, words: &[&str]) -> Self {
        assert!(
            !matches!(self.status, Some(0) | None),
            "the command did not fail:\n{}\n{}",
            self.out,
            self.err
        );
        let all = format!("{}\n{}", self.out, self.err);
        for word in words {
            assert!(all.contains(word), "the message does not say {word:?}:\n{all}");
        }
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Platform {
    /// Brings a platform up and logs in. `cupola` is the executable, by `env!("CARGO_BIN_EXE_cupola")`.
    #[track_caller]
    pub fn start(cupola: &str) -> Self {
        crate::require_root();
        let platform = Self::prepare(cupola, "").expect("a platform can be prepared");
        platform.up().expect("the platform comes up");
        platform
    }

    /// Makes the data directory and the configuration, with `extra` TOML in it, and starts nothing.
    pub fn prepare(cupola: &str, extra: &str) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("cupola-").tempdir()?.keep();
        // The roles run as another user, who walks through here.
        fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let [router, api, nats] = free_ports()?;
        share_stacks(&directory.join("data/stacks"))?;
        let domain = "apps.test".to_owned();
        let config = format!(
            "data_dir = {data:?}\ndomain = {domain:?}\nrouter_port = {router}\napi_port = {api}\nnats_port = {nats}\n\
             container_network = {CONTAINER_NETWORK:?}\n{extra}\n\
             [warden]\ninstance = {INSTANCE:?}\n\
             [service_gateway]\nlisten = \"127.0.0.1:0\"\n\
             [service_node]\nports = {{ start = 27000, count = 100 }}\n\
             [dea]\ndroplet_unused_seconds = 1.0\nclean_seconds = 1.0\n",
            data = directory.join("data"),
        );
        fs::write(directory.join("cupola.toml"), config)?;
        let http = reqwest::blocking::Client::builder()
            .no_proxy()
            .timeout(HTTP_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            cupola: cupola.into(),
            directory,
            domain,
            router: SocketAddr::from(([127, 0, 0, 1], router)),
            api: SocketAddr::from(([127, 0, 0, 1], api)),
            http,
        })
    }

    /// `cupola up --detach`, then a login as the first user.
    pub fn up(&self) -> Result<()> {
        let said = self.try_up();
        ensure!(said.status == Some(0), "cupola up failed:\n{}\n{}", said.out, said.err);
        let password =
            fs::read(self.data().join("secrets/admin-password")).context("the first user has a password")?;
        let said = self.with_input(&["login", "-u", "admin", "--password-stdin"], &password);
        ensure!(said.status == Some(0), "cupola login failed:\n{}\n{}", said.out, said.err);
        Ok(())
    }

    /// `cupola up --detach`, whatever comes of it.
    pub fn try_up(&self) -> Said {
        self.cupola(&["up", "--detach", "--config", &self.config()])
    }

    /// `cupola down`.
    pub fn down(&self) -> Said {
        self.cupola(&["down", "--config", &self.config()])
    }

    /// Path of the configuration.
    pub fn config(&self) -> String {
        self.directory.join("cupola.toml").display().to_string()
    }

    /// The platform's data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// A folder of the test, outside of the data directory.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let folder = self.directory.join("scratch").join(name);
        fs::create_dir_all(&folder).expect("a folder can be made");
        folder
    }

    /// Runs a command of the developer.
    pub fn cupola(&self, arguments: &[&str]) -> Said {
        self.with_input(arguments, b"")
    }

    fn with_input(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("cupola runs");
        std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), input).ok();
        child.wait_with_output().expect("cupola ends").into()
    }

    /// A command of the developer that is not started yet: for those that go on, such as `logs`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cupola);
        command
            .args(arguments)
            .env("CUPOLA_HOME", self.directory.join("home"))
            .env("CUPOLA_API", format!("http://{}", self.api))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Host name of an app.
    pub fn host(&self, app: &str) -> String {
        format!("{app}.{}", self.domain)
    }

    /// GET through the router: status and body.
    pub fn try_get(&self, app: &str, path: &str) -> Result<(u16, String)> {
        let answer = self
            .http
            .get(format!("http://{}{path}", self.router))
            .header("Host", self.host(app))
            .send()
            .with_context(|| format!("GET {path} of {app}"))?;
        Ok((answer.status().as_u16(), answer.text()?))
    }

    /// GET of an address under the platform's domain, which does not resolve: at the router, as that host.
    pub fn try_get_url(&self, url: &str) -> Result<(u16, String)> {
        let (host, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .with_context(|| format!("{url} is no address"))?;
        let request = self.http.get(format!("http://{}/{path}", self.router)).header("host", host);
        let answer = request.send().with_context(|| format!("GET {url}"))?;
        Ok((answer.status().as_u16(), answer.text()?))
    }

    /// GET through the router that must answer 200; gives the body.
    #[track_caller]
    pub fn get(&self, app: &str, path: &str) -> String {
        let (status, body) = self.try_get(app, path).expect("the router answers");
        assert_eq!(status, 200, "GET {path} of {app}: {body}");
        body
    }

    /// GET of JSON.
    #[track_caller]
    pub fn get_json(&self, app: &str, path: &str) -> Value {
        let body = self.get(app, path);
        serde_json::from_str(&body)
            .unwrap_or_else(|error| panic!("{path} of {app} is not JSON ({error}): {body}"))
    }

    /// Waits until `condition` holds; fails the test after `limit` with what it said last.
    #[track_caller]
    pub fn eventually(&self, limit: Duration, mut condition: impl FnMut() -> Result<()>) {
        let deadline = Instant::now() + limit;
        loop {
            match condition() {
                Ok(()) => return,
                Err(error) if Instant::now() >= deadline => {
                    panic!("not within {limit:?}: {error:#}\n{}", self.log_tail())
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Waits until the app answers 200 with a body that contains `text`.
    #[track_caller]
    pub fn answers(&self, app: &str, path: &str, text: &str) {
        self.eventually(Duration::from_secs(30), || {
            let (status, body) = self.try_get(app, path)?;
            ensure!(status == 200 && body.contains(text), "{status}: {body}");
            Ok(())
        });
    }

    /// Pid of a process of the platform: `warden`, `nats-server`, `roles`.
    pub fn pid_of(&self, name: &str) -> Result<i32> {
        let text = fs::read_to_string(self.data().join("processes.toml"))?;
        let mut found = None;
        for line in text.lines() {
            match line.split_once(" = ") {
                Some(("name", value)) => found = Some(value.trim_matches('"') == name),
                Some(("pid", value)) if found == Some(true) => return Ok(value.parse()?),
                _ => {}
            }
        }
        bail!("{name} does not run:\n{text}")
    }

    /// Pushes an app and deletes it again. What the platform itself makes with its first app (its firewall table,
    /// its cgroup, its journals) stays until it is down; what an app makes must not.
    #[track_caller]
    pub fn warm_up(&self, app: &str) {
        self.cupola(&["push", "warm-up", "-p", app, "-m", "64M"]).ok();
        self.cupola(&["delete", "warm-up", "-f", "-r"]).ok();
    }

    /// An inventory that has stopped changing: what a deleted app had is collected within seconds.
    #[track_caller]
    pub fn settled_inventory(&self) -> Inventory {
        let mut last = self.inventory();
        self.eventually(Duration::from_secs(30), || {
            std::thread::sleep(SETTLE);
            let now = self.inventory();
            let difference = last.difference(&now);
            last = now;
            ensure!(difference.is_empty(), "still changing: {difference:?}");
            Ok(())
        });
        last
    }

    /// Takes stock of the kernel and of the data directory.
    pub fn inventory(&self) -> Inventory {
        inventory(vec![self.data()])
    }

    /// The last lines of the platform's log, for failure messages.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.data().join("log/cupola.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of the platform's log ---\n{}", self.log_tail());
        }
        let said = self.down();
        if said.status != Some(0) {
            eprintln!("cupola down failed:\n{}\n{}", said.out, said.err);
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Takes stock of what platforms leave in the kernel, and of these directories.
pub fn inventory(directories: Vec<PathBuf>) -> Inventory {
    let cgroup_prefixes = vec![format!("cupola-{INSTANCE}")];
    Inventory::take(Scope { cgroup_prefixes, directories, ..Scope::default() })
}

/// Three ports that nobody uses now. They are held together, so that they differ.
fn free_ports() -> Result<[u16; 3]> {
    let held: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// Gives a platform the stacks of the tests, which `make stacks` builds, by hard links where they go.
fn share_stacks(target: &Path) -> Result<()> {
    let cache =
        std::env::var_os("CUPOLA_CACHE").context("CUPOLA_CACHE is not set: run this by `make test-e2e`")?;
    let stacks = Path::new(&cache).join("stacks");
    ensure!(stacks.is_dir(), "there are no stacks in {}: run `make stacks`", stacks.display());
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(&stacks)? {
        let (from, to) = (entry?.path(), target.to_owned());
        let to = to.join(from.file_name().context("an entry has a name")?);
        if from.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

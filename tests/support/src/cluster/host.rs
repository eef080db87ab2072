//! One host, from outside.

use super::{boot, network, plan::Machine};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::{
        signal::{Signal, kill},
        socket::{getsockopt, sockopt::PeerCredentials},
    },
    unistd::Pid,
};
use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a host may take to boot, or to be gone.
const LIMIT: Duration = Duration::from_secs(20);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// A host of the cluster.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) machine: &'static Machine,
    pub(crate) directory: PathBuf,
}

impl Host {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.machine.name
    }

    /// Switches it on and starts what runs on it.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn boot(&self) -> Result<()> {
        self.switch_on()?;
        self.start_all()
    }

    /// Starts what runs on it, in order.
    pub(crate) fn start_all(&self) -> Result<()> {
        self.machine.units.iter().try_for_each(|unit| self.start(unit))
    }

    /// Switches it on, with nothing running on it yet.
    pub(crate) fn switch_on(&self) -> Result<()> {
        network::add(self.machine)?;
        let log =
            |name| OpenOptions::new().create(true).append(true).open(self.directory.join("log").join(name));
        // The program that this host has of the cluster: ours may be rebuilt meanwhile.
        let program = self.directory.join("../../bin/cluster");
        Command::new("nsenter")
            .arg(format!("--net=/run/netns/{}", self.machine.namespace()))
            .args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc"])
            .arg(program)
            .args(["boot", self.name()])
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(log("boot.log")?)
            .stderr(log("boot.log")?)
            // Not of this process's group: it outlives the command that started it.
            .process_group(0)
            .spawn()
            .context("cannot start nsenter and unshare (Debian package util-linux)")?;
        let deadline = Instant::now() + LIMIT;
        while self.ask("status").is_err() {
            if Instant::now() > deadline {
                bail!("{} does not boot: see {}", self.name(), self.directory.join("log/boot.log").display());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// What a power cut does: silence on its cable first, so that nobody hears its connections end; then all of its
    /// processes are gone at once.
    ///
    /// # Errors
    /// When it is not gone after all.
    pub fn crash(&self) -> Result<()> {
        network::unplug(self.machine)?;
        self.end()
    }

    /// Ends everything in it, and takes its network apart.
    pub(crate) fn end(&self) -> Result<()> {
        if let Some(pid) = self.pid() {
            kill(pid, Signal::SIGKILL).with_context(|| format!("cannot end {}", self.name()))?;
            let deadline = Instant::now() + LIMIT;
            while is_alive(pid) {
                ensure!(Instant::now() < deadline, "{} (pid {pid}) does not end", self.name());
                thread::sleep(PAUSE);
            }
        }
        network::remove(self.machine)
    }

    /// The pid of its process 1, on this machine; none when it is off.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let stream = UnixStream::connect(self.directory.join(boot::SOCKET)).ok()?;
        // The kernel says who listens, in our count of processes.
        let pid = getsockopt(&stream, PeerCredentials).ok()?.pid();
        (pid > 0).then(|| Pid::from_raw(pid))
    }

    /// Whether it is on.
    pub fn is_up(&self) -> bool {
        self.pid().is_some()
    }

    /// Starts a unit, which is started again whenever it ends.
    ///
    /// # Errors
    /// When the host says so.
    pub fn start(&self, unit: &str) -> Result<()> {
        self.order(&format!("start {unit}"))
    }

    /// Ends a unit by SIGTERM; it stays down.
    ///
    /// # Errors
    /// When the host says so.
    pub fn stop(&self, unit: &str) -> Result<()> {
        self.order(&format!("stop {unit}"))
    }

    /// `kill -9` of a unit's main process; it stays down.
    ///
    /// # Errors
    /// When the host says so.
    pub fn kill(&self, unit: &str) -> Result<()> {
        self.order(&format!("kill {unit}"))
    }

    /// Runs a command on it, as root.
    ///
    /// # Errors
    /// When it fails; what it said is in the error.
    pub fn run(&self, command: &[&str]) -> Result<String> {
        let output = self.command(command)?.stdin(Stdio::null()).output().context("cannot start nsenter")?;
        said(output).with_context(|| format!("{} on {}", command.join(" "), self.name()))
    }

    /// A command on it that is not started yet.
    ///
    /// # Errors
    /// When it is off.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let pid = self.pid().with_context(|| format!("{} is off", self.name()))?;
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &pid.to_string(),
            "--net",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--wd=/",
            "--",
        ]);
        command.args(words);
        Ok(command)
    }

    fn order(&self, command: &str) -> Result<()> {
        let answer = self.ask(command).with_context(|| format!("{command} on {}", self.name()))?;
        ensure!(answer == "ok", "{command} on {}: {answer}", self.name());
        Ok(())
    }

    /// One command, one answer, which ends with an empty line.
    pub(crate) fn ask(&self, command: &str) -> Result<String> {
        let stream = UnixStream::connect(self.directory.join(boot::SOCKET)).context("it is off")?;
        writeln!(&stream, "{command}").context("it does not listen")?;
        let mut answer = Vec::new();
        for line in BufReader::new(stream).lines() {
            let line = line.context("it stopped in the middle of its answer")?;
            if line.is_empty() {
                return Ok(answer.join("\n"));
            }
            answer.push(line);
        }
        bail!("it went off")
    }

    /// The file that a unit's output goes to.
    pub(crate) fn log(&self, unit: &str) -> PathBuf {
        self.directory.join("log").join(Path::new(unit).with_extension("log"))
    }
}

fn said(output: Output) -> Result<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{}: {}{}",
        output.status,
        text,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(text)
}

fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A zombie waits for its parent alone.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

//! Process 1 of a host: lays the host's own disk over this machine's, then starts, watches and ends services as it is
//! told over a socket, one line for each command:
//!
//! | command | effect |
//! |---|---|
//! | `start UNIT` | started, and again whenever it ends |
//! | `stop UNIT` | SIGTERM, in the end SIGKILL, and not started again |
//! | `kill UNIT` | SIGKILL, and not started again |
//! | `status` | a line for each unit: name, pid in this host (0: down), how often it was started |
//!
//! The answer is `ok`, or why not. The host lives as long as this process: when it is killed, the kernel ends everything
//! in it, containers too, and its mounts are gone.

use super::unit::Unit;
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, User, sethostname},
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    os::unix::{
        net::{UnixListener, UnixStream},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

/// The socket in a host's directory.
pub(crate) const SOCKET: &str = "control.sock";
/// How often ended processes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a service gets to end.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A service, as it is now.
struct Service {
    unit: Unit,
    pid: Option<Pid>,
    /// When it is to be started again; none while it runs or is to stay down.
    again: Option<Instant>,
    starts: u32,
}

type Command_ = (String, Sender<String>);

/// Runs a host whose disk is `directory`, as process 1, for ever.
///
/// # Errors
/// When the disk cannot be laid over this machine's.
pub fn run(name: &str, directory: &Path) -> Result<()> {
    if std::process::id() != 1 {
        bail!("this is what runs inside of a host; `cluster up` starts it");
    }
    let socket = directory.join(SOCKET);
    let _ = fs::remove_file(&socket);
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("cannot make {}", socket.display()))?;
    become_host(name, directory).with_context(|| format!("cannot become the host {name}"))?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let sender = sender.clone();
            // A thread for each: one that waits for a service to end keeps no other from being heard.
            thread::spawn(move || serve(client, &sender));
        }
    });
    supervise(&receiver)
}

/// Mounts, name: what is seen from here on is the host's.
fn become_host(name: &str, directory: &Path) -> Result<()> {
    let bind = |from: &Path, to: &str| {
        mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cannot lay {} over {to}", from.display()))
    };
    let programs = directory.parent().and_then(Path::parent).context("a host's directory is in hosts/")?;
    bind(&programs.join("bin"), "/usr/local/bin")?;
    bind(&directory.join("etc"), "/etc")?;
    bind(&directory.join("log"), "/var/log")?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .context("cannot give the host its own /run")?;
    // What is shared between processes there dies with the host.
    mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), Some("mode=1777"))
        .context("cannot give the host its own /dev/shm")?;
    // Last: the host's directory itself may be in there.
    bind(&directory.join("lib"), "/var/lib")?;
    fs::create_dir_all("/run/postgresql")?;
    if let Some(postgres) = User::from_name("postgres")? {
        nix::unistd::chown("/run/postgresql", Some(postgres.uid), Some(postgres.gid))?;
    }
    sethostname(name).context("cannot set the host's name")
}

fn serve(client: UnixStream, commands: &Sender<Command_>) {
    let mut lines = BufReader::new(&client).lines();
    while let Some(Ok(line)) = lines.next() {
        let (answer, answers) = channel();
        if commands.send((line, answer)).is_err() {
            return;
        }
        let Ok(text) = answers.recv() else { return };
        if (&client).write_all(format!("{text}\n\n").as_bytes()).is_err() {
            return;
        }
    }
}

fn supervise(commands: &Receiver<Command_>) -> Result<()> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    loop {
        match commands.recv_timeout(LOOK_EVERY) {
            Ok((command, answer)) => {
                let text = obey(&command, &mut services).unwrap_or_else(|error| format!("{error:#}"));
                let _ = answer.send(text);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("the control socket is gone"),
        }
        reap(&mut services);
        for service in services.values_mut() {
            if service.again.is_some_and(|at| at <= Instant::now()) {
                start(service);
            }
        }
    }
}

fn obey(command: &str, services: &mut BTreeMap<String, Service>) -> Result<String> {
    let (verb, name) = command.split_once(' ').unwrap_or((command, ""));
    if verb == "status" {
        let mut text = String::new();
        for (name, service) in services {
            let pid = service.pid.map_or(0, Pid::as_raw);
            let _ = writeln!(text, "{name} {pid} {}", service.starts);
        }
        return Ok(text.trim_end().to_owned());
    }
    if verb == "start" {
        let unit = Unit::load(name)?;
        let service = services.entry(name.to_owned()).or_insert_with(|| Service {
            unit: unit.clone(),
            pid: None,
            again: None,
            starts: 0,
        });
        service.unit = unit;
        if service.pid.is_none() {
            start(service);
        }
        return Ok("ok".to_owned());
    }
    let service = services.get_mut(name).with_context(|| format!("{name} was never started here"))?;
    service.again = None;
    let Some(pid) = service.pid else { return Ok("ok".to_owned()) };
    let (signal, limit) = match verb {
        "stop" => (Signal::SIGTERM, STOP_LIMIT),
        "kill" => (Signal::SIGKILL, STOP_LIMIT),
        _ => bail!("no such command: {command:?}"),
    };
    let _ = kill(pid, signal);
    let deadline = Instant::now() + limit;
    while services.get(name).is_some_and(|service| service.pid.is_some()) {
        if Instant::now() > deadline {
            let _ = kill(pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(5));
        reap(services);
        if let Some(service) = services.get_mut(name) {
            service.again = None;
        }
    }
    Ok("ok".to_owned())
}

/// Takes the end of every process that has ended; most are nobody's: what a killed service has left.
fn reap(services: &mut BTreeMap<String, Service>) {
    loop {
        let pid = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => pid,
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            _ => continue,
        };
        if let Some(service) = services.values_mut().find(|service| service.pid == Some(pid)) {
            service.pid = None;
            service.again = Some(Instant::now() + service.unit.pause);
        }
    }
}

fn start(service: &mut Service) {
    service.again = None;
    match try_start(&service.unit) {
        Ok(pid) => {
            service.pid = Some(pid);
            service.starts += 1;
        }
        Err(error) => {
            eprintln!("{}: {error:#}", service.unit.name);
            service.again = Some(Instant::now() + service.unit.pause);
        }
    }
}

fn try_start(unit: &Unit) -> Result<Pid> {
    let path = Path::new("/var/log").join(&unit.name).with_extension("log");
    let log = || OpenOptions::new().create(true).append(true).open(&path);
    let command = |words: &[String]| -> Result<Command> {
        let (program, arguments) = words.split_first().context("a command has a program")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log()?).stderr(log()?).current_dir("/");
        Ok(command)
    };
    for words in &unit.before {
        let status = command(words)?.status().with_context(|| format!("cannot run {words:?}"))?;
        if !status.success() {
            bail!("{words:?}: {status}; see {}", path.display());
        }
    }
    let mut service = command(&unit.command)?;
    service.envs(&unit.environment);
    if let Some(name) = &unit.user {
        let user = User::from_name(name)?.with_context(|| format!("there is no user {name}"))?;
        service.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let child = service.process_group(0).spawn().with_context(|| format!("cannot run {:?}", unit.command))?;
    Ok(Pid::from_raw(i32::try_from(child.id()).context("a pid")?))
}

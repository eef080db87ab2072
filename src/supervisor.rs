//! Keeps the platform's processes alive: the part that systemd has on machines where each role is a unit.
//!
//! It runs as root and does nothing but start, wait and signal: no network, no files but the process record,
//! no async runtime. A process that ends is started again after a pause that doubles while it keeps ending.

use crate::{
    leftovers,
    process::{Process, Record},
};
use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::{
    consts::{SIGCHLD, SIGINT, SIGTERM},
    flag,
    low_level::pipe,
};
use std::{
    io::Read,
    os::{fd::AsFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// First pause before a process is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A process that has run this long starts with the first pause again.
const STABLE: Duration = Duration::from_secs(30);

/// One process to keep alive.
pub(crate) struct Service {
    /// Its name, for people and for the record.
    pub name: &'static str,
    /// Makes the command; called for each start.
    pub command: Box<dyn Fn() -> Command>,
    /// How long it gets between TERM and KILL.
    pub stop_limit: Duration,
}

struct Running {
    service: Service,
    child: Option<Child>,
    process: Option<Process>,
    started: Instant,
    pause: Duration,
    again_at: Instant,
}

/// The running processes, in the order of their start.
pub(crate) struct Supervisor {
    running: Vec<Running>,
    /// Gets a byte for each signal. Signals are caught, not blocked: children would inherit a blocked one.
    signals: UnixStream,
    stop: Arc<AtomicBool>,
    record: PathBuf,
}

/// Why waiting ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Somebody wants the platform to end.
    Stop,
    /// The time is up.
    Time,
}

impl Supervisor {
    /// Takes over SIGTERM, SIGINT and SIGCHLD.
    pub(crate) fn new(record: PathBuf) -> Result<Self> {
        let (signals, sender) = UnixStream::pair().context("cannot make a pair of sockets")?;
        signals.set_nonblocking(true).context("cannot make a socket non-blocking")?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            flag::register(signal, stop.clone()).context("cannot receive signals")?;
        }
        for signal in [SIGTERM, SIGINT, SIGCHLD] {
            let sender = sender.try_clone().context("cannot make a socket")?;
            pipe::register(signal, sender).context("cannot receive signals")?;
        }
        Ok(Self { running: Vec::new(), signals, stop, record })
    }

    /// Starts a process and keeps it alive from now on.
    pub(crate) fn start(&mut self, service: Service) -> Result<()> {
        let now = Instant::now();
        let mut running =
            Running { service, child: None, process: None, started: now, pause: FIRST_PAUSE, again_at: now };
        spawn(&mut running)?;
        self.running.push(running);
        self.write_record()
    }

    /// The process of a service, while it lives.
    pub(crate) fn is_alive(&self, name: &str) -> bool {
        self.running
            .iter()
            .any(|r| r.service.name == name && r.process.as_ref().is_some_and(Process::is_alive))
    }

    /// Waits for a signal or until `limit`; meanwhile starts again what ended.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Wake> {
        let deadline = Instant::now() + limit;
        loop {
            self.restart_ended()?;
            let next = self.running.iter().filter(|r| r.child.is_none()).map(|r| r.again_at).min();
            let until = next.map_or(deadline, |at| at.min(deadline));
            let pause = until.saturating_duration_since(Instant::now()).min(Duration::from_secs(60));
            if pause.is_zero() && next.is_none_or(|at| at >= deadline) {
                return Ok(Wake::Time);
            }
            let timeout = PollTimeout::from(pause.as_millis().clamp(1, 60_000) as u16);
            match poll(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot wait for signals"),
            }
            // What the bytes are does not matter, only that they were there.
            while self.signals.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Wake::Stop);
            }
        }
    }

    fn restart_ended(&mut self) -> Result<()> {
        let mut changed = false;
        for running in &mut self.running {
            if let Some(child) = &mut running.child
                && let Some(status) = child.try_wait().context("cannot wait for a child")?
            {
                let name = running.service.name;
                if running.started.elapsed() > STABLE {
                    running.pause = FIRST_PAUSE;
                }
                eprintln!(
                    "{name} has ended ({status}); it is started again in {:.1} s",
                    running.pause.as_secs_f64()
                );
                running.child = None;
                running.process = None;
                running.again_at = Instant::now() + running.pause;
                running.pause = (running.pause * 2).min(LONGEST_PAUSE);
            }
            if running.child.is_none() && Instant::now() >= running.again_at {
                spawn(running)?;
                changed = true;
            }
        }
        if changed { self.write_record() } else { Ok(()) }
    }

    /// Ends everything, last started first.
    pub(crate) fn stop(mut self) {
        while let Some(mut running) = self.running.pop() {
            let name = running.service.name;
            if let Some(process) = &running.process {
                let begun = Instant::now();
                leftovers::stop(process, running.service.stop_limit);
                eprintln!("{name} has ended after {:.1} s", begun.elapsed().as_secs_f64());
            }
            if let Some(child) = &mut running.child {
                let _ = child.wait();
            }
        }
        let _ = std::fs::remove_file(&self.record);
    }

    fn write_record(&self) -> Result<()> {
        let Some(supervisor) = Process::find("cupola up", std::process::id() as i32) else {
            bail!("cannot read /proc: is it mounted?")
        };
        Record { supervisor, children: self.running.iter().filter_map(|r| r.process.clone()).collect() }
            .write(&self.record)
    }
}

fn spawn(running: &mut Running) -> Result<()> {
    let name = running.service.name;
    let mut command = (running.service.command)();
    let child =
        command.spawn().with_context(|| format!("cannot start {name} ({:?})", command.get_program()))?;
    running.process = Process::find(name, child.id() as i32);
    running.child = Some(child);
    running.started = Instant::now();
    Ok(())
}

//! The loop of PID 1.

use super::connection::Connection;
use super::execute::{self, Vcap};
use super::job::{self, Job};
use super::{pack, unpack, users};
use crate::channel::{Channel, Packet};
use crate::spawner::READY;
use crate::sys::{self, process};
use crate::wire::{Failure, InitReply, InitRequest, JobSpec, JobUser, Target, VERSION, Wire};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{SockFlag, accept4, getsockopt, sockopt};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

/// Most connections at once; more wait in the socket's queue.
const MOST_CONNECTIONS: usize = 64;

/// What the spawner hands over on the command line, in this order.
#[derive(Debug, Clone, Copy)]
pub struct Arguments {
    /// Descriptor of the listening socket.
    pub listener: RawFd,
    /// Descriptor of the directory for jobs.
    pub jobs: RawFd,
    /// Descriptor of the pipe that tells the spawner that this runs.
    pub report: RawFd,
    /// uid of the ordinary user.
    pub uid: u32,
    /// gid of the ordinary user.
    pub gid: u32,
}

struct Init {
    listener: OwnedFd,
    directory: OwnedFd,
    vcap: Vcap,
    jobs: BTreeMap<u64, Job>,
    connections: Vec<Connection>,
    /// Connections of tar streams, by the process that answers on them.
    transfers: BTreeMap<i32, Channel>,
}

/// Runs as PID 1. Returns only when it cannot even begin.
pub fn serve(arguments: Arguments) -> Result<(), Failure> {
    let failed = |step: &'static str| move |errno: Errno| Failure::new(step, "", errno as i32);
    let inherited =
        |number| sys::fd::inherited(number).ok_or_else(|| Failure::new("take a descriptor", "", libc::EBADF));
    let (listener, directory) = (inherited(arguments.listener)?, inherited(arguments.jobs)?);
    let report = inherited(arguments.report)?;
    sys::fd::close_at_exec(&[])
        .map_err(|error| Failure::new("close descriptors", "", error.raw_os_error().unwrap_or(0)))?;
    // Executing made it dumpable again: no process of the container may look into this one.
    nix::sys::prctl::set_dumpable(false).map_err(failed("become undumpable"))?;
    if nix::unistd::getpid().as_raw() != 1 {
        return Err(Failure::new("be the first process of a container", "", libc::EINVAL));
    }
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    mask.thread_block().map_err(failed("block signals"))?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(failed("watch signals"))?;
    let mut init = Init {
        listener,
        directory,
        vcap: Vcap { uid: arguments.uid, gid: arguments.gid },
        jobs: BTreeMap::new(),
        connections: Vec::new(),
        transfers: BTreeMap::new(),
    };
    let _ = File::from(report).write_all(READY);
    loop {
        init.turn(&signals);
    }
}

/// What a descriptor in the poll set is.
#[derive(Debug, Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Connection(usize),
    Pipe(u64, usize),
}

impl Init {
    fn turn(&mut self, signals: &SignalFd) {
        let ready = self.wait(signals);
        // Backwards: serving a connection may remove it, which moves only those behind it.
        for source in ready.into_iter().rev() {
            match source {
                Source::Signals => while matches!(signals.read_signal(), Ok(Some(_))) {},
                Source::Listener => self.accept(),
                Source::Connection(at) => self.serve(at),
                Source::Pipe(id, stream) => {
                    if let Some(job) = self.jobs.get_mut(&id) {
                        let before = job.state().offset;
                        job.pump(stream);
                        let state = job.state();
                        if state.offset != before {
                            self.connections.iter_mut().for_each(|connection| connection.note(state));
                        }
                    }
                }
            }
        }
        // Also without a signal: one that came while another was pending is not told twice.
        self.reap();
        let ended = self.settle();
        self.connections.iter_mut().for_each(Connection::flush);
        // After the news: whoever waits for it need not wait for a file.
        ended.iter().filter_map(|id| self.jobs.get(id)).for_each(Job::keep_end);
        self.connections.retain(|connection| !connection.broken);
    }

    fn wait(&self, signals: &SignalFd) -> Vec<Source> {
        let mut sources = vec![Source::Signals];
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if self.connections.len() < MOST_CONNECTIONS {
            sources.push(Source::Listener);
            fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        }
        for (at, connection) in self.connections.iter().enumerate() {
            let write = if connection.wants_to_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
            sources.push(Source::Connection(at));
            fds.push(PollFd::new(connection.as_fd(), PollFlags::POLLIN | write));
        }
        for (id, job) in &self.jobs {
            for (stream, pipe) in job.pipes.iter().enumerate() {
                let Some(pipe) = pipe else { continue };
                sources.push(Source::Pipe(*id, stream));
                fds.push(PollFd::new(pipe.as_fd(), PollFlags::POLLIN));
            }
        }
        let now = Instant::now();
        let timeout =
            self.jobs.values().filter_map(Job::deadline).min().map_or(PollTimeout::NONE, |deadline| {
                // Rounded up, so that the deadline has passed when this returns.
                let left = deadline.saturating_duration_since(now).as_millis() as u16 + 1;
                PollTimeout::from(left)
            });
        if poll(&mut fds, timeout).is_err() {
            return Vec::new();
        }
        let ready = fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty()));
        sources.into_iter().zip(ready).filter_map(|(source, ready)| ready.then_some(source)).collect()
    }

    fn accept(&mut self) {
        while self.connections.len() < MOST_CONNECTIONS {
            let flags = SockFlag::SOCK_CLOEXEC;
            let Ok(number) = accept4(self.listener.as_raw_fd(), flags) else { return };
            let Some(socket) = sys::fd::accepted(number) else { return };
            // The socket's file is out of the container's reach; still, only processes outside it (which have no
            // number here) are heard.
            let outside = getsockopt(&socket, sockopt::PeerCredentials).is_ok_and(|peer| peer.pid() == 0);
            if outside {
                self.connections.push(Connection::new(Channel::new(socket)));
            }
        }
    }

    fn serve(&mut self, at: usize) {
        while let Some(packet) = self.connections[at].next() {
            let Packet { payload, fds } = packet;
            let reply = match InitRequest::decode(&payload) {
                Err(_) => InitReply::Failed(Failure::new("read the request", "", libc::EPROTO)),
                Ok(InitRequest::Hello) => InitReply::Hello { version: VERSION },
                Ok(InitRequest::Run(spec)) => match self.run(&spec, fds) {
                    Ok(pid) => InitReply::Started { pid },
                    Err(failure) => InitReply::Failed(failure),
                },
                Ok(InitRequest::Signal { target, signal }) => self.signal(target, signal),
                Ok(InitRequest::Jobs) => self.list(),
                Ok(InitRequest::Forget(id)) => self.forget(id),
                Ok(InitRequest::Subscribe) => {
                    self.connections[at].subscribe();
                    self.list()
                }
                Ok(InitRequest::Unpack { dir, user }) => {
                    let fd = fds.into_iter().next();
                    return self.transfer(at, fd, user, |data| unpack::unpack(&dir, data));
                }
                Ok(InitRequest::Pack { path, user }) => {
                    let fd = fds.into_iter().next();
                    return self.transfer(at, fd, user, |data| pack::pack(&path, data));
                }
                Ok(InitRequest::Input(id)) => {
                    match find(&self.jobs, id).and_then(Job::input) {
                        Ok((fd, terminal)) => {
                            let reply = InitReply::Input { terminal };
                            let fd = Some(fd.as_fd());
                            self.connections[at].reply_with(&reply, fd);
                        }
                        Err(failure) => self.connections[at].reply(&InitReply::Failed(failure)),
                    }
                    continue;
                }
                Ok(InitRequest::EndInput(id)) => {
                    if let Some(job) = self.jobs.get_mut(&id) {
                        job.end_input();
                    }
                    InitReply::Done
                }
                Ok(InitRequest::Resize { job, window }) => {
                    let done = find(&self.jobs, job).and_then(|job| job.resize(window));
                    done.map_or_else(InitReply::Failed, |()| InitReply::Done)
                }
            };
            self.connections[at].reply(&reply);
        }
    }

    fn run(&mut self, spec: &JobSpec, given: Vec<OwnedFd>) -> Result<i32, Failure> {
        let job = job::start(&self.directory, spec, self.vcap, given)?;
        let pid = job.pid();
        self.jobs.insert(spec.id, job);
        Ok(pid)
    }

    fn list(&self) -> InitReply {
        InitReply::Jobs(self.jobs.values().map(Job::state).collect())
    }

    fn signal(&self, target: Target, signal: i32) -> InitReply {
        match target {
            Target::Job(id) => {
                if let Some(job) = self.jobs.get(&id) {
                    job.signal(signal);
                }
            }
            // Everything but this process; no process at all is fine.
            Target::All => {
                let _ = process::signal(-1, signal);
                if signal == libc::SIGTERM {
                    self.jobs.values().for_each(Job::hang_up);
                }
            }
        }
        InitReply::Done
    }

    fn forget(&mut self, id: u64) -> InitReply {
        match self.jobs.get(&id).map(|job| job.state().end.is_some()) {
            Some(false) => {
                return InitReply::Failed(Failure::new(
                    "forget a job that runs",
                    id.to_string(),
                    libc::EBUSY,
                ));
            }
            Some(true) => {
                if let Some(job) = self.jobs.remove(&id) {
                    job.remove(&self.directory);
                }
            }
            None => (),
        }
        InitReply::Done
    }

    /// Hands the connection to a child that does the work as `user` and answers by itself.
    fn transfer(
        &mut self,
        at: usize,
        data: Option<OwnedFd>,
        user: JobUser,
        work: impl FnOnce(File) -> Result<(), Failure>,
    ) {
        let Some(data) = data else {
            let failure = Failure::new("find the stream of the request", "", libc::EPROTO);
            return self.connections[at].reply(&InitReply::Failed(failure));
        };
        match process::fork() {
            Ok(None) => {
                let connection = self.connections.swap_remove(at);
                let vcap = self.vcap;
                let result = become_worker(user, vcap, &[connection.as_fd(), data.as_fd()]);
                let result = result.and_then(|()| work(File::from(data)));
                let reply = result.map_or_else(InitReply::Failed, |()| InitReply::Done);
                let _ = connection.into_channel().send(&reply.encode(), &[]);
                process::exit_now(0)
            }
            Ok(Some(pid)) => {
                // Kept open until the child is reaped, so that the daemon sees the end even of a killed one.
                let connection = self.connections.remove(at);
                self.transfers.insert(pid, connection.into_channel());
            }
            Err(error) => {
                let failure = Failure::new("fork", "", error.raw_os_error().unwrap_or(libc::EAGAIN));
                self.connections[at].reply(&InitReply::Failed(failure));
            }
        }
    }

    fn reap(&mut self) {
        let now = Instant::now();
        while let Some(reaped) = process::reap() {
            self.transfers.remove(&reaped.pid);
            let running = |job: &&mut Job| job.pid() == reaped.pid && job.runs();
            if let Some(job) = self.jobs.values_mut().find(running) {
                job.reaped(reaped, now);
            }
        }
    }

    /// The jobs that have ended now.
    fn settle(&mut self) -> Vec<u64> {
        let now = Instant::now();
        let mut ended = Vec::new();
        for (id, job) in &mut self.jobs {
            if job.settle(now) {
                ended.push(*id);
                let state = job.state();
                self.connections.iter_mut().for_each(|connection| connection.note(state));
            }
        }
        ended
    }
}

fn find(jobs: &BTreeMap<u64, Job>, id: u64) -> Result<&Job, Failure> {
    jobs.get(&id).ok_or_else(|| Failure::new("find the job", id.to_string(), libc::ESRCH))
}

/// Prepares the child that packs or unpacks. It keeps nothing of the init but its stream and its connection, so that a
/// path through `/proc/self/fd` leads nowhere.
fn become_worker(user: JobUser, vcap: Vcap, keep: &[BorrowedFd<'_>]) -> Result<(), Failure> {
    let failed = |step: &'static str| {
        move |error: io::Error| Failure::new(step, "", error.raw_os_error().unwrap_or(0))
    };
    sys::fd::close_all_but(keep).map_err(failed("close descriptors"))?;
    process::reset_signals().map_err(failed("reset the signals"))?;
    nix::unistd::setsid().map_err(io::Error::from).map_err(failed("start a session"))?;
    let (uid, gid) = users::ids(user, vcap);
    execute::become_user(uid, gid)
}

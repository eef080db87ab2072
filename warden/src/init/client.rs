//! The daemon's side of a container's init. Every call blocks, except [`Events::try_next`].

use crate::channel::{Channel, Packet};
use crate::wire::{
    Event, Failure, InitReply, InitRequest, JobSpec, JobState, JobUser, OLDEST, Stdio, Target, VERSION,
    Window, Wire,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Why a request was not done: the step that was refused, on what, and the error number.
pub type RunError = Failure;

/// A connection for requests. Shared freely; requests go one after the other.
#[derive(Debug)]
pub struct InitClient {
    socket: PathBuf,
    channel: Mutex<Channel>,
    /// What the init speaks.
    version: u32,
}

/// A descriptor that leads to a job's standard input.
#[derive(Debug)]
pub struct JobInput {
    /// What is written to it, the job reads. Who made it is in a container: nothing about it is certain.
    pub fd: OwnedFd,
    /// Whether it is that of a terminal, whose input has no end but a character that means it.
    pub terminal: bool,
}

/// A connection that brings notes. [`AsFd`] gives the socket, readable when there is a note.
#[derive(Debug)]
pub struct Events {
    channel: Channel,
}

/// A tar stream that runs. The other end of the stream is with the caller.
#[derive(Debug)]
pub struct Transfer {
    channel: Channel,
}

impl InitClient {
    /// Connects to `<depot>/<id>/init.sock`. `InvalidData` when the init speaks a version that is not known.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let (channel, version) = open(socket)?;
        Ok(InitClient { socket: socket.to_owned(), channel: Mutex::new(channel), version })
    }

    /// Connects to an init that this program's own spawner has just started: it speaks our version, and may take the
    /// connection a moment later.
    pub fn connect_own(socket: &Path) -> io::Result<Self> {
        Ok(InitClient { socket: socket.to_owned(), channel: Mutex::new(Channel::connect(socket)?) })
    }

    /// Starts a job and returns its process number inside. Without `stdin` the job reads `/dev/null`.
    pub fn run(&self, job: &JobSpec, stdin: Option<BorrowedFd<'_>>) -> Result<i32, RunError> {
        let fds: Vec<BorrowedFd<'_>> = stdin.into_iter().collect();
        self.run_with(job, &fds)
    }

    /// The same with the descriptors that the job's [`Stdio`] asks for.
    pub fn run_with(&self, job: &JobSpec, fds: &[BorrowedFd<'_>]) -> Result<i32, RunError> {
        let request = match self.version {
            1 => {
                let plain = job.stdio == Stdio::Spool && job.named.is_none();
                if !plain {
                    return Err(self.too_old("give the job a terminal, input or another user"));
                }
                InitRequest::run_1(&in_version_1(job))
            }
            _ => InitRequest::Run(job.clone()).encode(),
        };
        match self.ask_bytes(&request, fds)?.0 {
            InitReply::Started { pid } => Ok(pid),
            _ => Err(unexpected()),
        }
    }

    /// A descriptor that leads to the standard input of a job that takes input.
    pub fn input(&self, job: u64) -> Result<JobInput, RunError> {
        self.require_2("bring input to the job")?;
        match self.ask_bytes(&InitRequest::Input(job).encode(), &[])? {
            (InitReply::Input { terminal }, mut fds) => {
                let fd = fds.pop().ok_or_else(unexpected)?;
                Ok(JobInput { fd, terminal })
            }
            _ => Err(unexpected()),
        }
    }

    /// Nothing more comes to a job's standard input; descriptors that lead to it must be closed as well.
    pub fn end_input(&self, job: u64) -> Result<(), RunError> {
        self.require_2("end the job's input")?;
        self.ask(&InitRequest::EndInput(job), &[]).map(drop)
    }

    /// Gives a job's terminal another size.
    pub fn resize(&self, job: u64, window: Window) -> Result<(), RunError> {
        self.require_2("resize the job's terminal")?;
        self.ask(&InitRequest::Resize { job, window }, &[]).map(drop)
    }

    fn require_2(&self, step: &str) -> Result<(), Failure> {
        if self.version < 2 { Err(self.too_old(step)) } else { Ok(()) }
    }

    /// What an older init cannot do.
    fn too_old(&self, step: &str) -> Failure {
        let step = format!("{step}: its container was made by an older warden (version {})", self.version);
        Failure::new(step, "", libc::EOPNOTSUPP)
    }

    /// Sends a signal. A job that has ended, or is unknown, is no error.
    pub fn signal(&self, target: Target, signal: i32) -> Result<(), RunError> {
        self.ask(&InitRequest::Signal { target, signal }, &[]).map(drop)
    }

    /// The jobs that init knows of, those that have ended included.
    pub fn jobs(&self) -> Result<Vec<JobState>, RunError> {
        match self.ask(&InitRequest::Jobs, &[])? {
            InitReply::Jobs(jobs) => Ok(jobs),
            _ => Err(unexpected()),
        }
    }

    /// Forgets an ended job and removes its directory. `EBUSY` while it runs; an unknown job is no error.
    pub fn forget(&self, job: u64) -> Result<(), RunError> {
        self.ask(&InitRequest::Forget(job), &[]).map(drop)
    }

    /// Unpacks the tar stream that `data` gives into `dir`, as `user`. The caller writes the other end and closes it.
    pub fn unpack(&self, dir: &Path, user: JobUser, data: OwnedFd) -> Result<Transfer, RunError> {
        self.transfer(&InitRequest::Unpack { dir: dir.to_owned(), user }, data)
    }

    /// Packs `path` as a tar stream into `data`, as `user`. The caller reads the other end to its end.
    pub fn pack(&self, path: &Path, user: JobUser, data: OwnedFd) -> Result<Transfer, RunError> {
        self.transfer(&InitRequest::Pack { path: path.to_owned(), user }, data)
    }

    /// Opens a second connection that brings notes; gives the state of all jobs at the moment it began.
    pub fn subscribe(&self) -> Result<(Vec<JobState>, Events), RunError> {
        let (channel, _) = open(&self.socket).map_err(broken)?;
        channel.send(&InitRequest::Subscribe.encode(), &[]).map_err(broken)?;
        match reply(&channel)?.0 {
            InitReply::Jobs(jobs) => Ok((jobs, Events { channel })),
            _ => Err(unexpected()),
        }
    }

    /// The same for an init of [`InitClient::connect_own`], without waiting for its answer: it has no job yet.
    pub fn subscribe_own(&self) -> Result<Events, RunError> {
        let channel = Channel::connect(&self.socket).map_err(broken)?;
        channel.send(&InitRequest::Subscribe.encode(), &[]).map_err(broken)?;
        Ok(Events { channel })
    }

    fn ask(&self, request: &InitRequest, fds: &[BorrowedFd<'_>]) -> Result<InitReply, Failure> {
        Ok(self.ask_bytes(&request.encode(), fds)?.0)
    }

    fn ask_bytes(
        &self,
        request: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<(InitReply, Vec<OwnedFd>), Failure> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.send(request, fds).map_err(broken)?;
        reply(&channel)
    }

    fn transfer(&self, request: &InitRequest, data: OwnedFd) -> Result<Transfer, Failure> {
        let (channel, _) = open(&self.socket).map_err(broken)?;
        channel.send(&request.encode(), &[data.as_fd()]).map_err(broken)?;
        Ok(Transfer { channel })
    }
}

impl Transfer {
    /// Waits for the end of the transfer.
    pub fn finish(self) -> Result<(), RunError> {
        reply(&self.channel).map(drop)
    }
}

impl Events {
    /// The next note; `None` when the init is gone.
    pub fn wait(&mut self) -> io::Result<Option<Event>> {
        loop {
            match self.channel.receive().and_then(note)? {
                Some(Note::Begun) => (),
                Some(Note::Event(event)) => return Ok(Some(event)),
                None => return Ok(None),
            }
        }
    }

    /// The next note if there is one; `WouldBlock` where there is none now, `None` when the init is gone.
    pub fn try_next(&mut self) -> io::Result<Option<Event>> {
        loop {
            match self.channel.try_receive().and_then(note)? {
                Some(Note::Begun) => (),
                Some(Note::Event(event)) => return Ok(Some(event)),
                None => return Ok(None),
            }
        }
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_fd().as_raw_fd()
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// A job in the words of version 1, whose init ran what it was told where it was told: `HOME`, `USER` and the directory
/// are those of the users that it knew.
fn in_version_1(job: &JobSpec) -> JobSpec {
    let mut job = job.clone();
    let (name, home) = if job.user == JobUser::Root { ("root", "/root") } else { ("vcap", "/home/vcap") };
    for (key, value) in [("HOME", home), ("USER", name)] {
        if !job.env.iter().any(|(known, _)| known == key.as_bytes()) {
            job.env.push((key.into(), value.into()));
        }
    }
    if job.cwd.as_os_str().is_empty() {
        job.cwd = home.into();
    }
    job
}

/// A connection, and the version that the init speaks.
fn open(socket: &Path) -> io::Result<(Channel, u32)> {
    let channel = Channel::connect(socket)?;
    channel.send(&InitRequest::Hello.encode(), &[])?;
    let packet = channel.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
    match InitReply::decode(&packet.payload)? {
        InitReply::Hello { version } if (OLDEST..=VERSION).contains(&version) => Ok((channel, version)),
        InitReply::Hello { version } => {
            let text =
                format!("the container's init speaks version {version}, this warden {OLDEST} to {VERSION}");
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
        _ => Err(io::Error::from_raw_os_error(libc::EPROTO)),
    }
}

fn reply(channel: &Channel) -> Result<(InitReply, Vec<OwnedFd>), Failure> {
    let packet = channel.receive().map_err(broken)?;
    let Some(packet) = packet else {
        return Err(Failure::new("wait for the container's init", "", libc::EPIPE));
    };
    match InitReply::decode(&packet.payload) {
        Ok(InitReply::Failed(failure)) => Err(failure),
        Ok(other) => Ok((other, packet.fds)),
        Err(_) => Err(unexpected()),
    }
}

/// What comes over a connection that brings notes.
enum Note {
    /// The answer to a subscription that nobody has waited for.
    Begun,
    Event(Event),
}

fn note(packet: Option<Packet>) -> io::Result<Option<Note>> {
    let Some(packet) = packet else { return Ok(None) };
    match InitReply::decode(&packet.payload)? {
        InitReply::Jobs(_) => Ok(Some(Note::Begun)),
        InitReply::Event(event) => Ok(Some(Note::Event(event))),
        _ => Err(io::Error::from_raw_os_error(libc::EPROTO)),
    }
}

fn broken(error: io::Error) -> Failure {
    Failure::new("talk to the container's init", "", error.raw_os_error().unwrap_or(libc::EPROTO))
}

fn unexpected() -> Failure {
    Failure::new("understand the container's init", "", libc::EPROTO)
}

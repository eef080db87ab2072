//! Requests, answers and notes.

use super::{
    ContainerPlan, Failure, JobEnd, JobSpec, JobState, JobUser, Malformed, Reader, Target, Window, Wire, Writer,
};
use std::path::PathBuf;

/// What the spawner is asked (sent with one descriptor: the network namespace).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnRequest {
    /// Names the request in its answer: several are under way at once.
    pub number: u64,
    /// What to build.
    pub plan: ContainerPlan,
}

/// The spawner's answer to a [`SpawnRequest`]; answers come in the order in which containers are ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpawnReply {
    /// Of the request.
    pub number: u64,
    /// What came of it.
    pub outcome: SpawnOutcome,
}

/// What came of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpawnOutcome {
    /// The container's init runs; its pidfd comes along.
    Spawned {
        /// The init, as numbered outside.
        pid: i32,
    },
    /// A step was refused; nothing of the container is left but what the daemon prepared.
    Failed(Failure),
}

/// What a container's init is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitRequest {
    /// First message of a connection; answered with [`InitReply::Hello`].
    Hello,
    /// Start a job; the descriptors that come along are as [`super::Stdio`] says. Answered with `Started`.
    Run(JobSpec),
    /// Send a signal. Answered with `Done`.
    Signal {
        /// To whom.
        target: Target,
        /// The signal's number.
        signal: i32,
    },
    /// List the jobs. Answered with `Jobs`.
    Jobs,
    /// Forget an ended job and remove its directory. Answered with `Done`.
    Forget(u64),
    /// From now on send [`Event`]s on this connection. Answered with `Jobs`, the state at that moment.
    Subscribe,
    /// Unpack the tar stream of the descriptor that comes along. `Done` or `Failed` when it has ended.
    Unpack {
        /// Directory inside; made when missing.
        dir: PathBuf,
        /// Who writes, and owns what is written.
        user: JobUser,
    },
    /// Pack a file or directory as tar into the descriptor that comes along. `Done` or `Failed` when it has ended.
    Pack {
        /// What to pack; with a `/` at its end, only the contents of the directory.
        path: PathBuf,
        /// Who reads.
        user: JobUser,
    },
    /// A descriptor that leads to the standard input of a job that takes input. Answered with `Input`, with it.
    Input(u64),
    /// Nothing more comes to the standard input of a job. Answered with `Done`.
    EndInput(u64),
    /// A job's terminal has another size. Answered with `Done`.
    Resize {
        /// The job.
        job: u64,
        /// Its size from now on.
        window: Window,
    },
}

impl InitRequest {
    /// The bytes of a `Run` for an init of version 1, which knew scripts and their output alone.
    pub fn run_1(spec: &JobSpec) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(1);
        spec.write_1(&mut out);
        out.0
    }
}

/// What an init answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitReply {
    /// It speaks this version.
    Hello {
        /// [`super::VERSION`] of the init.
        version: u32,
    },
    /// A job runs.
    Started {
        /// Its first process, as numbered inside.
        pid: i32,
    },
    /// It is done.
    Done,
    /// The jobs.
    Jobs(Vec<JobState>),
    /// A step was refused.
    Failed(Failure),
    /// A note that nobody asked for at this moment.
    Event(Event),
    /// A descriptor that leads to a job's standard input comes along.
    Input {
        /// Whether it is that of a terminal, whose input has no end but a character that means it.
        terminal: bool,
    },
}

/// A note to a subscriber. Notes may be merged or lost when a subscriber is slow; the files in `jobs/` are the truth,
/// and an `Ended` is repeated until it has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A job wrote something.
    Output {
        /// The job.
        job: u64,
        /// Payload bytes since it began.
        offset: u64,
    },
    /// A job has ended; its status file is written a moment later.
    Ended {
        /// The job.
        job: u64,
        /// How.
        end: JobEnd,
    },
}

impl Wire for SpawnRequest {
    fn write(&self, out: &mut Writer) {
        out.u64(self.number);
        self.plan.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(SpawnRequest { number: from.u64()?, plan: ContainerPlan::read(from)? })
    }
}

impl Wire for SpawnReply {
    fn write(&self, out: &mut Writer) {
        out.u64(self.number);
        match &self.outcome {
            SpawnOutcome::Spawned { pid } => {
                out.u8(0);
                out.u32(*pid as u32);
            }
            SpawnOutcome::Failed(failure) => {
                out.u8(1);
                failure.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let number = from.u64()?;
        let outcome = match from.u8()? {
            0 => SpawnOutcome::Spawned { pid: from.i32()? },
            1 => SpawnOutcome::Failed(Failure::read(from)?),
            _ => return Err(Malformed("unknown answer of the spawner")),
        };
        Ok(SpawnReply { number, outcome })
    }
}

impl Wire for InitRequest {
    fn write(&self, out: &mut Writer) {
        match self {
            InitRequest::Hello => out.u8(0),
            InitRequest::Run(spec) => {
                out.u8(1);
                spec.write(out);
            }
            InitRequest::Signal { target, signal } => {
                out.u8(2);
                target.write(out);
                out.u32(*signal as u32);
            }
            InitRequest::Jobs => out.u8(3),
            InitRequest::Forget(job) => {
                out.u8(4);
                out.u64(*job);
            }
            InitRequest::Subscribe => out.u8(5),
            InitRequest::Unpack { dir, user } => {
                out.u8(6);
                out.path(dir);
                user.write(out);
            }
            InitRequest::Pack { path, user } => {
                out.u8(7);
                out.path(path);
                user.write(out);
            }
            InitRequest::Input(job) => {
                out.u8(8);
                out.u64(*job);
            }
            InitRequest::EndInput(job) => {
                out.u8(9);
                out.u64(*job);
            }
            InitRequest::Resize { job, window } => {
                out.u8(10);
                out.u64(*job);
                window.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match from.u8()? {
            0 => InitRequest::Hello,
            1 => InitRequest::Run(JobSpec::read(from)?),
            2 => InitRequest::Signal { target: Target::read(from)?, signal: from.i32()? },
            3 => InitRequest::Jobs,
            4 => InitRequest::Forget(from.u64()?),
            5 => InitRequest::Subscribe,
            6 => InitRequest::Unpack { dir: from.path()?, user: JobUser::read(from)? },
            7 => InitRequest::Pack { path: from.path()?, user: JobUser::read(from)? },
            8 => InitRequest::Input(from.u64()?),
            9 => InitRequest::EndInput(from.u64()?),
            10 => InitRequest::Resize { job: from.u64()?, window: Window::read(from)? },
            _ => return Err(Malformed("unknown request")),
        })
    }
}

impl Wire for InitReply {
    fn write(&self, out: &mut Writer) {
        match self {
            InitReply::Hello { version } => {
                out.u8(0);
                out.u32(*version);
            }
            InitReply::Started { pid } => {
                out.u8(1);
                out.u32(*pid as u32);
            }
            InitReply::Done => out.u8(2),
            InitReply::Jobs(jobs) => {
                out.u8(3);
                out.list(jobs, |out, job| job.write(out));
            }
            InitReply::Failed(failure) => {
                out.u8(4);
                failure.write(out);
            }
            InitReply::Event(event) => {
                out.u8(5);
                event.write(out);
            }
            InitReply::Input { terminal } => {
                out.u8(6);
                out.u8((*terminal).into());
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(match from.u8()? {
            0 => InitReply::Hello { version: from.u32()? },
            1 => InitReply::Started { pid: from.i32()? },
            2 => InitReply::Done,
            3 => InitReply::Jobs(from.list(JobState::read)?),
            4 => InitReply::Failed(Failure::read(from)?),
            5 => InitReply::Event(Event::read(from)?),
            6 => InitReply::Input { terminal: from.bool()? },
            _ => return Err(Malformed("unknown answer")),
        })
    }
}

impl Wire for Event {
    fn write(&self, out: &mut Writer) {
        match self {
            Event::Output { job, offset } => {
                out.u8(0);
                out.u64(*job);
                out.u64(*offset);
            }
            Event::Ended { job, end } => {
                out.u8(1);
                out.u64(*job);
                end.write(out);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Event::Output { job: from.u64()?, offset: from.u64()? }),
            1 => Ok(Event::Ended { job: from.u64()?, end: JobEnd::read(from)? }),
            _ => Err(Malformed("unknown note")),
        }
    }
}

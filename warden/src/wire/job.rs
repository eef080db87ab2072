//! Jobs: what is run, as whom, where its output goes, and how it ended.

use super::{Malformed, Reader, Wire, Writer};
use std::path::PathBuf;

/// Bytes before the payload of a record in a spool file: stream number (1 or 2) and little-endian `u32` length.
pub const RECORD_HEADER: usize = 5;

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    /// The daemon's number of the job; names its directory `jobs/<id>`.
    pub id: u64,
    /// The program (a path, or a name looked for in the `PATH` of `env`) and its arguments; at least one.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment, but for `HOME` and `USER`: where they are missing, they are what the container says of the
    /// user.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Working directory inside; empty for the user's home.
    pub cwd: PathBuf,
    /// Who runs it.
    pub user: JobUser,
    /// Limits set on the job; a hard limit above the one that init has is lowered to it.
    pub rlimits: Vec<Rlimit>,
    /// What happens to what it writes.
    pub output: OutputMode,
    /// Whether `argv` begins with `/bin/bash` because a script is to be run: `/bin/sh` does as well where that is missing.
    pub shell: bool,
    /// Where its standard input, output and error lead.
    pub stdio: Stdio,
    /// Who runs it in place of `user`.
    pub named: Option<NamedUser>,
}

/// Where a job's standard input, output and error lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// Input from the descriptor that comes along, or `/dev/null`; output to the spool.
    Spool,
    /// Input from a pipe whose other end the init holds ([`super::InitRequest::Input`]); output to the spool.
    Input,
    /// A terminal of the container. Its output goes to the spool as one stream, its input is as for `Input`.
    Terminal(Window),
    /// The three descriptors that come along. Nothing is spooled.
    Given,
}

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// The user of a job or a tar stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobUser {
    /// uid 0 of the container, with the eight capabilities of a root job.
    Root,
    /// The ordinary user of the container's plan.
    Vcap,
    /// Any other, without capabilities.
    Ids {
        /// uid inside.
        uid: u32,
        /// gid inside.
        gid: u32,
    },
}

/// A user that the container knows, by what its `/etc/passwd` and `/etc/group` say. Without capabilities unless it is
/// uid 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedUser {
    /// Name or number.
    pub user: Vec<u8>,
    /// Name or number; the user's own group when missing.
    pub group: Option<Vec<u8>>,
}

/// One limit of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// `RLIMIT_*` number of the kernel.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is none.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is none.
    pub hard: u64,
}

/// What happens to a job's output. Sizes are payload bytes of both streams together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// All of it is kept; a job that writes more is killed.
    Limit {
        /// Most bytes.
        bytes: u64,
    },
    /// The newest are kept.
    Ring {
        /// Bytes kept at least, while that many were written.
        bytes: u64,
    },
    /// Read and dropped.
    Discard,
}

/// Who gets a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Every process of the job's session, and their descendants.
    Job(u64),
    /// Every process of the container but its init.
    All,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It left with this status.
    Code(u8),
    /// A signal ended it.
    Signal(u8),
}

impl Exit {
    /// The exit status that the warden protocol reports: the code, or 255 after a signal.
    pub fn status(self) -> u32 {
        match self {
            Exit::Code(code) => code.into(),
            Exit::Signal(_) => 255,
        }
    }
}

/// The end of a job, as kept in `jobs/<id>/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobEnd {
    /// How the job's first process ended.
    pub exit: Exit,
    /// Whether it was killed because it wrote more than its [`OutputMode::Limit`].
    pub output_limit: bool,
    /// Payload bytes of both streams that the job wrote.
    pub offset: u64,
    /// Largest resident set of a process of the job that was waited for, in bytes.
    pub peak_bytes: u64,
}

/// A job that init knows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobState {
    /// The daemon's number.
    pub id: u64,
    /// Its first process, as numbered inside.
    pub pid: i32,
    /// Payload bytes so far.
    pub offset: u64,
    /// Set when it has ended and its status file is written.
    pub end: Option<JobEnd>,
}

impl JobEnd {
    /// The contents of a status file: `key value` lines.
    pub fn to_text(&self) -> String {
        let exit = match self.exit {
            Exit::Code(code) => format!("exit {code}"),
            Exit::Signal(signal) => format!("signal {signal}"),
        };
        format!(
            "{exit}\noutput-limit {}\noffset {}\npeak {}\n",
            u8::from(self.output_limit),
            self.offset,
            self.peak_bytes
        )
    }

    /// Reads a status file.
    pub fn from_text(text: &str) -> Result<Self, Malformed> {
        let (mut exit, mut output_limit, mut offset, mut peak_bytes) = (None, false, 0, 0);
        for line in text.lines() {
            let (key, value) = line.split_once(' ').ok_or(Malformed("status line"))?;
            let number: u64 = value.parse().map_err(|_| Malformed("number in a status line"))?;
            let byte = || u8::try_from(number).map_err(|_| Malformed("exit status"));
            match key {
                "exit" => exit = Some(Exit::Code(byte()?)),
                "signal" => exit = Some(Exit::Signal(byte()?)),
                "output-limit" => output_limit = number != 0,
                "offset" => offset = number,
                "peak" => peak_bytes = number,
                _ => return Err(Malformed("key of a status line")),
            }
        }
        let exit = exit.ok_or(Malformed("status without an exit"))?;
        Ok(JobEnd { exit, output_limit, offset, peak_bytes })
    }
}

impl JobSpec {
    /// The bytes of version 1, which had nothing after `output`.
    pub(super) fn write_1(&self, out: &mut Writer) {
        out.u64(self.id);
        out.list(&self.argv, |out, word| out.bytes(word));
        out.list(&self.env, |out, (name, value)| {
            out.bytes(name);
            out.bytes(value);
        });
        out.path(&self.cwd);
        self.user.write(out);
        out.list(&self.rlimits, |out, limit| {
            out.u32(limit.resource);
            out.u64(limit.soft);
            out.u64(limit.hard);
        });
        match self.output {
            OutputMode::Limit { bytes } => {
                out.u8(0);
                out.u64(bytes);
            }
            OutputMode::Ring { bytes } => {
                out.u8(1);
                out.u64(bytes);
            }
            OutputMode::Discard => out.u8(2),
        }
    }
}

impl Wire for JobSpec {
    fn write(&self, out: &mut Writer) {
        self.write_1(out);
        out.u8(self.shell.into());
        self.stdio.write(out);
        out.list(self.named.as_slice(), |out, named| named.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(JobSpec {
            id: from.u64()?,
            argv: from.list(|from| from.bytes())?,
            env: from.list(|from| Ok((from.bytes()?, from.bytes()?)))?,
            cwd: from.path()?,
            user: JobUser::read(from)?,
            rlimits: from
                .list(|from| Ok(Rlimit { resource: from.u32()?, soft: from.u64()?, hard: from.u64()? }))?,
            output: match from.u8()? {
                0 => OutputMode::Limit { bytes: from.u64()? },
                1 => OutputMode::Ring { bytes: from.u64()? },
                2 => OutputMode::Discard,
                _ => return Err(Malformed("unknown output mode")),
            },
            shell: from.bool()?,
            stdio: Stdio::read(from)?,
            named: from.list(NamedUser::read)?.pop(),
        })
    }
}

impl Wire for NamedUser {
    fn write(&self, out: &mut Writer) {
        out.bytes(&self.user);
        out.list(self.group.as_slice(), |out, group| out.bytes(group));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(NamedUser { user: from.bytes()?, group: from.list(|from| from.bytes())?.pop() })
    }
}

impl Wire for Stdio {
    fn write(&self, out: &mut Writer) {
        match self {
            Stdio::Spool => out.u8(0),
            Stdio::Input => out.u8(1),
            Stdio::Terminal(window) => {
                out.u8(2);
                window.write(out);
            }
            Stdio::Given => out.u8(3),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Stdio::Spool),
            1 => Ok(Stdio::Input),
            2 => Ok(Stdio::Terminal(Window::read(from)?)),
            3 => Ok(Stdio::Given),
            _ => Err(Malformed("unknown kind of standard input and output")),
        }
    }
}

impl Wire for Window {
    fn write(&self, out: &mut Writer) {
        out.u32(u32::from(self.columns) << 16 | u32::from(self.rows));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let both = from.u32()?;
        Ok(Window { columns: (both >> 16) as u16, rows: both as u16 })
    }
}

impl Wire for JobUser {
    fn write(&self, out: &mut Writer) {
        match self {
            JobUser::Root => out.u8(0),
            JobUser::Vcap => out.u8(1),
            JobUser::Ids { uid, gid } => {
                out.u8(2);
                out.u32(*uid);
                out.u32(*gid);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(JobUser::Root),
            1 => Ok(JobUser::Vcap),
            2 => Ok(JobUser::Ids { uid: from.u32()?, gid: from.u32()? }),
            _ => Err(Malformed("unknown kind of user")),
        }
    }
}

impl Wire for Target {
    fn write(&self, out: &mut Writer) {
        match self {
            Target::Job(id) => {
                out.u8(0);
                out.u64(*id);
            }
            Target::All => out.u8(1),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        match from.u8()? {
            0 => Ok(Target::Job(from.u64()?)),
            1 => Ok(Target::All),
            _ => Err(Malformed("unknown target of a signal")),
        }
    }
}

impl Wire for JobEnd {
    fn write(&self, out: &mut Writer) {
        let (kind, value) = match self.exit {
            Exit::Code(code) => (0, code),
            Exit::Signal(signal) => (1, signal),
        };
        out.u8(kind);
        out.u8(value);
        out.u8(self.output_limit.into());
        out.u64(self.offset);
        out.u64(self.peak_bytes);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let exit = match (from.u8()?, from.u8()?) {
            (0, code) => Exit::Code(code),
            (1, signal) => Exit::Signal(signal),
            _ => return Err(Malformed("unknown kind of exit")),
        };
        Ok(JobEnd { exit, output_limit: from.bool()?, offset: from.u64()?, peak_bytes: from.u64()? })
    }
}

impl Wire for JobState {
    fn write(&self, out: &mut Writer) {
        out.u64(self.id);
        out.u32(self.pid as u32);
        out.u64(self.offset);
        out.list(self.end.as_slice(), |out, end| end.write(out));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (id, pid, offset) = (from.u64()?, from.i32()?, from.u64()?);
        Ok(JobState { id, pid, offset, end: from.list(JobEnd::read)?.pop() })
    }
}

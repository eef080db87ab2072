//! Jobs: scripts that run in a container.

use super::InfoResponse;
use prost::Message;

/// Limits of a process (`getrlimit(2)`). A missing one is the server's configured or built-in value.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceLimits {
    /// Address space, bytes.
    #[prost(uint64, optional, tag = "1")]
    pub r#as: Option<u64>,
    /// Core file, bytes.
    #[prost(uint64, optional, tag = "2")]
    pub core: Option<u64>,
    /// Processor time, seconds.
    #[prost(uint64, optional, tag = "3")]
    pub cpu: Option<u64>,
    /// Data segment, bytes.
    #[prost(uint64, optional, tag = "4")]
    pub data: Option<u64>,
    /// File size, bytes.
    #[prost(uint64, optional, tag = "5")]
    pub fsize: Option<u64>,
    /// File locks.
    #[prost(uint64, optional, tag = "6")]
    pub locks: Option<u64>,
    /// Locked memory, bytes.
    #[prost(uint64, optional, tag = "7")]
    pub memlock: Option<u64>,
    /// POSIX message queues, bytes.
    #[prost(uint64, optional, tag = "8")]
    pub msgqueue: Option<u64>,
    /// Ceiling of the nice value.
    #[prost(uint64, optional, tag = "9")]
    pub nice: Option<u64>,
    /// Open files.
    #[prost(uint64, optional, tag = "10")]
    pub nofile: Option<u64>,
    /// Processes of the user.
    #[prost(uint64, optional, tag = "11")]
    pub nproc: Option<u64>,
    /// Resident pages.
    #[prost(uint64, optional, tag = "12")]
    pub rss: Option<u64>,
    /// Ceiling of the real-time priority.
    #[prost(uint64, optional, tag = "13")]
    pub rtprio: Option<u64>,
    /// Queued signals.
    #[prost(uint64, optional, tag = "14")]
    pub sigpending: Option<u64>,
    /// Stack, bytes.
    #[prost(uint64, optional, tag = "15")]
    pub stack: Option<u64>,
}

/// Starts a job and answers at once with its id.
#[derive(Clone, PartialEq, Message)]
pub struct SpawnRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// Text that `/bin/bash` reads on its standard input.
    #[prost(string, required, tag = "2")]
    pub script: String,
    /// As root of the container instead of `vcap`.
    #[prost(bool, optional, tag = "3", default = "false")]
    pub privileged: Option<bool>,
    /// Limits of its processes.
    #[prost(message, optional, tag = "4")]
    pub rlimits: Option<ResourceLimits>,
    /// Drop its output instead of keeping it.
    #[prost(bool, optional, tag = "5", default = "false")]
    pub discard_output: Option<bool>,
    /// Tag of its lines in the system log.
    #[prost(string, optional, tag = "6")]
    pub log_tag: Option<String>,
    /// Ours: keep only about this many of the newest bytes of output, and never end the job for its output.
    #[prost(uint64, optional, tag = "100")]
    pub output_ring_bytes: Option<u64>,
    /// Ours: `NAME=value` pairs added to the environment; a later pair wins.
    #[prost(string, repeated, tag = "101")]
    pub env: Vec<String>,
    /// Ours: directory to start in; the user's home when missing.
    #[prost(string, optional, tag = "102")]
    pub dir: Option<String>,
    /// Ours: a program and its arguments in place of `script`, which must be empty then. Without a slash the program is
    /// looked for in the `PATH` of its environment.
    #[prost(string, repeated, tag = "103")]
    pub argv: Vec<String>,
    /// Ours: run it on a terminal of this size. Its output is one stream then, `stdout`.
    #[prost(message, optional, tag = "104")]
    pub tty: Option<WindowSize>,
    /// Ours: its standard input is what [`InputRequest`]s bring, instead of being at its end (or, for a script, the
    /// script). A job with a terminal always takes input.
    #[prost(bool, optional, tag = "105")]
    pub input: Option<bool>,
    /// Ours: it uses the standard input, output and error of the client's own process, whose number this is; nothing is
    /// kept of its output. Pipes, files and terminals can be used so, sockets cannot.
    #[prost(uint32, optional, tag = "106")]
    pub stdio_of: Option<u32>,
    /// Ours: `uid:gid` inside that it runs as, without capabilities, instead of `vcap` or root.
    #[prost(string, optional, tag = "107")]
    pub user: Option<String>,
}

/// The size of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct WindowSize {
    /// Characters in a line; 0 when it is not known.
    #[prost(uint32, required, tag = "1")]
    pub columns: u32,
    /// Lines; 0 when it is not known.
    #[prost(uint32, required, tag = "2")]
    pub rows: u32,
}

/// Ours: brings bytes to the standard input of a job that takes input, or ends it.
#[derive(Clone, PartialEq, Message)]
pub struct InputRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// The job.
    #[prost(uint32, required, tag = "2")]
    pub job_id: u32,
    /// The bytes; at most 64 KiB. Answered when the job can take them.
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub data: Option<bytes::Bytes>,
    /// Nothing comes after these bytes: the job reads the end of its input.
    #[prost(bool, optional, tag = "4")]
    pub end: Option<bool>,
}

/// The bytes are with the job.
#[derive(Clone, PartialEq, Message)]
pub struct InputResponse {}

/// Ours: the client's terminal has another size.
#[derive(Clone, PartialEq, Message)]
pub struct ResizeRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// A job that has a terminal.
    #[prost(uint32, required, tag = "2")]
    pub job_id: u32,
    /// Its size from now on.
    #[prost(message, required, tag = "3")]
    pub size: WindowSize,
}

/// The job's terminal has that size.
#[derive(Clone, PartialEq, Message)]
pub struct ResizeResponse {}

/// Ours: sends a signal to every process of a job.
#[derive(Clone, PartialEq, Message)]
pub struct SignalRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// The job; one that has ended is no error.
    #[prost(uint32, required, tag = "2")]
    pub job_id: u32,
    /// Number of the signal, 1 to 64 (signal(7)).
    #[prost(uint32, required, tag = "3")]
    pub signal: u32,
}

/// It is sent.
#[derive(Clone, PartialEq, Message)]
pub struct SignalResponse {}

/// A job has begun.
#[derive(Clone, PartialEq, Message)]
pub struct SpawnResponse {
    /// Its id, never given to another job of the same server.
    #[prost(uint32, required, tag = "1")]
    pub job_id: u32,
}

/// Waits for a job's end. Its result is given once: then the job is forgotten.
#[derive(Clone, PartialEq, Message)]
pub struct LinkRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// The job.
    #[prost(uint32, required, tag = "2")]
    pub job_id: u32,
}

/// A job has ended.
#[derive(Clone, PartialEq, Message)]
pub struct LinkResponse {
    /// Exit status; 255 after a signal, or when it is not known.
    #[prost(uint32, optional, tag = "1")]
    pub exit_status: Option<u32>,
    /// Its whole standard output; bytes that are not UTF-8 are replaced.
    #[prost(string, optional, tag = "2")]
    pub stdout: Option<String>,
    /// Its whole standard error.
    #[prost(string, optional, tag = "3")]
    pub stderr: Option<String>,
    /// The container at that moment.
    #[prost(message, optional, tag = "4")]
    pub info: Option<InfoResponse>,
}

/// Spawn and link in one.
#[derive(Clone, PartialEq, Message)]
pub struct RunRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// Text that `/bin/bash` reads on its standard input.
    #[prost(string, required, tag = "2")]
    pub script: String,
    /// As root of the container instead of `vcap`.
    #[prost(bool, optional, tag = "3", default = "false")]
    pub privileged: Option<bool>,
    /// Limits of its processes.
    #[prost(message, optional, tag = "4")]
    pub rlimits: Option<ResourceLimits>,
    /// Drop its output instead of keeping it.
    #[prost(bool, optional, tag = "5", default = "false")]
    pub discard_output: Option<bool>,
    /// Tag of its lines in the system log.
    #[prost(string, optional, tag = "6")]
    pub log_tag: Option<String>,
    /// Ours: see [`SpawnRequest::output_ring_bytes`].
    #[prost(uint64, optional, tag = "100")]
    pub output_ring_bytes: Option<u64>,
    /// Ours: see [`SpawnRequest::env`].
    #[prost(string, repeated, tag = "101")]
    pub env: Vec<String>,
    /// Ours: see [`SpawnRequest::dir`].
    #[prost(string, optional, tag = "102")]
    pub dir: Option<String>,
    /// Ours: see [`SpawnRequest::argv`].
    #[prost(string, repeated, tag = "103")]
    pub argv: Vec<String>,
    /// Ours: see [`SpawnRequest::tty`].
    #[prost(message, optional, tag = "104")]
    pub tty: Option<WindowSize>,
    /// Ours: see [`SpawnRequest::input`].
    #[prost(bool, optional, tag = "105")]
    pub input: Option<bool>,
    /// Ours: see [`SpawnRequest::stdio_of`].
    #[prost(uint32, optional, tag = "106")]
    pub stdio_of: Option<u32>,
    /// Ours: see [`SpawnRequest::user`].
    #[prost(string, optional, tag = "107")]
    pub user: Option<String>,
}

/// A job has run. The fields are those of [`LinkResponse`].
#[derive(Clone, PartialEq, Message)]
pub struct RunResponse {
    /// Exit status; 255 after a signal, or when it is not known.
    #[prost(uint32, optional, tag = "1")]
    pub exit_status: Option<u32>,
    /// Its whole standard output; bytes that are not UTF-8 are replaced.
    #[prost(string, optional, tag = "2")]
    pub stdout: Option<String>,
    /// Its whole standard error.
    #[prost(string, optional, tag = "3")]
    pub stderr: Option<String>,
    /// The container at that moment.
    #[prost(message, optional, tag = "4")]
    pub info: Option<InfoResponse>,
}

/// Follows a job's output to its end. A stream that is broken off keeps the job.
#[derive(Clone, PartialEq, Message)]
pub struct StreamRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// The job.
    #[prost(uint32, required, tag = "2")]
    pub job_id: u32,
    /// Ours: leave out this many bytes of output (both streams together); what is no longer kept is left out
    /// too.
    #[prost(uint64, optional, tag = "100")]
    pub from_offset: Option<u64>,
}

/// A piece of output, or with `exit_status` the last answer.
#[derive(Clone, PartialEq, Message)]
pub struct StreamResponse {
    /// `stdout` or `stderr`; missing in the last answer.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// The bytes. The historic field is a string; the bytes on the wire are the same.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub data: Option<bytes::Bytes>,
    /// Exit status, in the last answer; 255 after a signal, or when it is not known.
    #[prost(uint32, optional, tag = "3")]
    pub exit_status: Option<u32>,
    /// The container, in the last answer.
    #[prost(message, optional, tag = "4")]
    pub info: Option<InfoResponse>,
    /// Ours: bytes of output (both streams) up to the end of this piece; give it as
    /// [`StreamRequest::from_offset`] to go on after it.
    #[prost(uint64, optional, tag = "100")]
    pub offset: Option<u64>,
}

impl From<SpawnRequest> for RunRequest {
    fn from(spawn: SpawnRequest) -> Self {
        let SpawnRequest {
            handle,
            script,
            privileged,
            rlimits,
            discard_output,
            log_tag,
            output_ring_bytes,
            env,
            dir,
            argv,
            tty,
            input,
            stdio_of,
            user,
        } = spawn;
        RunRequest {
            handle,
            script,
            privileged,
            rlimits,
            discard_output,
            log_tag,
            output_ring_bytes,
            env,
            dir,
            argv,
            tty,
            input,
            stdio_of,
            user,
        }
    }
}

impl From<RunRequest> for SpawnRequest {
    fn from(run: RunRequest) -> Self {
        let RunRequest {
            handle,
            script,
            privileged,
            rlimits,
            discard_output,
            log_tag,
            output_ring_bytes,
            env,
            dir,
            argv,
            tty,
            input,
            stdio_of,
            user,
        } = run;
        SpawnRequest {
            handle,
            script,
            privileged,
            rlimits,
            discard_output,
            log_tag,
            output_ring_bytes,
            env,
            dir,
            argv,
            tty,
            input,
            stdio_of,
            user,
        }
    }
}

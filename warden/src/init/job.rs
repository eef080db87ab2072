//! One job: its pipes, its spool, its end.

use super::execute::{self, Ends, Vcap};
use super::spool::{Spool, Verdict};
use super::tree;
use crate::sys::process::Reaped;
use crate::sys::terminal;
use crate::wire::{Failure, JobEnd, JobSpec, JobState, Window};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a job's pipes are read after its first process has ended, in case others hold them open.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// Bytes that are read from a pipe at a time: its whole capacity.
const CHUNK: usize = 64 * 1024;
/// Reads of one pipe in a turn of the loop, so that a job that writes without pause does not hold up the others.
const TURN: usize = 4;

/// A job that has not been forgotten.
pub(super) struct Job {
    id: u64,
    pid: i32,
    directory: OwnedFd,
    /// Standard output and error, while they are open.
    pub(super) pipes: [Option<File>; 2],
    /// Standard input, while more may come.
    input: Option<OwnedFd>,
    /// Whether it has a terminal, which `input` is then.
    terminal: bool,
    spool: Spool,
    /// Set when the first process has been reaped.
    reaped: Option<(Reaped, Instant)>,
    too_much: bool,
    end: Option<JobEnd>,
}

/// Starts a job, with a directory of its own in `jobs`.
pub(super) fn start(jobs: &OwnedFd, spec: &JobSpec, vcap: Vcap, given: Vec<OwnedFd>) -> Result<Job, Failure> {
    let name = spec.id.to_string();
    let failed = |errno: Errno| Failure::new("make the job's directory", &name, errno as i32);
    mkdirat(jobs, name.as_str(), Mode::from_bits_truncate(0o700)).map_err(failed)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let open = || openat(jobs, name.as_str(), flags, Mode::empty()).map_err(failed);
    let started = open().and_then(|directory| {
        let spool = Spool::new(open()?, spec.output);
        Ok((directory, spool, execute::start(spec, vcap, given)?))
    });
    match started {
        Ok((directory, spool, started)) => {
            let Ends { output, input, terminal } = started.ends;
            Ok(Job {
                id: spec.id,
                pid: started.pid,
                directory,
                pipes: output,
                input,
                terminal,
                spool,
                reaped: None,
                too_much: false,
                end: None,
            })
        }
        Err(failure) => {
            let _ = unlinkat(jobs, name.as_str(), UnlinkatFlags::RemoveDir);
            Err(failure)
        }
    }
}

impl Job {
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) fn state(&self) -> JobState {
        JobState { id: self.id, pid: self.pid, offset: self.spool.offset(), end: self.end }
    }

    /// Reads what a pipe has; closes it at its end.
    pub(super) fn pump(&mut self, stream: usize) {
        let mut buffer = [0; CHUNK];
        for _ in 0..TURN {
            let Some(pipe) = &mut self.pipes[stream] else { return };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipes[stream] = None,
                Ok(count) => {
                    if self.too_much {
                        continue;
                    }
                    if self.spool.append(stream as u8 + 1, &buffer[..count]) == Verdict::TooMuch {
                        self.too_much = true;
                        tree::destroy(self.pid);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.pipes[stream] = None,
            }
        }
    }

    /// Whether the first process still runs. Afterwards its number may be that of another job's.
    pub(super) fn runs(&self) -> bool {
        self.reaped.is_none()
    }

    /// Notes that the first process has ended.
    pub(super) fn reaped(&mut self, reaped: Reaped, now: Instant) {
        self.reaped = Some((reaped, now));
    }

    /// When the pipes are no longer waited for; `None` while the job runs, or when it has ended.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (_, since) = self.reaped.filter(|_| self.end.is_none())?;
        Some(since + GRACE)
    }

    /// Ends the job if its first process is gone, and its pipes are too or have had their time. True when it ended now.
    pub(super) fn settle(&mut self, now: Instant) -> bool {
        let Some((reaped, _)) = self.reaped.filter(|_| self.end.is_none()) else { return false };
        let open = self.pipes.iter().any(Option::is_some);
        if open && self.deadline().is_some_and(|deadline| now < deadline) {
            return false;
        }
        // With the last descriptor of a terminal everybody who still has it is hung up.
        (self.pipes, self.input) = ([None, None], None);
        let end = JobEnd {
            exit: reaped.exit,
            output_limit: self.too_much,
            offset: self.spool.offset(),
            peak_bytes: reaped.peak_bytes,
        };
        self.end = Some(end);
        true
    }

    /// Writes down how the job ended. When this cannot be written (the host's disk is full), the end is still known here,
    /// until the container goes.
    pub(super) fn keep_end(&self) {
        if let Some(end) = self.end {
            let _ = self.write_status(&end);
        }
    }

    fn write_status(&self, end: &JobEnd) -> std::io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let file = openat(&self.directory, "status.new", flags, Mode::from_bits_truncate(0o600))?;
        File::from(file).write_all(end.to_text().as_bytes())?;
        renameat(&self.directory, "status.new", &self.directory, "status")?;
        Ok(())
    }

    /// Sends a signal to the job's processes, unless it has ended.
    pub(super) fn signal(&self, signal: i32) {
        if self.end.is_none() {
            tree::signal(self.pid, signal);
        }
    }

    /// What leads to its standard input, and whether that is a terminal.
    pub(super) fn input(&self) -> Result<(&OwnedFd, bool), Failure> {
        let refused = || Failure::new("bring input to the job", self.id.to_string(), libc::EPIPE);
        self.input.as_ref().map(|input| (input, self.terminal)).ok_or_else(refused)
    }

    /// Nothing more comes to its standard input.
    pub(super) fn end_input(&mut self) {
        // A terminal is more than input; its programs are told by a character.
        if !self.terminal {
            self.input = None;
        }
    }

    /// Gives its terminal another size.
    pub(super) fn resize(&self, window: Window) -> Result<(), Failure> {
        let failed = |errno| Failure::new("resize the job's terminal", self.id.to_string(), errno);
        let terminal = self.input.as_ref().filter(|_| self.terminal).ok_or_else(|| failed(libc::ENOTTY))?;
        terminal::resize(terminal.as_fd(), window.columns, window.rows)
            .map_err(|error| failed(error.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// Tells those at its terminal, if it has one, that it goes: a shell that somebody works with does not heed SIGTERM.
    pub(super) fn hang_up(&self) {
        if self.terminal && self.end.is_none() {
            tree::signal(self.pid, libc::SIGHUP);
            tree::signal(self.pid, libc::SIGCONT);
        }
    }

    /// Removes the job's files.
    pub(super) fn remove(self, jobs: &OwnedFd) {
        if let Ok(mut entries) = nix::dir::Dir::from_fd(self.directory) {
            let names: Vec<_> = entries.iter().flatten().map(|entry| entry.file_name().to_owned()).collect();
            for name in names.iter().filter(|name| name.to_bytes() != b"." && name.to_bytes() != b"..") {
                let _ = unlinkat(&entries, name.as_c_str(), UnlinkatFlags::NoRemoveDir);
            }
        }
        let _ = unlinkat(jobs, self.id.to_string().as_str(), UnlinkatFlags::RemoveDir);
    }
}

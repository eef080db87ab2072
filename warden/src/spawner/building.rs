//! A container under construction: its first process works, and reports through a pipe when it is done or has failed.

use super::build::READY;
use crate::sys::process;
use crate::wire::{Failure, SpawnOutcome, Wire};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Longest time that a container may take to build before it is given up, and then to end.
const BUILD_TIME: Duration = Duration::from_secs(30);

/// A container under construction.
pub(super) struct Building {
    pub(super) number: u64,
    pid: i32,
    pub(super) pidfd: OwnedFd,
    stage: Stage,
    pub(super) deadline: Instant,
}

enum Stage {
    /// It builds; what it has said so far.
    Reports(File, Vec<u8>),
    /// It is an init that takes connections.
    Ready,
    /// It has failed, and is being ended.
    Ends(Failure),
    /// It has failed, and is gone.
    Gone(Failure),
}

impl Building {
    pub(super) fn new(number: u64, pid: i32, pidfd: OwnedFd, report: File) -> Self {
        let stage = Stage::Reports(report, Vec::new());
        Building { number, pid, pidfd, stage, deadline: Instant::now() + BUILD_TIME }
    }

    /// What becomes readable when there is news.
    pub(super) fn awaited(&self) -> BorrowedFd<'_> {
        match &self.stage {
            Stage::Reports(report, _) => report.as_fd(),
            _ => self.pidfd.as_fd(),
        }
    }

    /// Takes the news.
    pub(super) fn hear(&mut self) {
        match &mut self.stage {
            Stage::Reports(report, bytes) => {
                let mut buffer = [0; 4096];
                match report.read(&mut buffer) {
                    Ok(0) => {
                        // An end without a word: the process was killed, most likely for want of memory in its cgroup.
                        let silent = |_| Failure::new("start the init", "", libc::ESRCH);
                        let failure = Failure::decode(bytes).unwrap_or_else(silent);
                        self.end(failure);
                    }
                    Ok(count) => {
                        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
                        if bytes == READY {
                            self.stage = Stage::Ready;
                        }
                    }
                    Err(error) => {
                        let errno = error.raw_os_error().unwrap_or(libc::EIO);
                        self.end(Failure::new("hear from the container", "", errno));
                    }
                }
            }
            Stage::Ends(failure) => self.stage = Stage::Gone(failure.clone()),
            Stage::Ready | Stage::Gone(_) => (),
        }
    }

    /// What came of it, once that is known.
    pub(super) fn settle(&mut self, now: Instant) -> Option<SpawnOutcome> {
        match &self.stage {
            Stage::Ready => return Some(SpawnOutcome::Spawned { pid: self.pid }),
            Stage::Gone(failure) => return Some(SpawnOutcome::Failed(failure.clone())),
            Stage::Reports(..) if now >= self.deadline => {
                self.end(Failure::new("build the container in time", "", libc::ETIMEDOUT));
            }
            Stage::Ends(failure) if now >= self.deadline => {
                return Some(SpawnOutcome::Failed(failure.clone()));
            }
            Stage::Reports(..) | Stage::Ends(_) => (),
        }
        None
    }

    /// Ends the process. Only when it is gone are its mounts gone, and the daemon may undo what it prepared.
    fn end(&mut self, failure: Failure) {
        let _ = process::kill(self.pidfd.as_fd());
        self.stage = Stage::Ends(failure);
        self.deadline = Instant::now() + BUILD_TIME;
    }
}

//! The daemon's side of the spawner. Every call blocks; several may be under way at once.

use crate::channel::Channel;
use crate::sys;
use crate::wire::{ContainerPlan, Failure, SpawnOutcome, SpawnReply, SpawnRequest, Wire};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A running spawner process. Dropping it ends the process; containers live on.
#[derive(Debug)]
pub struct Spawner {
    /// `None` only while dropping.
    channel: Option<Channel>,
    answers: Mutex<Answers>,
    /// Told when there is an answer, or when somebody else must read them.
    changed: Condvar,
    process: Child,
}

/// Answers that have come. One of those who wait reads for all: alone, a caller reads its own answer without any detour.
#[derive(Debug, Default)]
struct Answers {
    next: u64,
    here: BTreeMap<u64, Result<Spawned, SpawnError>>,
    is_read: bool,
    /// The spawner is gone: how it was noticed.
    gone: Option<i32>,
}

/// A container that runs.
#[derive(Debug)]
pub struct Spawned {
    /// Its init, as numbered on the host.
    pub pid: i32,
    /// Readable when the init has ended; the one safe way to signal it.
    pub pidfd: OwnedFd,
}

/// Why no spawner runs.
#[derive(Debug)]
pub enum SpawnerError {
    /// The program cannot be read.
    Read(PathBuf, io::Error),
    /// The program needs shared libraries, which a container does not have.
    Dynamic(PathBuf),
    /// The sealed copy cannot be made.
    Seal(io::Error),
    /// The process cannot be started.
    Start(io::Error),
}

/// Why a container was not built. Nothing of it is left but what the daemon prepared.
pub type SpawnError = Failure;

impl fmt::Display for SpawnerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnerError::Read(path, _) => {
                write!(f, "cannot read the init program {}; build it with `make build`", path.display())
            }
            SpawnerError::Dynamic(path) => {
                write!(
                    f,
                    "{} is dynamically linked, and a container has no libraries for it; build it with `make build`",
                    path.display()
                )
            }
            SpawnerError::Seal(_) => write!(f, "cannot make the sealed copy of the init program"),
            SpawnerError::Start(_) => write!(f, "cannot start the spawner"),
        }
    }
}

impl std::error::Error for SpawnerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SpawnerError::Read(_, error) | SpawnerError::Seal(error) | SpawnerError::Start(error) => {
                Some(error)
            }
            SpawnerError::Dynamic(_) => None,
        }
    }
}

impl Spawner {
    /// Copies the static program `init` into sealed memory and starts the copy as spawner.
    pub fn start(init: &Path) -> Result<Spawner, SpawnerError> {
        let program = std::fs::read(init).map_err(|error| SpawnerError::Read(init.to_owned(), error))?;
        if !is_static(&program) {
            return Err(SpawnerError::Dynamic(init.to_owned()));
        }
        let sealed = sys::fd::sealed_program(&program).map_err(SpawnerError::Seal)?;
        let (ours, theirs) = Channel::pair().map_err(SpawnerError::Start)?;
        let process = Command::new(format!("/proc/self/fd/{}", sealed.as_raw_fd()))
            .arg("spawner")
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(SpawnerError::Start)?;
        let (answers, changed) = Default::default();
        Ok(Spawner { channel: Some(ours), answers, changed, process })
    }

    /// Builds the container of `plan` in the network namespace `netns` and starts its init. `upper` is the writable layer
    /// of a plan that says it is mounted. Returns when the init takes connections on `<depot>/init.sock`.
    pub fn spawn(
        &self,
        plan: ContainerPlan,
        netns: BorrowedFd<'_>,
        upper: Option<BorrowedFd<'_>>,
    ) -> Result<Spawned, SpawnError> {
        let broken = |error: io::Error| {
            Failure::new("talk to the spawner", "", error.raw_os_error().unwrap_or(libc::EPROTO))
        };
        let channel = self.channel.as_ref().ok_or_else(|| broken(io::ErrorKind::BrokenPipe.into()))?;
        let number = {
            let mut answers = self.answers();
            answers.next += 1;
            answers.next
        };
        let request = SpawnRequest { number, plan };
        let fds: Vec<BorrowedFd<'_>> = [Some(netns), upper].into_iter().flatten().collect();
        let sent = channel.send(&request.encode(), &fds);
        let mut answers = self.answers();
        if let Err(error) = sent {
            answers.gone = Some(error.raw_os_error().unwrap_or(libc::EPIPE));
            return Err(broken(error));
        }
        loop {
            if let Some(answer) = answers.here.remove(&number) {
                return answer;
            }
            if let Some(errno) = answers.gone {
                return Err(broken(io::Error::from_raw_os_error(errno)));
            }
            if answers.is_read {
                answers = self.changed.wait(answers).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            answers.is_read = true;
            drop(answers);
            let answer = receive(channel);
            answers = self.answers();
            answers.is_read = false;
            match answer {
                Ok((number, answer)) => drop(answers.here.insert(number, answer)),
                Err(error) => answers.gone = Some(error.raw_os_error().unwrap_or(libc::EPIPE)),
            }
            self.changed.notify_all();
        }
    }

    /// Whether the process has been seen to be gone: no further plan will be answered.
    pub fn is_gone(&self) -> bool {
        self.answers().gone.is_some()
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn receive(channel: &Channel) -> io::Result<(u64, Result<Spawned, SpawnError>)> {
    let mut packet = channel.receive()?.ok_or(io::Error::from_raw_os_error(libc::EPIPE))?;
    let SpawnReply { number, outcome } = SpawnReply::decode(&packet.payload)?;
    let answer = match (outcome, packet.fds.pop()) {
        (SpawnOutcome::Spawned { pid }, Some(pidfd)) => Ok(Spawned { pid, pidfd }),
        (SpawnOutcome::Failed(failure), _) => Err(failure),
        (SpawnOutcome::Spawned { .. }, None) => {
            Err(Failure::new("take the pidfd from the spawner", "", libc::EPROTO))
        }
    };
    Ok((number, answer))
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // The end of its standard input is the spawner's sign to leave.
        self.channel = None;
        let _ = self.process.wait();
    }
}

/// Whether an ELF file for 64-bit little-endian machines names no program interpreter (no `PT_INTERP`; System V ABI,
/// chapter 5). Anything else counts as not static.
fn is_static(program: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let u16_at = |at: usize| program.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]) as usize);
    let u32_at = |at: usize| program.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return false;
    }
    let (Some(table), Some(size), Some(count)) = (u32_at(32), u16_at(54), u16_at(56)) else { return false };
    (0..count).all(|n| u32_at(table as usize + n * size).is_some_and(|kind| kind != PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::is_static;

    #[test]
    fn programs_without_an_interpreter_are_static() {
        let mut elf = vec![0u8; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 1; // PT_LOAD
        assert!(is_static(&elf));
        elf[64] = 3; // PT_INTERP
        assert!(!is_static(&elf));
        assert!(!is_static(&elf[..70]), "cut off");
        assert!(!is_static(b"#!/bin/sh\n"));
    }
}

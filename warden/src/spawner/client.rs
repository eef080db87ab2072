//! The daemon's side of the spawner. Every call blocks.

use crate::channel::Channel;
use crate::sys;
use crate::wire::{ContainerPlan, Failure, SpawnReply, Wire};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// A running spawner process. Dropping it ends the process; containers live on.
#[derive(Debug)]
pub struct Spawner {
    /// One request at a time: the spawner is sequential. `None` only while dropping.
    channel: Mutex<Option<Channel>>,
    process: Child,
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
            .envs(crate::fault::environment())
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(SpawnerError::Start)?;
        Ok(Spawner { channel: Mutex::new(Some(ours)), process })
    }

    /// Builds the container of `plan` in the network namespace `netns` and starts its init. Returns when the init takes
    /// connections on `<depot>/init.sock`.
    pub fn spawn(&self, plan: &ContainerPlan, netns: BorrowedFd<'_>) -> Result<Spawned, SpawnError> {
        let talk = || -> io::Result<(SpawnReply, Option<OwnedFd>)> {
            let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
            let channel = channel.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
            channel.send(&plan.encode(), &[netns])?;
            let mut packet = channel.receive()?.ok_or(io::Error::from_raw_os_error(libc::EPIPE))?;
            Ok((SpawnReply::decode(&packet.payload)?, packet.fds.pop()))
        };
        match talk() {
            Ok((SpawnReply::Spawned { pid }, Some(pidfd))) => Ok(Spawned { pid, pidfd }),
            Ok((SpawnReply::Failed(failure), _)) => Err(failure),
            Ok((SpawnReply::Spawned { .. }, None)) => {
                Err(Failure::new("take the pidfd from the spawner", "", libc::EPROTO))
            }
            Err(error) => {
                Err(Failure::new("talk to the spawner", "", error.raw_os_error().unwrap_or(libc::EPROTO)))
            }
        }
    }
}

impl Drop for Spawner {
    fn drop(&mut self) {
        // The end of its standard input is the spawner's sign to leave.
        *self.channel.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
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

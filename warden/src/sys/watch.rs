//! Waiting for descriptors without a thread.

use crate::init::client::Events;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a connection with the runtime's reactor.
pub(crate) fn events(events: Events) -> io::Result<AsyncFd<Events>> {
    // SAFETY: the descriptor must stay the same open one for as long as it is registered. `Events` owns its socket from
    // construction to drop, always answers with the same number, and gives nobody a way to close or replace it.
    Ok(unsafe { AsyncFd::register(events) }?)
}

/// Registers a descriptor with the runtime's reactor. To be called where a runtime is entered.
pub(crate) fn descriptor(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the same open descriptor from construction to drop, and `AsyncFd` drops it after taking it
    // out of the reactor.
    Ok(unsafe { AsyncFd::register(fd) }?)
/// Registers a descriptor with the runtime's reactor, to be written.
pub(crate) fn writable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as above; an `OwnedFd` is the same open descriptor from construction to drop, and `AsyncFd` gives it away
    // only after it has been deregistered.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::WRITABLE) }?)
}

//! Waiting for a container's notes without a thread.

use crate::init::client::Events;
use std::io;
use tokio::io::unix::AsyncFd;

/// Registers a connection with the runtime's reactor.
pub(crate) fn events(events: Events) -> io::Result<AsyncFd<Events>> {
    // SAFETY: the descriptor must stay the same open one for as long as it is registered. `Events` owns its socket from
    // construction to drop, always answers with the same number, and gives nobody a way to close or replace it.
    Ok(unsafe { AsyncFd::register(events) }?)
}

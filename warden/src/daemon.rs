//! The daemon: serves the socket, and owns everything of a container that is outside it.
//!
//! - [`Config`], [`Error`], [`bind`], [`Server`]: what the program uses
//! - `engine` and its verbs (`create`, `destroy`, `stop`, `spawn`, `network`, `limits`, `copy`, `info`, `recover`):
//!   synchronous, run on blocking threads
//! - `container`, `job`, `record`, `journal`: what is known of each, and what of it is on disk
//! - `net`, `cgroup`, `disk`, `pool`: what a container is given
//! - `server`, `connection`, `dispatch`, `stream`: the socket
//!
//! Two orders hold everywhere. A record is on disk before the step that it describes is taken. Locks are taken in the
//! order: a container's turn, the registry, pools, a container's record or jobs; only a turn is held over slow steps.

mod cgroup;
mod config;
mod connection;
mod container;
mod copy;
mod create;
mod destroy;
mod disk;
mod dispatch;
mod engine;
mod error;
mod follow;
mod grace;
mod id;
mod info;
mod input;
mod job;
mod journal;
mod limits;
mod loopback;
mod net;
mod network;
mod oom;
mod peer;
mod pool;
mod properties;
mod record;
mod recover;
mod rlimit;
mod server;
mod spawn;
mod spool;
mod stop;
mod stream;
mod tree;

pub use config::{Config, Disk, DiskMethod, Network, Range};
pub use error::Error;
pub use server::{Server, bind};

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the kernel may take to end processes, and to let go of what they held.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Seconds since the epoch.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Locks; a panic of another holder is no reason to stop serving.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Network namespaces of containers without a network: a loopback link alone. A few are made ahead by a thread of their own,
//! which begins when the first is asked for: making one is the dearest of all namespaces.

use super::net::link;
use super::{Error, lock};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Builder;

/// Namespaces that are made ahead.
const SPARE: usize = 4;

/// Namespaces that are made ahead.
#[derive(Debug, Default)]
pub(crate) struct Loopbacks(Mutex<Option<Receiver<io::Result<OwnedFd>>>>);

impl Loopbacks {
    /// A namespace that nobody else has. Its descriptor holds it.
    pub(crate) fn take(&self) -> Result<OwnedFd, Error> {
        let failed =
            |source| Error::Net { action: "make a network namespace", name: "lo".to_owned(), source };
        let mut made = lock(&self.0);
        // Twice: a thread that could not make one has ended, and another tells why, or can.
        for _ in 0..2 {
            let receiver = match made.take() {
                Some(receiver) => receiver,
                None => start().map_err(failed)?,
            };
            if let Ok(Ok(namespace)) = receiver.recv() {
                *made = Some(receiver);
                return Ok(namespace);
            }
        }
        let last = start().map_err(failed)?.recv();
        last.unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))).map_err(failed)
    }
}

/// Starts the thread; it ends with its receiver, or when it cannot make one.
fn start() -> io::Result<Receiver<io::Result<OwnedFd>>> {
    let (sender, receiver) = sync_channel(SPARE - 1);
    Builder::new().name("loopback".to_owned()).spawn(move || {
        loop {
            let made = link::alone();
            let failed = made.is_err();
            if sender.send(made).is_err() || failed {
                return;
            }
        }
    })?;
    Ok(receiver)
}

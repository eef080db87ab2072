//! One address that serves routes.

use cupola_protocol::{AppId, InstanceId, router::Register};
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::net::TcpStream;

/// An instance of an app, or any other HTTP server that registered.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) app: Option<AppId>,
    pub(crate) instance: Option<InstanceId>,
    pub(crate) index: Option<String>,
    /// Until when it is avoided, by our clock.
    failed_until: AtomicU64,
    /// No longer registered: its connections are not kept.
    retired: AtomicBool,
    idle: Mutex<Vec<Idle>>,
}

/// A connection that nobody uses now.
#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    since: u64,
    until: u64,
}

impl Endpoint {
    pub(crate) fn new(registration: &Register) -> Self {
        Self {
            host: registration.host.clone(),
            port: registration.port,
            app: registration.app.clone(),
            instance: registration.private_instance_id.clone(),
            index: registration.private_instance_index.clone(),
            failed_until: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Whether a registration speaks of this very instance: another one on the same address is another endpoint.
    pub(crate) fn is(&self, registration: &Register) -> bool {
        self.app == registration.app && self.instance == registration.private_instance_id
    }

    /// `host:port`, as it stands in logs and as the key of the table.
    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Avoid it until `until` while there are others.
    pub(crate) fn avoid(&self, until: u64) {
        self.failed_until.store(until, Ordering::Relaxed);
    }

    /// Whether it failed a short while ago.
    pub(crate) fn failed(&self, now: u64) -> bool {
        self.failed_until.load(Ordering::Relaxed) > now
    }

    /// It is no longer registered.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.pool().clear();
    }

    /// The connection that was used last, if it is still open, silent and not idle since before `not_before`.
    pub(crate) fn take(&self, now: u64, not_before: u64) -> Option<TcpStream> {
        let mut pool = self.pool();
        while let Some(idle) = pool.pop() {
            // Not one byte is awaited on an idle connection: an end, or an answer that nobody asked for, is its end.
            if is_silent(&idle.stream) && idle.until > now {
                if idle.since < not_before {
                    pool.push(idle);
                    return None;
                }
                return Some(idle.stream);
            }
        }
        None
    }

    /// Keeps a connection for later, unless there are enough.
    pub(crate) fn keep(&self, stream: TcpStream, now: u64, until: u64, most: usize) {
        let mut pool = self.pool();
        if !self.retired.load(Ordering::Acquire) && pool.len() < most {
            pool.push(Idle { stream, since: now, until });
        }
    }

    /// Closes what is too old to be used again.
    pub(crate) fn sweep(&self, now: u64) {
        self.pool().retain(|idle| idle.until > now);
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether nothing has come on a connection, not even its end. The kernel is asked: the runtime says of what has just
/// come that there is nothing, until it has looked at its events.
fn is_silent(stream: &TcpStream) -> bool {
    let seen = recv(stream, &mut [0u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(seen, Err(Errno::AGAIN))
}

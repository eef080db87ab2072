//! Why something was not done: for the client that asked, or for the operator at the start.

use crate::spawner::client::SpawnerError;
use crate::wire::Failure;
use std::io;
use std::path::{Path, PathBuf};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file is not TOML, or has an unknown key.
    #[error("cannot read {path} as configuration")]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A configuration value makes no sense.
    #[error("configuration key `{key}`: {why}")]
    Config {
        /// The key.
        key: &'static str,
        /// The reason.
        why: String,
    },
    /// Not root.
    #[error("the warden must run as root: it makes namespaces, mounts and firewall rules")]
    NotRoot,
    /// Another daemon has the data directory or the socket.
    #[error("another warden is running on {0}: end it, or use another --data-dir and --socket")]
    Running(PathBuf),
    /// Our address pool is in use.
    #[error(
        "the network pool {pool} overlaps {address} on link {link}: set `network.pool` to a free network"
    )]
    PoolInUse {
        /// The configured pool.
        pool: String,
        /// The address that is there already.
        address: std::net::Ipv4Addr,
        /// The link that has it.
        link: String,
    },
    /// The spawner does not start.
    #[error("cannot start the spawner")]
    Spawner(#[source] SpawnerError),
    /// No usable cgroups.
    #[error("cgroups: {0}")]
    Cgroups(String),
    /// The kernel does not take a value of a cgroup.
    #[error("cannot write {value} to {path}")]
    CgroupValue {
        /// The file.
        path: PathBuf,
        /// The value.
        value: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A file operation failed.
    #[error("cannot {action} ({path})")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A request of the kernel's network interface failed.
    #[error("cannot {action} ({name})")]
    Net {
        /// What was tried.
        action: &'static str,
        /// On what.
        name: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// An external program failed.
    #[error("{program} failed: {output}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What it said.
        output: String,
    },
    /// No container has that handle.
    #[error("unknown handle: {0}")]
    UnknownHandle(String),
    /// A container has that handle already.
    #[error("handle already exists: {0}")]
    DuplicateHandle(String),
    /// No job has that number, or its result has been given.
    #[error("no such job: {0}")]
    NoSuchJob(u32),
    /// The container is in the wrong state for the request.
    #[error("Container state must be one of '{allowed}', current state is '{current}'")]
    State {
        /// States in which the request is possible.
        allowed: &'static str,
        /// The state that it has.
        current: &'static str,
    },
    /// A request has a value that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A path of the host that this client may not name.
    #[error("this user may not use {0}: it is in none of the configured `host_paths`")]
    Forbidden(PathBuf),
    /// All of something is in use.
    #[error("no {what} is free: all {count} are in use; raise `{key}` or destroy containers")]
    Exhausted {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: u32,
        /// The configuration key.
        key: &'static str,
    },
    /// A container could not be built.
    #[error("cannot build the container")]
    Build(#[source] Failure),
    /// The container's init refused, or is gone.
    #[error("cannot {action}")]
    Init {
        /// What was tried.
        action: &'static str,
        /// The reason.
        #[source]
        source: Failure,
    },
    /// Something is left of a container; it is tried again.
    #[error("the container is not all gone: {0}; it stays registered and is tried again")]
    Left(String),
}

impl Error {
    /// For `map_err`: a file operation that failed.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    }

    /// For `map_err`: an operation of the container's init that failed.
    pub(crate) fn init(action: &'static str) -> impl FnOnce(Failure) -> Error {
        move |source| Error::Init { action, source }
    }

    /// The error with its causes, as a client or a log line gets it.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

//! What can fail at a status page.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a status page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or not this machine's.
    #[error("the status page cannot listen on {listen} (key status.listen; port 0 takes a free one)")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The page listens on every address, and nobody knows one to announce.
    #[error("the status page listens on {listen}, which others cannot connect to: set status.advertise_host")]
    NoAddress {
        /// The address.
        listen: SocketAddr,
    },
    /// The user name cannot be used.
    #[error("status.user is {user:?}: it must not be empty, and may hold no colon and no line break")]
    User {
        /// The name.
        user: String,
    },
    /// The password file cannot be read.
    #[error("cannot read the password of the status page from {path}")]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The password file is empty.
    #[error("{path} holds no password for the status page")]
    EmptyPassword {
        /// The file.
        path: PathBuf,
    },
    /// The configuration cannot be shown.
    #[error("cannot write the configuration as JSON for the status page")]
    Config(#[source] serde_json::Error),
    /// The bus refused.
    #[error("the status page cannot listen on the bus")]
    Bus(#[source] cupola_bus::Error),
}

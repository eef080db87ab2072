//! What can fail in an agent as a whole. What fails in one instance is that instance's exit.

use std::path::PathBuf;

/// A failure of the agent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key of the configuration cannot be used.
    #[error("dea.{key}: {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A file or directory of the agent cannot be used.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The journal of instances is not what this agent writes.
    #[error(
        "cannot read the instances in {path}: if it is beyond repair, move it away; then their containers are destroyed at the next start"
    )]
    Journal {
        /// The journal.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The machine does not tell what it has.
    #[error("cannot find out how much {what} this machine has: set dea.{key}")]
    Machine {
        /// Memory or disk.
        what: &'static str,
        /// The key that makes the question needless.
        key: &'static str,
    },
    /// The store of stacks cannot be used.
    #[error("cannot use the stacks of this node")]
    Stacks(#[source] rootfs::Error),
    /// The file server cannot listen.
    #[error("cannot serve the files of instances at {address}: set dea.files.port to a port that is free")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// A subscription could not be made.
    #[error("the node agent cannot listen on the bus")]
    Subscribe(#[source] cupola_bus::Error),
    /// The status page cannot be served.
    #[error("the node agent cannot show its status")]
    Status(#[source] cupola_status::Error),
    /// The connection to the bus is closed for good.
    #[error("the node agent has lost the bus for good")]
    BusClosed,
}

impl Error {
    /// For `map_err`.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

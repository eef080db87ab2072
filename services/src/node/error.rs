//! Why a node does not start, or ends.

use std::{io, path::PathBuf};

/// Why a node does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key cannot be used.
    #[error("[service_node] {key}: {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The data directory cannot be used.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What an earlier node has written cannot be read. Nothing is touched: volumes of people depend on it.
    #[error(
        "the record {path} of an instance is damaged; repair it, or move it away together with its volume"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The stacks cannot be opened.
    #[error("cannot open the stacks")]
    Stacks(#[source] rootfs::Error),
    /// The bus refuses.
    #[error("cannot listen on the bus")]
    Bus(#[source] cupola_bus::Error),
    /// The status page cannot be served.
    #[error("the service node cannot show its status")]
    Status(#[source] cupola_status::Error),
    /// The connection to the bus is closed for good.
    #[error("the connection to the bus is closed")]
    BusClosed,
}

impl Error {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }
}

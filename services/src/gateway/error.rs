//! Why a gateway does not start, or ends.

use std::{io, net::SocketAddr, path::PathBuf};

/// Why a gateway does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key cannot be used.
    #[error("[service_gateway] {key}: {problem}")]
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
    /// What an earlier gateway has written cannot be read. It is not passed over: what it does not know, a gateway takes
    /// for orphans.
    #[error("the record {path} of an instance is damaged; repair it before the gateway is started")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: see [service_gateway] listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server has ended.
    #[error("the HTTP server has ended")]
    Serve(#[source] io::Error),
    /// The bus refuses.
    #[error("cannot listen on the bus")]
    Bus(#[source] cupola_bus::Error),
    /// The status page cannot be served.
    #[error("the gateway cannot show its status")]
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

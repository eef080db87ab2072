//! What ends the controller. What ends a request is `api::ApiError`.

use std::{net::SocketAddr, path::PathBuf};

/// Why the controller could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The status page cannot be served.
    #[error("the controller cannot show its status")]
    Status(#[source] cupola_status::Error),
    /// A key of the configuration is wrong.
    #[error("the controller's key {key} is wrong: it {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// What it must be.
        reason: String,
    },
    /// A file or directory cannot be used.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be opened or brought up to date.
    #[error("cannot open the controller's database {database}")]
    Database {
        /// Which one, without its password.
        database: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The database's tables cannot be brought up to date.
    #[error("cannot bring the tables of the controller's database {database} up to date")]
    Migrate {
        /// Which one, without its password.
        database: String,
        /// Why.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// The blobs cannot be used.
    #[error("cannot use the blobs in {place}")]
    Blobs {
        /// Where they are.
        place: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The first rows could not be made, or what a death left could not be removed.
    #[error("cannot prepare the controller's data: {what}")]
    Prepare {
        /// What was tried, and why it failed.
        what: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: is another controller running, or the port taken?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The bus cannot be used.
    #[error("the controller cannot use the bus")]
    Bus(#[source] cupola_bus::Error),
    /// Serving HTTP ended.
    #[error("the controller cannot go on serving HTTP")]
    Serve(#[source] std::io::Error),
}

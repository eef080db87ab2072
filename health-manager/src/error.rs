//! What can fail in the health manager.

/// A failure of the health manager.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key of the configuration cannot be used.
    #[error("health_manager.{key}: {problem}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A subscription could not be made.
    #[error("the health manager cannot listen on the bus")]
    Subscribe(#[source] cupola_bus::Error),
    /// The server has no JetStream.
    #[error(
        "several health managers share a lease, which needs JetStream, and NATS has none: turn it on (`jetstream \
         {{ store_dir: ... }}` in its configuration), or set health_manager.lease = false when this is the only \
         health manager"
    )]
    NoJetStream,
    /// The lease cannot be kept.
    #[error("the health manager cannot share a lease (keys health_manager.lease_seconds and lease_replicas)")]
    Lease(#[source] cupola_bus::Error),
    /// The status page cannot be served.
    #[error("the health manager cannot show its status")]
    Status(#[source] cupola_status::Error),
    /// The connection to the bus is closed for good.
    #[error("the health manager has lost the bus for good")]
    BusClosed,
    /// The HTTP client could not be made.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// No controller gave its credentials.
    #[error("no controller gave out the credentials of the desired state")]
    Credentials(#[source] cupola_bus::Error),
    /// The controller did not say where it is.
    #[error("the controller did not tell its address: set health_manager.controller_url")]
    NoControllerUrl,
    /// A page of the desired state could not be read.
    #[error("cannot read the desired state from {url}")]
    Fetch {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The pages of the desired state do not end.
    #[error("the desired state from {url} does not end: the same page came twice")]
    Endless {
        /// The address.
        url: String,
    },
}

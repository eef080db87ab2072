//! What can fail on the bus.

use cupola_protocol::Subject;
use std::{path::PathBuf, time::Duration};

/// A failure on the bus.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server answered in time, or it refused us.
    #[error("cannot connect to NATS at {servers}: is nats-server running, and are the credentials right?")]
    Connect {
        /// The addresses that were tried.
        servers: String,
        /// Why.
        #[source]
        source: async_nats::ConnectError,
    },
    /// The address is not one.
    #[error("{address:?} is not a NATS address; write nats://host:port")]
    Address {
        /// What was given.
        address: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The password file cannot be read.
    #[error("cannot read the NATS password from {path}")]
    Password {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The message could not be sent.
    #[error("cannot publish on {subject}")]
    Publish {
        /// Where to.
        subject: Subject,
        /// Why.
        #[source]
        source: async_nats::PublishError,
    },
    /// The subscription was refused.
    #[error("cannot subscribe to {subject}")]
    Subscribe {
        /// To what.
        subject: Subject,
        /// Why.
        #[source]
        source: async_nats::SubscribeError,
    },
    /// The message could not be written as JSON.
    #[error("cannot write the message for {subject} as JSON")]
    Encode {
        /// Where to.
        subject: Subject,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What came back is not the expected reply.
    #[error("the answer on {subject} is not what was expected")]
    Reply {
        /// What was asked.
        subject: Subject,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Nobody listens on this subject.
    #[error("nobody listens on {subject}")]
    NoResponders {
        /// What was asked.
        subject: Subject,
    },
    /// Nobody answered in time.
    #[error("no answer on {subject} within {timeout:?}")]
    Timeout {
        /// What was asked.
        subject: Subject,
        /// How long was waited.
        timeout: Duration,
    },
    /// The server has no JetStream, which keeps leases.
    #[error(
        "the NATS server has no JetStream, which a lease needs: give its configuration a section `jetstream {{ store_dir: ... }}`"
    )]
    NoJetStream,
    /// A lease cannot be kept like that.
    #[error("no lease can be kept like that: {problem}")]
    LeaseConfig {
        /// What is wrong.
        problem: String,
    },
    /// The connection is closed for good.
    #[error("the connection to NATS is closed")]
    Closed,
}

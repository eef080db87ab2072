//! What ends the router, or keeps it from starting.

use std::{io, net::SocketAddr, path::PathBuf};

/// A failure of the router as a whole; failures of single requests are answered, not returned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A limit of zero would let nothing through.
    #[error("[router] {key} = 0 lets nothing through: give a number above zero, or leave the key out")]
    ZeroLimit {
        /// The configuration key.
        key: &'static str,
    },
    /// Another program listens there.
    #[error(
        "port {port} is taken: another program already listens on {listen} (`ss -ltnp 'sport = :{port}'` names \
         it). Stop it, or choose another port: `cupola up --router-port N`"
    )]
    PortTaken {
        /// Where we wanted to listen.
        listen: SocketAddr,
        /// Its port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// We cannot listen there, for another reason.
    #[error(
        "the router cannot listen on {listen}: is it an address of this machine, and may we use the port?"
    )]
    Listen {
        /// Where we wanted to listen.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder of the persisted table cannot be made.
    #[error("cannot make the router's data folder {path}")]
    DataDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The access log cannot be opened.
    #[error("cannot open the access log {path} for appending")]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The bus refused a subscription or a message.
    #[error("the router cannot use the bus")]
    Bus(#[source] cupola_bus::Error),
    /// The status page cannot be served.
    #[error("the router cannot show its status")]
    Status(#[source] cupola_status::Error),
    /// The bus is closed for good: the table could only grow old.
    #[error("the router's connection to the bus is closed for good")]
    BusClosed,
}

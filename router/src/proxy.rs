//! One client connection and what happens to its requests.
//!
//! - [`connection`]: a client's connection, request after request
//! - [`forward`]: one request: which endpoint, how often, what the client is told
//! - [`exchange`]: request and answer between two connections at the same time; [`tunnel`]: after a 101
//! - [`headers`], [`sticky`], [`answer`]: what is written
//! - [`access`], [`relay`]: what is told about it

pub(crate) mod access;
pub(crate) mod answer;
pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod forward;
pub(crate) mod headers;
pub(crate) mod relay;
pub(crate) mod sticky;
pub(crate) mod tunnel;

use crate::{Config, figures::Figures, routes::table::Table};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What every connection shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) table: Arc<Table>,
    pub(crate) access: access::Log,
    pub(crate) figures: Arc<Figures>,
    /// Cancelled when no further requests are taken.
    pub(crate) draining: CancellationToken,
}

//! The route table and what feeds it.
//!
//! - [`uri`]: how a route is spelled
//! - [`endpoint`]: one address that serves routes, with its kept connections
//! - [`table`]: what readers see; [`book`]: what its one writer knows. Sync, without a clock of their own
//! - [`saved`]: the table on disk
//! - [`feed`]: the one task that hears the bus and changes the table

pub(crate) mod book;
pub(crate) mod endpoint;
pub(crate) mod feed;
pub(crate) mod saved;
pub(crate) mod table;
pub(crate) mod uri;

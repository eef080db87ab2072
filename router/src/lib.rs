//! Keeps the route table from the bus and forwards HTTP.
//!
//! - [`Config`], [`Error`], [`bind`], [`Server`]: what a program needs
//! - `routes`: the table. One task (`routes::feed`) owns every change; the proxy reads without locks
//! - `http`: our HTTP/1.1 engine: strict heads, framing, chunks, streams with deadlines. Knows no routes
//! - `figures`: what is counted
//! - `proxy`: one client connection: which endpoint, which headers, what is told to whom when it fails
//!
//! Security rules, held by tests: no byte of a head is forwarded as it came, heads are always written anew;
//! what two parsers could read differently is refused; a connection that holds bytes nobody asked for is closed.

mod clock;
mod config;
mod error;
mod figures;
mod http;
mod proxy;
mod routes;
mod server;

pub use config::{Config, Forwarded};
pub use error::Error;
pub use server::{Server, bind};

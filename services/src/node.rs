//! A service node: runs servers for a gateway.
//!
//! - [`Config`], [`Error`], [`bind()`], [`Server`]: the component
//! - `capacity`, `level`: how many instances fit, and what a full volume leads to (pure)
//! - `engine`: what PostgreSQL and Redis have in common, as scripts; one file each
//! - `instance`: one task per instance; `container`, `volume`, `record`: what it owns
//! - `answers`: the bus's requests and their answers

mod answers;
mod capacity;
mod config;
mod container;
mod engine;
mod error;
mod figures;
mod instance;
mod level;
mod record;
mod server;
mod shared;
mod volume;

pub use config::{Config, OnShutdown, Plan, Ports};
pub use error::Error;
pub use server::{Server, bind};

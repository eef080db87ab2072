//! The controller: Cloud Foundry API v3 over HTTP, the desired state of apps, their blobs, and the choice of the
//! nodes that stage and run them.
//!
//! - [`Config`], [`Error`], [`bind`], [`Server`]: the door
//! - `api`: one file per kind of resource; `auth`: users, tokens, signed addresses
//! - `store`: rows (SQLite through sqlx) and queries; `blobs`: packages, droplets, caches (object_store)
//! - `placement` decides purely which node gets an instance; `nodes` remembers advertisements
//! - `desired` starts, stops and scales on the bus; `staging` makes droplets; `health` honours the health
//!   manager's wishes; `announce` tells routers what exists; `logs` keeps the last lines of each app
//! - `package` checks and completes uploads; `manifest` applies manifests; `sweep` removes what nothing names

mod announce;
mod api;
mod auth;
mod blobs;
mod config;
mod context;
mod desired;
mod error;
mod figures;
mod health;

mod instances;
mod logs;
mod manifest;
mod nodes;
mod package;
mod placement;
mod secrets;
mod server;
mod staging;
mod store;
mod sweep;

pub use config::Config;
pub use error::Error;
pub use server::{Server, bind};

//! The controller: Cloud Foundry API v3 over HTTP, the desired state of apps, their blobs, and the choice of the
//! nodes that stage and run them.
//!
//! - [`Config`], [`Error`], [`bind`], [`Server`]: the door
//! - [`access`]: the table of roles and actions; [`endpoints`]: the table of what is served, and to whom
//! - `api`: one file per kind of resource; `auth`: users, tokens, signed addresses
//! - `store`: rows (SQLite or PostgreSQL, through sqlx) and queries; `blobs`: packages, droplets, caches
//!   (object_store); `locks`: one at a time, across controllers too; `takeover`: what a dead controller left
//! - `quota` decides purely whether a change fits
//! - `placement` decides purely which node gets an instance; `nodes` remembers advertisements
//! - `desired` starts, stops and scales on the bus; `staging` makes droplets; `health` honours the health
//!   manager's wishes; `announce` tells routers what exists; `logs` keeps the last lines of each app; `files` finds and fetches
//!   the files of instances
//! - `services` asks service brokers, and knows what apps get of their bindings
//! - `package` checks and completes uploads; `manifest` applies manifests; `sweep` removes what nothing names

pub mod access;
mod announce;
mod api;
mod auth;
mod blobs;
mod config;
mod context;
mod desired;
mod error;
mod figures;
mod files;
mod health;
mod instances;
mod locks;
mod logs;
mod manifest;
mod nodes;
mod package;
mod placement;
mod quota;
mod secrets;
mod server;
mod services;
mod staging;
mod store;
mod sweep;
mod takeover;

pub use api::{Endpoint, endpoints};
pub use config::Config;
pub use error::Error;
pub use server::{Server, bind};
pub use services::ServicesConfig;

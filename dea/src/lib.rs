//! Runs droplets as instances on one node.
//!
//! - [`Config`], [`Error`], [`bind`], [`Server`]: the component
//! - `server`: the one task that owns the instances; answers the bus, advertises, beats
//! - `instance`: one instance: its state machine (pure), the task that runs it, its container, environment,
//!   health and logs
//! - `files`: the files of instances over HTTP; `crashes`: what is kept of those that crashed
//! - `droplets`: what was fetched, by digest
//! - `resources`: what may still be handed out (pure)
//! - `filters`: which instances a message means (pure)
//! - `egress`: rules of the controller as requests to the warden (pure)
//! - `journal`: what survives a restart
//! - `figures`: what is counted and measured
//! - `identity`, `machine`: which agent this is, and what its machine has
//!
//! Containers live in the warden, not here: an agent that ends, with or without warning, takes up its
//! instances again when it is back, and a warden that is away is waited for. No instance is declared dead
//! because something was not reachable.

mod config;
mod crashes;
mod droplets;
mod egress;
mod error;
mod figures;
mod files;
mod filters;
mod identity;
mod instance;
mod journal;
mod machine;
mod node;
mod resources;
mod server;
mod stats;

pub use config::{Config, OnShutdown};
pub use error::Error;
pub use files::Config as FilesConfig;
pub use server::{Server, bind};

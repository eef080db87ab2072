//! Compares the desired state of all apps with what the agents report, and asks the controller for starts and
//! stops.
//!
//! - [`Config`], [`Error`], [`bind`], [`Server`]: the component
//! - [`desired`]: what should run, as the controller gives it out
//! - [`actual`]: what runs, as heartbeats and exits tell it
//! - [`decide`]: the difference of the two, without I/O and without a clock
//! - [`picture`]: the same difference in figures; `figures`: what is shown of it
//! - `duty`: whether this one acts, or another that holds the lease
//! - `fetch`: reads the desired state over HTTP
//! - `server`: the one task that owns both states
//!
//! The rule above all others: nothing is started or stopped on stale data. Losing sight of a node, of the bus
//! or of the controller never stops an app.

pub mod actual;
mod config;
pub mod decide;
pub mod desired;
mod duty;
mod error;
mod fetch;
mod figures;
pub mod picture;
mod server;

pub use config::Config;
pub use error::Error;
pub use server::{Server, bind};

/// A point in time, as the time since this health manager started.
pub type Moment = std::time::Duration;

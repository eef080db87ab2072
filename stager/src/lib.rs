//! Turns an app's source into a droplet, in a container.
//!
//! The stager takes `staging.<id>.start` from the bus, fetches the package, unpacks it, and runs a buildpack's
//! detect, compile and release in a container of the warden that has limits of its own. What comes out is the
//! droplet: a tar.gz in the historic layout, uploaded to where the request says.
//!
//! - [`Config`], [`Error`], [`bind()`], [`Server`]: the component
//! - `admission`: which stagings run, and whether another may (pure)
//! - `staging`: one staging from its request to its reply; `reply`, `failure`: what is answered
//! - `figures`: what is counted and measured
//! - `package`, `processes`, `environment`, `lines`: the formats (pure, or files alone)
//! - `container`, `transfer`, `workspace`, `droplet`: the warden, HTTP, files, and the archive that comes out

mod admission;
mod buildpacks;
mod config;
mod container;
mod droplet;
mod environment;
mod error;
mod failure;
mod figures;
mod lines;
mod log;
mod package;
mod processes;
mod reply;
mod server;
mod staging;
mod transfer;
mod workspace;

pub use config::Config;
pub use error::Error;
pub use server::{Server, bind};

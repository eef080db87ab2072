//! Types of the HTTP API: Cloud Foundry API v3, its OAuth token endpoint and its log reading API, as far as the
//! controller serves them and clients use them. Requests and answers are the same types on both sides.
//!
//! Field names are those of the v3 documentation. Fields that only some servers send have a default, so that a
//! client of ours can also read what another server says.

mod app;
mod auth;
mod build;
mod droplet;
mod envelope;
mod error;
mod instance;
mod job;
mod manifest;
mod package;
mod page;
mod platform;
mod process;
mod quota;
mod root;
mod route;
mod service;
mod service_instance;
mod tenancy;
mod user;

pub use app::*;
pub use auth::*;
pub use build::*;
pub use droplet::*;
pub use envelope::*;
pub use error::*;
pub use instance::*;
pub use job::*;
pub use manifest::*;
pub use package::*;
pub use page::*;
pub use platform::*;
pub use process::*;
pub use quota::*;
pub use root::*;
pub use route::*;
pub use service::*;
pub use service_instance::*;
pub use tenancy::*;
pub use user::*;

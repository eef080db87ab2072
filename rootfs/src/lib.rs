//! Builds, stores and describes stacks: the base images that containers are made of.
//!
//! - [`Recipe`]: what a stack consists of, as data (`recipes/*.toml`)
//! - [`build()`]: makes an EROFS image of a recipe with mmdebstrap, using the host's own package sources
//! - [`Store`]: where the images lie, each with its [`Receipt`]
//!
//! Everything here is synchronous: a build is minutes of other programs' work, and the rest is a few files.

mod build;
mod error;
mod recipe;
mod sources;
mod store;

pub use build::{Built, Options, Phase, Progress, build};
pub use error::Error;
pub use recipe::{Recipe, Variant};
pub use store::{Deleted, Entry, Package, Receipt, Stack, Store};

/// The stack that apps get when they ask for none, and the one that the default recipe makes.
pub const DEFAULT_STACK: &str = "bookworm";

//! What the platform offers: stacks and buildpacks.

use super::{Guid, Links, Metadata};
use serde::{Deserialize, Serialize};

/// A base image that apps run on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// Its guid.
    pub guid: Guid,
    /// When it was first seen, RFC 3339.
    pub created_at: String,
    /// When it was last seen, RFC 3339.
    pub updated_at: String,
    /// Its name.
    pub name: String,
    /// One sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether apps get it when they do not choose.
    #[serde(default)]
    pub default: bool,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// A system buildpack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Buildpack {
    /// Its guid.
    pub guid: Guid,
    /// When it was first seen, RFC 3339.
    pub created_at: String,
    /// When it was last seen, RFC 3339.
    pub updated_at: String,
    /// Its name.
    pub name: String,
    /// The stack that it is for; none for any.
    #[serde(default)]
    pub stack: Option<String>,
    /// Its place in the order in which buildpacks are asked, from 1.
    pub position: u32,
    /// `READY`.
    #[serde(default)]
    pub state: String,
    /// Its archive; none for those that come with the stager.
    #[serde(default)]
    pub filename: Option<String>,
    /// `buildpack`.
    #[serde(default)]
    pub lifecycle: String,
    /// Whether it is asked.
    pub enabled: bool,
    /// Whether it may be changed.
    pub locked: bool,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

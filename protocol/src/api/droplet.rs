//! Droplets: what staging makes and nodes run.

use super::{Checksum, Guid, Lifecycle, Links, Metadata, Relationships};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a droplet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DropletStatus {
    /// It has no bits yet.
    AwaitingUpload,
    /// Its bits are being checked.
    ProcessingUpload,
    /// It can run.
    Staged,
    /// It is being copied.
    Copying,
    /// It is no good.
    Failed,
    /// Its bits were collected.
    Expired,
}

/// What staging made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Droplet {
    /// Its guid.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// How far it is.
    pub state: DropletStatus,
    /// Why it is no good.
    #[serde(default)]
    pub error: Option<String>,
    /// How it was staged.
    pub lifecycle: Lifecycle,
    /// For the node; empty here.
    #[serde(default)]
    pub execution_metadata: String,
    /// Process types and their commands.
    #[serde(default)]
    pub process_types: Option<BTreeMap<String, String>>,
    /// SHA-256 of its tar.gz.
    #[serde(default)]
    pub checksum: Option<Checksum>,
    /// What staged it.
    #[serde(default)]
    pub buildpacks: Option<Vec<DropletBuildpack>>,
    /// The stack that it runs on.
    #[serde(default)]
    pub stack: Option<String>,
    /// Container image; never here.
    #[serde(default)]
    pub image: Option<String>,
    /// `app`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links: `package`, `download`.
    #[serde(default)]
    pub links: Links,
}

/// A buildpack that staged a droplet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropletBuildpack {
    /// Its name or address.
    pub name: String,
    /// What it calls the app.
    #[serde(default)]
    pub detect_output: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// Its own name of itself.
    #[serde(default)]
    pub buildpack_name: Option<String>,
}

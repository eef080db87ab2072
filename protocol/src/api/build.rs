//! Builds: stagings of packages.

use super::{Guid, Links, Metadata, Named, Relationships};
use crate::Mebibytes;
use serde::{Deserialize, Serialize};

/// How an app is staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// `buildpack`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Details.
    #[serde(default)]
    pub data: LifecycleData,
}

/// Details of a lifecycle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleData {
    /// Buildpacks by name or address; empty lets each be asked in turn.
    #[serde(default)]
    pub buildpacks: Option<Vec<String>>,
    /// The stack; the platform's default when absent.
    #[serde(default)]
    pub stack: Option<String>,
}

impl Lifecycle {
    /// Staging with buildpacks.
    pub fn buildpack(buildpacks: Vec<String>, stack: Option<String>) -> Self {
        Self { kind: "buildpack".to_owned(), data: LifecycleData { buildpacks: Some(buildpacks), stack } }
    }
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum BuildStatus {
    /// At work.
    Staging,
    /// There is a droplet.
    Staged,
    /// There is an error.
    Failed,
}

/// A staging of a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Build {
    /// Its guid.
    pub guid: Guid,
    /// When it was begun, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Who began it.
    #[serde(default)]
    pub created_by: Option<Actor>,
    /// How far it is.
    pub state: BuildStatus,
    /// Memory of the staging container.
    #[serde(default)]
    pub staging_memory_in_mb: Mebibytes,
    /// Disk of the staging container.
    #[serde(default)]
    pub staging_disk_in_mb: Mebibytes,
    /// Why it failed: `<name> - <sentence>`.
    pub error: Option<String>,
    /// How it is staged.
    pub lifecycle: Lifecycle,
    /// What is staged.
    pub package: Named,
    /// What came out.
    pub droplet: Option<Named>,
    /// `app`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The user's guid.
    pub guid: Guid,
    /// The user's name.
    pub name: String,
    /// The user's address; the name when there is none.
    #[serde(default)]
    pub email: String,
}

/// `POST /v3/builds`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateBuild {
    /// What to stage.
    pub package: Named,
    /// How; the app's own way when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Memory of the staging container; the platform's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging_memory_in_mb: Option<Mebibytes>,
    /// Disk of the staging container; the platform's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staging_disk_in_mb: Option<Mebibytes>,
}

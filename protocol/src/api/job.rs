//! Jobs (what takes longer than a request) and deployments.

use super::{ErrorItem, Guid, Links, Named, OfApp};
use serde::{Deserialize, Serialize};

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobStatus {
    /// At work.
    Processing,
    /// Waits for another system.
    Polling,
    /// Done.
    Complete,
    /// Failed; see its errors.
    Failed,
}

/// What takes longer than a request; its address is in the header `Location` of a 202.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its guid.
    pub guid: Guid,
    /// When it was begun, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// What it does: `app.delete`, `space.apply_manifest`.
    pub operation: String,
    /// How far it is.
    pub state: JobStatus,
    /// Why it failed.
    #[serde(default)]
    pub errors: Vec<ErrorItem>,
    /// What its user should know all the same.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// What a user should know though nothing failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The sentence.
    pub detail: String,
}

/// `POST /v3/deployments`: replace an app's instances one by one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateDeployment {
    /// What to run from now on; the current droplet when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet: Option<Named>,
    /// `rolling`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// The app.
    pub relationships: OfApp,
}

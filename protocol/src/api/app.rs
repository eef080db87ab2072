//! Apps and their environment.

use super::{Guid, Lifecycle, Links, Metadata, Relationships, ToOne};
use crate::controller::DesiredState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Its guid.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name, unique in its space.
    pub name: String,
    /// What the developer wants of it.
    pub state: DesiredState,
    /// How it is staged.
    pub lifecycle: Lifecycle,
    /// `space`, `current_droplet`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// `POST /v3/apps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateApp {
    /// Its name.
    pub name: String,
    /// Its space.
    pub relationships: InSpace,
    /// Its environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment_variables: BTreeMap<String, String>,
    /// How it is staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// Belongs to a space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InSpace {
    /// Which one.
    pub space: ToOne,
}

/// `PATCH /v3/apps/:guid`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateApp {
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New way of staging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// New labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// `GET` and `PATCH /v3/apps/:guid/environment_variables`.
///
/// In a PATCH, null removes a variable and what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EnvVars {
    /// Variables by name.
    pub var: BTreeMap<String, Option<String>>,
    /// Links.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: Links,
}

/// `GET /v3/apps/:guid/env`: everything that the app will see.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AppEnv {
    /// The platform's variables for staging.
    #[serde(default)]
    pub staging_env_json: BTreeMap<String, String>,
    /// The platform's variables for running.
    #[serde(default)]
    pub running_env_json: BTreeMap<String, String>,
    /// The developer's variables.
    #[serde(default)]
    pub environment_variables: BTreeMap<String, String>,
    /// `VCAP_SERVICES`.
    #[serde(default)]
    pub system_env_json: serde_json::Map<String, serde_json::Value>,
    /// `VCAP_APPLICATION`.
    #[serde(default)]
    pub application_env_json: serde_json::Map<String, serde_json::Value>,
}

//! Service instances, and their bindings: credentials for apps, and keys.

use super::{Guid, Links, Metadata, Relationships, ToOne};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// A service instance: one that a broker made, or one that its user provides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceInstance {
    /// Its guid, which is its id at the broker too.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name, unique in its space.
    pub name: String,
    /// Words that apps find it by, beside those of its offering.
    #[serde(default)]
    pub tags: Vec<String>,
    /// `managed` or `user-provided`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The maintenance that it has; of managed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<Map<String, Value>>,
    /// Whether its plan has newer maintenance; of managed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade_available: Option<bool>,
    /// Where it is looked after; of managed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// Where its apps' logs go; of user-provided ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_drain_url: Option<String>,
    /// Where its routes' requests go first; of user-provided ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_service_url: Option<String>,
    /// What was last done to it, or is being done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<LastOperation>,
    /// `space`, `service_plan`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// What was last done to an instance or a binding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastOperation {
    /// `create`, `update` or `delete`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How far it is.
    pub state: OperationState,
    /// What the broker says of it, or why it failed.
    #[serde(default)]
    pub description: Option<String>,
    /// When it was begun, RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// When it was last looked at, RFC 3339.
    #[serde(default)]
    pub updated_at: String,
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationState {
    /// Not taken up yet.
    #[serde(rename = "initial")]
    Initial,
    /// The broker is at work.
    #[serde(rename = "in progress")]
    InProgress,
    /// Done.
    #[serde(rename = "succeeded")]
    Succeeded,
    /// Not done.
    #[serde(rename = "failed")]
    Failed,
}

impl OperationState {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "initial",
            Self::InProgress => "in progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `POST /v3/service_instances`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateServiceInstance {
    /// `managed` or `user-provided`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Words that apps find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What the broker should know; of managed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// What apps get; of user-provided ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Map<String, Value>>,
    /// Where its apps' logs go; of user-provided ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_drain_url: Option<String>,
    /// Where its routes' requests go first; of user-provided ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_service_url: Option<String>,
    /// Where it belongs.
    pub relationships: InstanceRelationships,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// Where a service instance belongs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceRelationships {
    /// Its space.
    pub space: ToOne,
    /// Its plan; of managed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_plan: Option<ToOne>,
}

/// `PATCH /v3/service_instances/:guid`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateServiceInstance {
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// What the broker should change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// New credentials, all of them; of user-provided ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Map<String, Value>>,
    /// New drain; an empty one removes it; of user-provided ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_drain_url: Option<String>,
    /// New route service; an empty one removes it; of user-provided ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_service_url: Option<String>,
    /// The maintenance that it should get: `{"version": "1.2.3"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<Map<String, Value>>,
    /// New plan, as `service_plan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relationships: Option<NewPlan>,
    /// New labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// A plan that an instance changes to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NewPlan {
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_plan: Option<ToOne>,
}

/// Credentials of a service instance, for an app or as a key. They are not in here: see [`BindingDetails`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceBinding {
    /// Its guid, which is its id at the broker too.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name; every key has one.
    #[serde(default)]
    pub name: Option<String>,
    /// `app` or `key`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was last done to it, or is being done.
    #[serde(default)]
    pub last_operation: Option<LastOperation>,
    /// `service_instance`, `app`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// `POST /v3/service_credential_bindings`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateServiceBinding {
    /// `app` or `key`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name; a key must have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the broker should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// Of what, and for whom.
    pub relationships: BindingRelationships,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// Of what a binding is, and for whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingRelationships {
    /// The instance.
    pub service_instance: ToOne,
    /// The app; not of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<ToOne>,
}

/// `GET /v3/service_credential_bindings/:guid/details`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BindingDetails {
    /// What the app gets.
    #[serde(default)]
    pub credentials: Map<String, Value>,
    /// Where the app's logs go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_drain_url: Option<String>,
    /// Directories that the app gets.
    #[serde(default)]
    pub volume_mounts: Vec<Value>,
}

impl fmt::Debug for BindingDetails {
    /// Without the credentials: only their names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.credentials.keys().collect();
        f.debug_struct("BindingDetails").field("credentials", &names).finish_non_exhaustive()
    }
}

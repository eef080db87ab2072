//! Bindings: `PUT`, `GET` and `DELETE` of `/v2/service_instances/<id>/service_bindings/<id>`.

use super::null_is_default;
use crate::{AppId, OfferingId, PlanId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// Query of `PUT`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindQuery {
    /// Whether the platform can wait for an operation in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts_incomplete: Option<bool>,
}

/// Body of `PUT`: make a binding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindRequest {
    /// The offering.
    pub service_id: OfferingId,
    /// The plan.
    pub plan_id: PlanId,
    /// Where it is made; as of an instance.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
    /// Historic; in `bind_resource` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_guid: Option<AppId>,
    /// What it is for; absent for a service key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_resource: Option<BindResource>,
    /// What the developer wishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// The binding that this one follows, when its credentials are made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor_binding_id: Option<String>,
}

/// What a binding is for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BindResource {
    /// An app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_guid: Option<AppId>,
    /// A route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
}

/// Answer to `PUT` with 200, 201 or 202, and to `GET` with 200.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BindResponse {
    /// What an app needs to use the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Map<String, Value>>,
    /// Where the app's log goes as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_drain_url: Option<String>,
    /// Where requests for the route go through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_service_url: Option<String>,
    /// File systems for the app.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Addresses that the app must be able to reach.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// `expires_at`, `renew_before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// With 202: what to ask for its state with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// In answers to `GET`: what it was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
}

impl fmt::Debug for BindResponse {
    /// Without the credentials: this lands in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindResponse")
            .field("credentials", &self.credentials.as_ref().map(|_| "..."))
            .field("endpoints", &self.endpoints)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// Addresses that an app must be able to reach: what egress rules are made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// A name, an address or a CIDR network.
    pub host: String,
    /// Ports, or ranges as `1024-2048`.
    pub ports: Vec<String>,
    /// `tcp` (when absent), `udp` or `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// A file system for an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Name of the driver.
    pub driver: String,
    /// Path inside the container.
    pub container_dir: String,
    /// `r` or `rw`.
    pub mode: String,
    /// `shared`.
    pub device_type: String,
    /// What the driver needs.
    pub device: Map<String, Value>,
}

/// Query of `DELETE`. A broker answers 200, 202, or 410 for what is gone already, which a platform takes for success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnbindQuery {
    /// The offering.
    pub service_id: OfferingId,
    /// The plan.
    pub plan_id: PlanId,
    /// Whether the platform can wait for an operation in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts_incomplete: Option<bool>,
}

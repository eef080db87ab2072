//! Instances: `PUT`, `PATCH`, `GET` and `DELETE` of `/v2/service_instances/<id>`.

use super::null_is_default;
use crate::{OfferingId, PlanId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version of what an instance runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MaintenanceInfo {
    /// A semantic version.
    pub version: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Query of `PUT` and `PATCH`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionQuery {
    /// Whether the platform can wait for an operation in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts_incomplete: Option<bool>,
}

/// Body of `PUT`: make an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvisionRequest {
    /// The offering.
    pub service_id: OfferingId,
    /// The plan.
    pub plan_id: PlanId,
    /// Where it is made: `platform`, and for Cloud Foundry `organization_guid`, `space_guid`, `instance_name`, ...
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
    /// Historic; in `context` too.
    #[serde(default, deserialize_with = "null_is_default")]
    pub organization_guid: String,
    /// Historic; in `context` too.
    #[serde(default, deserialize_with = "null_is_default")]
    pub space_guid: String,
    /// What the developer wishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// The version that the platform saw in the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

/// Answer to `PUT` with 200, 201 or 202. Brokers may answer `{}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProvisionResponse {
    /// A page for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// With 202: what to ask for its state with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// `labels` and `attributes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// Body of `PATCH`: change an instance. What is absent stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateRequest {
    /// The offering.
    pub service_id: OfferingId,
    /// The plan that it shall have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// See [`ProvisionRequest::context`].
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Map::is_empty")]
    pub context: Map<String, Value>,
    /// What the developer wishes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// What the platform believes it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_values: Option<PreviousValues>,
    /// The version that it shall have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

/// What the platform believes an instance was before an update.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PreviousValues {
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

/// Answer to `PATCH` with 200 or 202.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateResponse {
    /// A page for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// With 202: what to ask for its state with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// `labels` and `attributes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// Answer to `GET` with 200.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FetchInstanceResponse {
    /// The offering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<OfferingId>,
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// A page for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard_url: Option<String>,
    /// What it was made or updated with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    /// The version that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
    /// `labels` and `attributes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// Query of `DELETE`. A broker answers 200, 202, or 410 for what is gone already, which a platform takes for success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeprovisionQuery {
    /// The offering.
    pub service_id: OfferingId,
    /// The plan.
    pub plan_id: PlanId,
    /// Whether the platform can wait for an operation in the background.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepts_incomplete: Option<bool>,
}

//! What a broker offers: `GET /v2/catalog`.

use super::{MaintenanceInfo, null_is_default};
use crate::{OfferingId, PlanId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The answer to `GET /v2/catalog`. What makes a catalog usable (unique ids and names, at least one plan each) is for
/// the platform to check: here it only has to be one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// The offerings; the specification calls them services.
    pub services: Vec<Offering>,
}

/// A kind of service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offering {
    /// Id, the same for ever.
    pub id: OfferingId,
    /// Name for the command line: lower case, no spaces.
    pub name: String,
    /// For people.
    pub description: String,
    /// Kinds of service that it can stand for, such as `postgresql`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
    /// Permissions that it needs: `syslog_drain`, `route_forwarding`, `volume_mount`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub requires: Vec<String>,
    /// Whether instances can be bound, unless their plan says otherwise.
    pub bindable: bool,
    /// Whether instances can be fetched.
    #[serde(default, deserialize_with = "null_is_default")]
    pub instances_retrievable: bool,
    /// Whether bindings can be fetched.
    #[serde(default, deserialize_with = "null_is_default")]
    pub bindings_retrievable: bool,
    /// Whether an update may carry a new context alone.
    #[serde(default, deserialize_with = "null_is_default")]
    pub allow_context_updates: bool,
    /// Free words for people and programs, such as `displayName`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Client of a single sign-on for its dashboard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard_client: Option<DashboardClient>,
    /// Whether an instance may change its plan, unless the plan says otherwise.
    #[serde(default, deserialize_with = "null_is_default")]
    pub plan_updateable: bool,
    /// Its plans; at least one.
    pub plans: Vec<Plan>,
}

/// Client of a single sign-on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DashboardClient {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Where to send people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uri: Option<String>,
}

/// A size or quality of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Id, the same for ever.
    pub id: PlanId,
    /// Name for the command line.
    pub name: String,
    /// For people.
    pub description: String,
    /// Free words for people and programs, such as `bullets`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Whether it costs nothing; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<bool>,
    /// Whether instances can be bound; as the offering says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindable: Option<bool>,
    /// Whether bindings can be made anew before they expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_rotatable: Option<bool>,
    /// Whether an instance of this plan may change to another; as the offering says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_updateable: Option<bool>,
    /// JSON schemas of the parameters that are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schemas: Option<Value>,
    /// Seconds for which an operation in the background should be followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_polling_duration: Option<u64>,
    /// The version of what an instance of it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_info: Option<MaintenanceInfo>,
}

impl Plan {
    /// Whether instances of this plan of `offering` can be bound.
    pub fn is_bindable(&self, offering: &Offering) -> bool {
        self.bindable.unwrap_or(offering.bindable)
    }

    /// Whether instances of this plan of `offering` may change to another plan.
    pub fn is_updateable(&self, offering: &Offering) -> bool {
        self.plan_updateable.unwrap_or(offering.plan_updateable)
    }

    /// Whether it costs nothing.
    pub fn is_free(&self) -> bool {
        self.free.unwrap_or(true)
    }
}

//! What goes on in the background: `GET .../last_operation`.

use crate::{OfferingId, PlanId};
use serde::{Deserialize, Serialize};

/// Answer of `DELETE` with 202. `PUT` and `PATCH` have the field `operation` among others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// What to ask for its state with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

/// Query of `GET .../last_operation`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LastOperationQuery {
    /// The offering.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_id: Option<OfferingId>,
    /// The plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_id: Option<PlanId>,
    /// What the broker answered the request with that began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
}

/// Answer with 200. While a deletion is asked for, 410 means that it has succeeded. A broker may send `Retry-After`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastOperation {
    /// How it stands.
    pub state: OperationState,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// After a failed update or deletion: whether the instance can still be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_usable: Option<bool>,
    /// After a failed update: whether it may be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_repeatable: Option<bool>,
}

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationState {
    /// It goes on.
    #[serde(rename = "in progress")]
    InProgress,
    /// It is done.
    #[serde(rename = "succeeded")]
    Succeeded,
    /// It has failed.
    #[serde(rename = "failed")]
    Failed,
}

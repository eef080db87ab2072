//! The rows of services.

use crate::store::{Flag, new_guid, now};
use cupola_protocol::{
    api::{LastOperation, OperationState},
    osb,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fmt;

#[derive(Clone, sqlx::FromRow)]
pub(crate) struct BrokerRow {
    pub guid: String,
    pub name: String,
    pub url: String,
    pub username: String,
    pub password: String,
    /// Who registered it: `gateway` (over the bus) or `administrator`.
    pub source: String,
    #[sqlx(try_from = "Flag")]
    pub available: bool,
    pub created_at: String,
    pub updated_at: String,
}

impl BrokerRow {
    /// Who sees its new plans: those of the platform's own gateways everybody, others the administrator, until he says
    /// otherwise.
    pub(crate) fn visibility(&self) -> &'static str {
        if self.source == "gateway" { "public" } else { "admin" }
    }
}

impl fmt::Debug for BrokerRow {
    /// Without the password: this lands in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerRow").field("name", &self.name).field("url", &self.url).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct OfferingRow {
    pub guid: String,
    pub broker_guid: String,
    pub catalog_id: String,
    pub name: String,
    pub description: String,
    #[sqlx(try_from = "Flag")]
    pub available: bool,
    /// JSON: an [`osb::Offering`] without plans.
    pub catalog: String,
    pub created_at: String,
    pub updated_at: String,
}

impl OfferingRow {
    /// What the broker says of it.
    pub(crate) fn catalog(&self) -> osb::Offering {
        parsed(&self.catalog).unwrap_or_else(|| osb::Offering {
            id: self.catalog_id.as_str().into(),
            name: self.name.clone(),
            description: self.description.clone(),
            tags: Vec::new(),
            requires: Vec::new(),
            bindable: false,
            instances_retrievable: false,
            bindings_retrievable: false,
            allow_context_updates: false,
            metadata: Map::new(),
            dashboard_client: None,
            plan_updateable: false,
            plans: Vec::new(),
        })
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct PlanRow {
    pub guid: String,
    pub offering_guid: String,
    pub catalog_id: String,
    pub name: String,
    pub description: String,
    #[sqlx(try_from = "Flag")]
    pub available: bool,
    /// `public`, `admin` or `organization`.
    pub visibility: String,
    /// JSON: an [`osb::Plan`].
    pub catalog: String,
    pub created_at: String,
    pub updated_at: String,
}

impl PlanRow {
    /// What the broker says of it.
    pub(crate) fn catalog(&self) -> osb::Plan {
        parsed(&self.catalog).unwrap_or_else(|| osb::Plan {
            id: self.catalog_id.as_str().into(),
            name: self.name.clone(),
            description: self.description.clone(),
            metadata: Map::new(),
            free: None,
            bindable: None,
            binding_rotatable: None,
            plan_updateable: None,
            schemas: None,
            maximum_polling_duration: None,
            maintenance_info: None,
        })
    }
}

#[derive(Clone, sqlx::FromRow)]
pub(crate) struct InstanceRow {
    pub guid: String,
    pub name: String,
    pub space_guid: String,
    /// `managed` or `user-provided`.
    pub kind: String,
    pub plan_guid: Option<String>,
    /// JSON array.
    pub tags: String,
    /// JSON object; of user-provided ones.
    pub credentials: Option<String>,
    pub syslog_drain_url: Option<String>,
    pub route_service_url: Option<String>,
    pub dashboard_url: Option<String>,
    /// JSON object.
    pub maintenance_info: Option<String>,
    /// `create`, `update` or `delete`.
    pub operation: String,
    /// As the API spells it.
    pub operation_state: String,
    pub operation_description: Option<String>,
    pub operation_created_at: String,
    pub operation_updated_at: String,
    pub created_at: String,
    pub updated_at: String,
}

impl fmt::Debug for InstanceRow {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceRow")
            .field("guid", &self.guid)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl InstanceRow {
    pub(crate) fn is_managed(&self) -> bool {
        self.kind == "managed"
    }

    pub(crate) fn in_progress(&self) -> bool {
        state(&self.operation_state) == OperationState::InProgress
    }

    /// Whether its making failed: there is nothing behind it.
    pub(crate) fn never_made(&self) -> bool {
        self.operation == "create" && state(&self.operation_state) == OperationState::Failed
    }

    pub(crate) fn credentials(&self) -> Map<String, Value> {
        object(self.credentials.as_deref())
    }

    pub(crate) fn last_operation(&self) -> LastOperation {
        LastOperation {
            kind: self.operation.clone(),
            state: state(&self.operation_state),
            description: self.operation_description.clone(),
            created_at: self.operation_created_at.clone(),
            updated_at: self.operation_updated_at.clone(),
        }
    }
}

#[derive(Clone, sqlx::FromRow)]
pub(crate) struct BindingRow {
    pub guid: String,
    pub name: Option<String>,
    /// `app` or `key`.
    pub kind: String,
    pub instance_guid: String,
    pub app_guid: Option<String>,
    /// JSON object.
    pub credentials: Option<String>,
    pub syslog_drain_url: Option<String>,
    /// JSON array.
    pub volume_mounts: Option<String>,
    /// JSON array of [`osb::Endpoint`].
    pub endpoints: Option<String>,
    /// `create` or `delete`.
    pub operation: String,
    /// As the API spells it.
    pub operation_state: String,
    pub operation_description: Option<String>,
    pub operation_created_at: String,
    pub operation_updated_at: String,
    pub created_at: String,
    pub updated_at: String,
}

impl fmt::Debug for BindingRow {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BindingRow").field("guid", &self.guid).finish_non_exhaustive()
    }
}

impl BindingRow {
    /// A new one: of a key when there is no app. A broker has to make it, unless the user provides the instance.
    pub(crate) fn new(instance: &InstanceRow, app: Option<String>, name: Option<String>) -> Self {
        let now = now();
        let managed = instance.is_managed();
        Self {
            guid: new_guid(),
            name,
            kind: if app.is_some() { "app" } else { "key" }.to_owned(),
            instance_guid: instance.guid.clone(),
            app_guid: app,
            credentials: None,
            syslog_drain_url: None,
            volume_mounts: None,
            endpoints: None,
            operation: "create".to_owned(),
            operation_state: if managed { "in progress" } else { "succeeded" }.to_owned(),
            operation_description: (!managed).then(|| "Operation succeeded".to_owned()),
            operation_created_at: now.clone(),
            operation_updated_at: now.clone(),
            created_at: now.clone(),
            updated_at: now,
        }
    }

    pub(crate) fn in_progress(&self) -> bool {
        state(&self.operation_state) == OperationState::InProgress
    }

    /// Whether it was made: its credentials are good, or may still be.
    pub(crate) fn is_made(&self) -> bool {
        self.operation == "delete" || state(&self.operation_state) == OperationState::Succeeded
    }

    pub(crate) fn never_made(&self) -> bool {
        self.operation == "create" && state(&self.operation_state) == OperationState::Failed
    }

    pub(crate) fn credentials(&self) -> Map<String, Value> {
        object(self.credentials.as_deref())
    }

    pub(crate) fn volume_mounts(&self) -> Vec<Value> {
        self.volume_mounts.as_deref().and_then(parsed).unwrap_or_default()
    }

    pub(crate) fn endpoints(&self) -> Vec<osb::Endpoint> {
        self.endpoints.as_deref().and_then(parsed).unwrap_or_default()
    }

    pub(crate) fn last_operation(&self) -> LastOperation {
        LastOperation {
            kind: self.operation.clone(),
            state: state(&self.operation_state),
            description: self.operation_description.clone(),
            created_at: self.operation_created_at.clone(),
            updated_at: self.operation_updated_at.clone(),
        }
    }
}

/// Something that is to be asked of a broker.
#[derive(Clone, sqlx::FromRow)]
pub(crate) struct OperationRow {
    pub guid: String,
    /// As `services::Kind` spells it.
    pub kind: String,
    /// As `services::Phase` spells it.
    pub phase: String,
    pub broker_guid: String,
    pub instance_guid: Option<String>,
    pub binding_guid: Option<String>,
    /// JSON: `services::Wish`.
    pub request: String,
    pub job_guid: Option<String>,
    pub user_guid: String,
    pub broker_operation: Option<String>,
    /// How often its request was sent, the time that is due included once it is claimed.
    pub tries: i64,
    pub begun_at: String,
    /// When it is given up.
    pub deadline_at: String,
    pub due_at: String,
    /// Who is at work on it; empty when nobody is.
    pub claim: String,
    /// Until when; in the past when nobody is.
    pub claimed_until: String,
}

impl fmt::Debug for OperationRow {
    /// Without the request, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationRow")
            .field("guid", &self.guid)
            .field("kind", &self.kind)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// A state as rows spell it.
fn state(text: &str) -> OperationState {
    match text {
        "initial" => OperationState::Initial,
        "in progress" => OperationState::InProgress,
        "succeeded" => OperationState::Succeeded,
        _ => OperationState::Failed,
    }
}

fn parsed<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}

fn object(json: Option<&str>) -> Map<String, Value> {
    json.and_then(parsed).unwrap_or_default()
}

//! Service brokers, and what they offer: offerings and plans.

use super::{Guid, Links, Metadata, Named, Relationships};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who offers services: anything that speaks the Open Service Broker API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceBroker {
    /// Its guid.
    pub guid: Guid,
    /// When it was registered, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name, unique.
    pub name: String,
    /// Its address.
    pub url: String,
    /// None: brokers of one space alone are not supported.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// `POST /v3/service_brokers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateServiceBroker {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// How it knows the controller.
    pub authentication: BrokerAuthentication,
    /// `space` would make it one of that space alone.
    #[serde(default, skip_serializing_if = "Relationships::is_empty")]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// `PATCH /v3/service_brokers/:guid`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateServiceBroker {
    /// New name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// New address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// New credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<BrokerAuthentication>,
    /// New labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// How a broker knows the controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerAuthentication {
    /// `basic`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name and password.
    pub credentials: BrokerCredentials,
}

impl BrokerAuthentication {
    /// HTTP basic authentication.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        let credentials = BrokerCredentials { username: username.into(), password: password.into() };
        Self { kind: "basic".to_owned(), credentials }
    }
}

/// Name and password of the controller at a broker.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerCredentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for BrokerCredentials {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerCredentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A service that a broker offers, in one or more plans.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceOffering {
    /// Its guid.
    pub guid: Guid,
    /// When it was first seen, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name, as in `create-service NAME PLAN INSTANCE`.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Whether instances can be made of it.
    pub available: bool,
    /// Words that apps find it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What the platform must do for it: `syslog_drain`, `route_forwarding`, `volume_mount`.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Whether instances can be shared between spaces.
    #[serde(default)]
    pub shareable: bool,
    /// Where it is explained.
    #[serde(default)]
    pub documentation_url: Option<String>,
    /// What the broker says of it.
    pub broker_catalog: OfferingCatalog,
    /// `service_broker`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// What a broker's catalog says of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OfferingCatalog {
    /// Its id at the broker.
    pub id: String,
    /// Free facts, such as `displayName`.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// What it can.
    #[serde(default)]
    pub features: OfferingFeatures,
}

/// What a service can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfferingFeatures {
    /// Its instances can change their plan.
    pub plan_updateable: bool,
    /// Its instances can be bound.
    pub bindable: bool,
    /// Its instances can be asked for.
    pub instances_retrievable: bool,
    /// Its bindings can be asked for.
    pub bindings_retrievable: bool,
    /// It wants to hear of new names.
    pub allow_context_updates: bool,
}

/// One way in which a service is offered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Its guid.
    pub guid: Guid,
    /// When it was first seen, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Who sees it: `public`, `admin`, `organization`.
    pub visibility_type: String,
    /// Whether instances can be made of it.
    pub available: bool,
    /// Whether it costs nothing.
    pub free: bool,
    /// Prices.
    #[serde(default)]
    pub costs: Vec<Value>,
    /// The maintenance that its instances should have.
    #[serde(default)]
    pub maintenance_info: Map<String, Value>,
    /// What the broker says of it.
    pub broker_catalog: PlanCatalog,
    /// JSON schemas of parameters.
    #[serde(default)]
    pub schemas: Value,
    /// `service_offering`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// What a broker's catalog says of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanCatalog {
    /// Its id at the broker.
    pub id: String,
    /// Free facts, such as `bullets`.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Seconds for which its operations may take.
    #[serde(default)]
    pub maximum_polling_duration: Option<u64>,
    /// What it can.
    #[serde(default)]
    pub features: PlanFeatures,
}

/// What a plan can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanFeatures {
    /// Its instances can change to another plan.
    pub plan_updateable: bool,
    /// Its instances can be bound.
    pub bindable: bool,
}

/// `GET`, `PATCH` and `POST /v3/service_plans/:guid/visibility`: who sees a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanVisibility {
    /// `public`, `admin` or `organization`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose members see it, for `organization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organizations: Option<Vec<VisibleTo>>,
}

/// An organization whose members see a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisibleTo {
    /// Its guid.
    pub guid: Guid,
    /// Its name; in answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl From<Named> for VisibleTo {
    fn from(named: Named) -> Self {
        Self { guid: named.guid, name: None }
    }
}

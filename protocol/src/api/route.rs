//! Routes, their destinations, domains.

use super::{Guid, Links, Metadata, Named, Relationships, ToMany, ToOne};
use serde::{Deserialize, Serialize};

/// A name under which apps answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Its guid.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// `http`.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The part before the domain; empty for the domain itself.
    pub host: String,
    /// Path with its `/`, or empty.
    pub path: String,
    /// TCP port; never here.
    #[serde(default)]
    pub port: Option<u16>,
    /// All of it, without scheme: `host.domain/path`.
    pub url: String,
    /// Where requests go.
    #[serde(default)]
    pub destinations: Vec<Destination>,
    /// `space`, `domain`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// An app that answers at a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// Its guid.
    #[serde(default)]
    pub guid: Option<Guid>,
    /// The app.
    pub app: DestinationApp,
    /// Share of the requests; never here.
    #[serde(default)]
    pub weight: Option<u32>,
    /// Port in the container; the app's own.
    #[serde(default)]
    pub port: Option<u16>,
    /// `http1`.
    #[serde(default)]
    pub protocol: Option<String>,
}

impl Destination {
    /// Requests go to this app.
    pub fn to_app(app: impl Into<Guid>) -> Self {
        Self {
            guid: None,
            app: DestinationApp { guid: app.into(), process: None },
            weight: None,
            port: None,
            protocol: None,
        }
    }
}

/// The app of a destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DestinationApp {
    /// Its guid.
    pub guid: Guid,
    /// Its process; `web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessType>,
}

/// Names a process by its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessType {
    /// `web`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// Body of `GET` and `POST /v3/routes/:guid/destinations`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Destinations {
    /// The destinations.
    pub destinations: Vec<Destination>,
    /// Links.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub links: Links,
}

/// `POST /v3/routes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateRoute {
    /// The part before the domain.
    #[serde(default)]
    pub host: String,
    /// Path with its `/`.
    #[serde(default)]
    pub path: String,
    /// Space and domain.
    pub relationships: InSpaceAndDomain,
}

/// Belongs to a space and a domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InSpaceAndDomain {
    /// Which space.
    pub space: ToOne,
    /// Which domain.
    pub domain: ToOne,
}

/// A domain under which routes are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Domain {
    /// Its guid.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name.
    pub name: String,
    /// Only between apps.
    #[serde(default)]
    pub internal: bool,
    /// For TCP routes; never here.
    #[serde(default)]
    pub router_group: Option<Named>,
    /// `http`.
    #[serde(default)]
    pub supported_protocols: Vec<String>,
    /// Whose it is.
    #[serde(default)]
    pub relationships: DomainRelationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// Whose a domain is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DomainRelationships {
    /// The owner; none for a domain that everybody shares.
    #[serde(default)]
    pub organization: ToOne,
    /// Others that may use it.
    #[serde(default)]
    pub shared_organizations: ToMany,
}

/// `POST /v3/domains`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateDomain {
    /// Its name.
    pub name: String,
}

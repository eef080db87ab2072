//! Quotas: how much an organization or a space may use.

use super::{Guid, Links, ToMany, ToOne};
use serde::{Deserialize, Serialize};

/// A limit. In answers it is there, and null when nothing is limited; in changes an absent one stays as it is.
pub type Limit = Option<Option<u64>>;

/// Tells null from absent.
mod limit {
    use super::Limit;
    use serde::{Deserialize, Deserializer};

    pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
        Option::<u64>::deserialize(deserializer).map(Some)
    }
}

/// Limits of apps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AppLimits {
    /// Memory of all started instances together, in MiB.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub total_memory_in_mb: Limit,
    /// Memory of one instance, in MiB.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub per_process_memory_in_mb: Limit,
    /// Started instances.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub total_instances: Limit,
    /// Tasks of one app: there are none yet.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub per_app_tasks: Limit,
    /// Bytes of log each second: not limited yet.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub log_rate_limit_in_bytes_per_second: Limit,
}

/// Limits of services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceLimits {
    /// Whether plans that cost money may be chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_services_allowed: Option<bool>,
    /// Service instances.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub total_service_instances: Limit,
    /// Service keys: not limited yet.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub total_service_keys: Limit,
}

/// Limits of routes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteLimits {
    /// Routes.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub total_routes: Limit,
    /// Routes with a port: there are none yet.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub total_reserved_ports: Limit,
}

/// Limits of domains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DomainLimits {
    /// Private domains: there are none yet.
    #[serde(deserialize_with = "limit::read", skip_serializing_if = "Option::is_none")]
    pub total_domains: Limit,
}

/// A quota of organizations or of spaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    /// Its guid.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name, unique; that of spaces in its organization.
    pub name: String,
    /// Limits of apps.
    #[serde(default)]
    pub apps: AppLimits,
    /// Limits of services.
    #[serde(default)]
    pub services: ServiceLimits,
    /// Limits of routes.
    #[serde(default)]
    pub routes: RouteLimits,
    /// Limits of domains; a quota of spaces has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domains: Option<DomainLimits>,
    /// To whom it applies.
    #[serde(default)]
    pub relationships: QuotaSides,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// To whom a quota applies, and whose it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaSides {
    /// Organizations that have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organizations: Option<ToMany>,
    /// The organization of a quota of spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<ToOne>,
    /// Spaces that have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spaces: Option<ToMany>,
}

/// `POST` and `PATCH` of quotas.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuotaChange {
    /// Name; a new quota must have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Limits of apps.
    pub apps: AppLimits,
    /// Limits of services.
    pub services: ServiceLimits,
    /// Limits of routes.
    pub routes: RouteLimits,
    /// Limits of domains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domains: Option<DomainLimits>,
    /// To whom it shall apply from the start, and whose it is.
    pub relationships: QuotaSides,
}

/// `GET /v3/organizations/GUID/usage_summary`, and that of a space.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UsageSummary {
    /// What is used.
    pub usage_summary: Usage,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// What an organization or a space uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Started instances.
    pub started_instances: u64,
    /// Memory of all of them together, in MiB.
    pub memory_in_mb: u64,
    /// Routes.
    pub routes: u64,
    /// Service instances.
    pub service_instances: u64,
}

//! One struct per table.

use crate::access::Role;
use cupola_protocol::{
    AppId, Mebibytes, Version,
    api::{Lifecycle, LifecycleData},
    controller::DesiredState,
    dea::HealthCheck,
};
use std::collections::BTreeMap;

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct UserRow {
    pub guid: String,
    pub name: String,
    pub password_hash: String,
    #[sqlx(try_from = "super::Flag")]
    pub admin: bool,
    #[sqlx(try_from = "super::Flag")]
    pub admin_read_only: bool,
    /// Whether the controller knows the user, or UAA alone.
    #[sqlx(try_from = "super::Flag")]
    pub known: bool,
    pub created_at: String,
    pub updated_at: String,
}

impl UserRow {
    /// What the user is on the whole platform.
    pub(crate) fn platform_role(&self) -> Option<Role> {
        if self.admin {
            Some(Role::Administrator)
        } else {
            self.admin_read_only.then_some(Role::ReadOnlyAdministrator)
        }
    }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct OrganizationRow {
    pub guid: String,
    pub name: String,
    #[sqlx(try_from = "super::Flag")]
    pub suspended: bool,
    pub quota_guid: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct SpaceRow {
    pub guid: String,
    pub name: String,
    pub organization_guid: String,
    pub quota_guid: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct RoleRow {
    pub guid: String,
    pub kind: String,
    pub user_guid: String,
    pub organization_guid: Option<String>,
    pub space_guid: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct DomainRow {
    pub guid: String,
    pub name: String,
    pub created_at: String,
    pub updated_at: String,
}

/// An app with its process `web`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct AppRow {
    pub guid: String,
    pub name: String,
    pub space_guid: String,
    /// `STARTED` or `STOPPED`.
    pub state: String,
    pub version: String,
    /// JSON array.
    pub buildpacks: String,
    pub stack: String,
    /// JSON object.
    pub environment: String,
    pub droplet_guid: Option<String>,
    pub command: Option<String>,
    pub instances: i64,
    pub memory_mb: i64,
    pub disk_mb: i64,
    /// `port`, `process` or `http`.
    pub health_check_type: String,
    pub health_check_endpoint: Option<String>,
    pub health_check_timeout: Option<i64>,
    pub health_check_invocation_timeout: Option<i64>,
    pub started_at: String,
    pub created_at: String,
    pub updated_at: String,
}

impl AppRow {
    pub(crate) fn id(&self) -> AppId {
        AppId::new(self.guid.clone())
    }

    pub(crate) fn version(&self) -> Version {
        Version::new(self.version.clone())
    }

    pub(crate) fn desired(&self) -> DesiredState {
        if self.state == "STARTED" { DesiredState::Started } else { DesiredState::Stopped }
    }

    pub(crate) fn started(&self) -> bool {
        self.desired() == DesiredState::Started
    }

    pub(crate) fn instances(&self) -> u32 {
        u32::try_from(self.instances).unwrap_or(0)
    }

    pub(crate) fn memory(&self) -> Mebibytes {
        mebibytes(self.memory_mb)
    }

    pub(crate) fn disk(&self) -> Mebibytes {
        mebibytes(self.disk_mb)
    }

    pub(crate) fn health_check(&self) -> HealthCheck {
        match self.health_check_type.as_str() {
            "http" => HealthCheck::Http,
            "process" => HealthCheck::Process,
            _ => HealthCheck::Port,
        }
    }

    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        serde_json::from_str(&self.environment).unwrap_or_default()
    }

    pub(crate) fn lifecycle(&self) -> Lifecycle {
        lifecycle(&self.buildpacks, &self.stack)
    }
}

/// How a health check is spelled in a row.
pub(crate) fn health_check_name(check: HealthCheck) -> &'static str {
    match check {
        HealthCheck::Port => "port",
        HealthCheck::Process => "process",
        HealthCheck::Http => "http",
    }
}

/// A size from a row.
pub(crate) fn mebibytes(number: i64) -> Mebibytes {
    Mebibytes(u64::try_from(number).unwrap_or(0))
}

/// A number for a row; what is too large for one is clamped.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A list or map for a row.
pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A list from a row.
pub(crate) fn names(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_default()
}

/// A way of staging from its columns.
pub(crate) fn lifecycle(buildpacks: &str, stack: &str) -> Lifecycle {
    let data = LifecycleData { buildpacks: Some(names(buildpacks)), stack: Some(stack.to_owned()) };
    Lifecycle { kind: "buildpack".to_owned(), data }
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct PackageRow {
    pub guid: String,
    pub app_guid: String,
    /// As the API spells it.
    pub state: String,
    pub sha256: Option<String>,
    pub error: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct BuildRow {
    pub guid: String,
    pub app_guid: String,
    pub package_guid: String,
    pub droplet_guid: Option<String>,
    /// As the API spells it.
    pub state: String,
    pub error: Option<String>,
    pub memory_mb: i64,
    pub disk_mb: i64,
    pub buildpacks: String,
    pub stack: String,
    pub created_by_guid: String,
    pub created_by_name: String,
    pub upload_sha256: Option<String>,
    pub upload_sha1: Option<String>,
    pub upload_size: Option<i64>,
    pub takeovers: i64,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct DropletRow {
    pub guid: String,
    pub app_guid: String,
    pub package_guid: String,
    pub build_guid: String,
    pub sha256: String,
    pub sha1: String,
    pub size: i64,
    /// JSON object.
    pub process_types: String,
    pub buildpack: Option<String>,
    pub detected: Option<String>,
    pub buildpacks: String,
    pub stack: String,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct RouteRow {
    pub guid: String,
    pub host: String,
    pub path: String,
    pub domain_guid: String,
    pub space_guid: String,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct DestinationRow {
    pub guid: String,
    pub app_guid: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct CrashRow {
    pub idx: i64,
    pub version: String,
    pub exit_status: i64,
    pub description: String,
}

#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct JobRow {
    pub guid: String,
    pub operation: String,
    pub state: String,
    pub errors: String,
    pub user_guid: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

//! Processes of apps, and their instances.

use super::{Guid, Links, Metadata, Relationships};
use crate::{Bytes, Mebibytes, dea};
use serde::{Deserialize, Serialize};

/// One kind of process of an app; ours have `web`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Its guid; the process `web` has that of its app.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// `web`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The start command, if it is not the droplet's own.
    pub command: Option<String>,
    /// Instances that should run.
    pub instances: u32,
    /// Memory of each.
    pub memory_in_mb: Mebibytes,
    /// Writable disk of each.
    pub disk_in_mb: Mebibytes,
    /// Bytes of log each second; −1 means no limit.
    #[serde(default = "no_limit")]
    pub log_rate_limit_in_bytes_per_second: i64,
    /// How health is found out.
    pub health_check: HealthCheck,
    /// `app`, `revision`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

fn no_limit() -> i64 {
    -1
}

/// How health is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// Port, process or HTTP.
    #[serde(rename = "type")]
    pub kind: dea::HealthCheck,
    /// Details.
    #[serde(default)]
    pub data: HealthCheckData,
}

/// Details of a health check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheckData {
    /// Seconds until an instance must be healthy; the platform's default when absent.
    #[serde(default)]
    pub timeout: Option<u64>,
    /// Seconds that one check may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_timeout: Option<u64>,
    /// Seconds between two checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// Path of an HTTP check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// `PATCH /v3/processes/:guid`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateProcess {
    /// New start command; null goes back to the droplet's own.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe")]
    pub command: Option<Option<String>>,
    /// New health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
}

/// Tells "null" from "absent".
mod maybe {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` calls it with this type")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Option<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value.clone().flatten().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<String>>, D::Error> {
        Option::<String>::deserialize(deserializer).map(Some)
    }
}

/// `POST /v3/processes/:guid/actions/scale`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Instances that should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// Memory of each; takes effect at the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_in_mb: Option<Mebibytes>,
    /// Disk of each; takes effect at the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_in_mb: Option<Mebibytes>,
    /// Bytes of log each second; −1 means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_rate_limit_in_bytes_per_second: Option<i64>,
}

/// `GET /v3/processes/:guid/stats`: every index that should run, and how it stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessStats {
    /// The instances, by index.
    pub resources: Vec<InstanceStats>,
}

/// How one instance stands, for its developer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum InstanceStatus {
    /// Healthy.
    Running,
    /// Being made, or not healthy yet.
    Starting,
    /// It ended by itself, or never became healthy; it will be tried again.
    Crashed,
    /// Nobody runs it now.
    Down,
    /// Told to end.
    Stopping,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStats {
    /// `web`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its index.
    pub index: u32,
    /// Its state.
    pub state: InstanceStatus,
    /// What it uses; none unless it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<InstanceUsage>,
    /// Address at which the router reaches it.
    #[serde(default)]
    pub host: Option<String>,
    /// Its ports.
    #[serde(default)]
    pub instance_ports: Vec<InstancePort>,
    /// Seconds since it started.
    #[serde(default)]
    pub uptime: u64,
    /// Memory limit.
    #[serde(default)]
    pub mem_quota: Option<Bytes>,
    /// Disk limit.
    #[serde(default)]
    pub disk_quota: Option<Bytes>,
    /// Open files limit.
    #[serde(default)]
    pub fds_quota: u64,
    /// Bytes of log each second; −1 means no limit.
    #[serde(default)]
    pub log_rate_limit: Option<i64>,
    /// Always none here.
    #[serde(default)]
    pub isolation_segment: Option<String>,
    /// Why it does not run: the last crash, or that no node has room.
    #[serde(default)]
    pub details: Option<String>,
    /// Whether the router sends it requests.
    #[serde(default)]
    pub routable: Option<bool>,
}

/// What one instance uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceUsage {
    /// When it was measured, RFC 3339.
    pub time: String,
    /// Share of one core: 1.0 is a whole core.
    pub cpu: f64,
    /// Memory without reclaimable cache.
    pub mem: Bytes,
    /// Writable disk.
    pub disk: Bytes,
    /// Bytes of log each second; not measured, 0.
    #[serde(default)]
    pub log_rate: u64,
}

/// One port of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancePort {
    /// On the node.
    pub external: u16,
    /// In the container.
    pub internal: u16,
}

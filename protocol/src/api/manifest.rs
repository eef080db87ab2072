//! The manifest: what a developer writes in `manifest.yml`, and clients send as YAML.

use crate::{Mebibytes, dea::HealthCheck, size::InvalidSize};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format; 1 or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The apps.
    #[serde(default)]
    pub applications: Vec<ManifestApp>,
}

/// One app of a manifest. What is absent stays as it is, or gets the platform's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManifestApp {
    /// Its name.
    pub name: String,
    /// Where its source is, for the client alone; relative to the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Memory of each instance, with unit: `256M`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Disk of each instance, with unit.
    #[serde(default, rename = "disk_quota", alias = "disk-quota", skip_serializing_if = "Option::is_none")]
    pub disk_quota: Option<String>,
    /// Bytes of log each second, with unit; −1 means no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_rate_limit_per_second: Option<Value>,
    /// Instances that should run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// Buildpacks by name or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpacks: Option<Vec<String>>,
    /// One buildpack: the older way to say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack: Option<String>,
    /// Start command; `default` or `null` as text goes back to the droplet's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Environment; numbers and booleans become text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Value>,
    /// Routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<ManifestRoute>>,
    /// No route at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_route: Option<bool>,
    /// A route with a random host, when the app has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_route: Option<bool>,
    /// A route with the app's name as host, when the app has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// The stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// How health is found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_type: Option<HealthCheck>,
    /// Path of the HTTP health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_http_endpoint: Option<String>,
    /// Seconds that one check may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_invocation_timeout: Option<u64>,
    /// Seconds until an instance must be healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// Service instances that the app is bound to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ManifestService>,
    /// The same for each process type; ours have `web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<ManifestProcess>>,
    /// What this format knows and we do not: so that it is refused by name rather than overlooked.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// One process of an app of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ManifestProcess {
    /// `web`.
    #[serde(rename = "type")]
    pub kind: String,
    /// As in [`ManifestApp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// As in [`ManifestApp`].
    #[serde(default, rename = "disk_quota", alias = "disk-quota", skip_serializing_if = "Option::is_none")]
    pub disk_quota: Option<String>,
    /// As in [`ManifestApp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
    /// As in [`ManifestApp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// As in [`ManifestApp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_type: Option<HealthCheck>,
    /// As in [`ManifestApp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_http_endpoint: Option<String>,
    /// As in [`ManifestApp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// As in [`ManifestApp`].
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A service instance that an app of a manifest is bound to: its name, or more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ManifestService {
    /// Its name.
    Name(String),
    /// Its name, and how it is bound.
    Detailed {
        /// Its name.
        name: String,
        /// What its broker should know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameters: Option<serde_json::Map<String, Value>>,
        /// Name of the binding.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        binding_name: Option<String>,
    },
}

impl ManifestService {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Detailed { name, .. } => name,
        }
    }
}

/// One route of an app of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRoute {
    /// `host.domain/path`.
    pub route: String,
}

impl ManifestApp {
    /// Memory of each instance.
    pub fn memory_size(&self) -> Result<Option<Mebibytes>, InvalidSize> {
        self.memory.as_deref().map(str::parse).transpose()
    }

    /// Disk of each instance.
    pub fn disk_size(&self) -> Result<Option<Mebibytes>, InvalidSize> {
        self.disk_quota.as_deref().map(str::parse).transpose()
    }

    /// Buildpacks, whichever way they were said; an empty list when `default` or `null` asks for detection,
    /// none when nothing was said.
    pub fn buildpack_list(&self) -> Option<Vec<String>> {
        let list = match (&self.buildpacks, &self.buildpack) {
            (Some(list), _) => list.clone(),
            (None, Some(one)) => vec![one.clone()],
            (None, None) => return None,
        };
        Some(list.into_iter().filter(|name| name != "default" && name != "null").collect())
    }
}

/// `POST /v3/spaces/:guid/manifest_diff`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ManifestDiff {
    /// What applying the manifest would change, as JSON Patch (RFC 6902) operations.
    pub diff: Vec<Value>,
}

//! What API v2 says of the instances of an app, and v3 does not: `/v2/apps/:guid/instances`, `stats`, `crashes`.

use super::InstanceStatus;
use crate::{InstanceId, Version, dea};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /v2/apps/:guid/instances`: each index, as text.
pub type InstancesV2 = BTreeMap<String, InstanceV2>;

/// How one index stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceV2 {
    /// Its state.
    pub state: InstanceStatus,
    /// Since when it runs, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<f64>,
    /// Seconds for which it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<u64>,
    /// Why it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

/// `GET /v2/apps/:guid/stats`: each index, as text.
pub type StatsV2 = BTreeMap<String, InstanceStatsV2>;

/// Figures of one index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatsV2 {
    /// Its state.
    pub state: InstanceStatus,
    /// Figures, when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<dea::InstanceStats>,
}

/// One of `GET /v2/apps/:guid/crashes`: an instance that has ended by itself lately, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crash {
    /// The instance, whose log files can be asked for.
    pub instance: InstanceId,
    /// When it crashed, in seconds since 1970.
    pub since: f64,
    /// Ours: its index.
    #[serde(default)]
    pub index: u32,
    /// Ours: its version; another than the app's when the app was changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Ours: why it crashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

//! Conversations with the health manager: `healthmanager.*`, `hm9000.*`, `app.state`.

use crate::{
    dea::InstanceHeartbeat,
    message::{Event, Request},
    *,
};
use serde::{Deserialize, Serialize};

/// Queue group in which controllers take the health manager's wishes: one of them acts.
pub const CONTROLLER_QUEUE: &str = "cc";

/// `healthmanager.start`: a health manager has come up; agents send a heartbeat now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Started {}
impl Event for Started {
    const SUBJECT: &'static str = "healthmanager.start";
}

/// `hm9000.start`: an instance is missing; the controller checks and starts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartInstance {
    /// For logs.
    pub message_id: String,
    /// The app.
    pub droplet: AppId,
    /// Its version.
    pub version: Version,
    /// The missing index.
    pub instance_index: u32,
}
impl Event for StartInstance {
    const SUBJECT: &'static str = "hm9000.start";
}

/// `hm9000.stop`: an instance is extra; the controller checks and stops it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopInstance {
    /// For logs.
    pub message_id: String,
    /// The app.
    pub droplet: AppId,
    /// Its version.
    pub version: Version,
    /// The extra instance.
    pub instance_guid: InstanceId,
    /// Its index.
    pub instance_index: u32,
    /// Another one runs at the same index.
    pub is_duplicate: bool,
}
impl Event for StopInstance {
    const SUBJECT: &'static str = "hm9000.stop";
}

/// `app.state`: what the health manager knows of one app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppStateRequest {
    /// The app.
    pub droplet: AppId,
    /// Its version.
    pub version: Version,
}
impl Request for AppStateRequest {
    type Reply = AppState;
}
impl Event for AppStateRequest {
    const SUBJECT: &'static str = "app.state";
}

/// The answer; all fields empty when it is not fresh.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AppState {
    /// The app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet: Option<AppId>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Instances seen.
    #[serde(default)]
    pub instance_heartbeats: Vec<InstanceHeartbeat>,
    /// Crashes counted.
    #[serde(default)]
    pub crash_counts: Vec<CrashCount>,
}

/// Crashes of one index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrashCount {
    /// The app.
    pub droplet: AppId,
    /// Its version.
    pub version: Version,
    /// The index.
    pub instance_index: u32,
    /// Crashes in a row.
    pub crash_count: u32,
    /// Since when, in seconds since 1970.
    pub created_at: f64,
}

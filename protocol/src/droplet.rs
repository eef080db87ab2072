//! News of droplets: `droplet.*`.

use crate::{message::Event, *};
use serde::{Deserialize, Serialize};

/// Why an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExitReason {
    /// By itself, by its limits, or it never became healthy.
    Crashed,
    /// As told.
    Stopped,
    /// Its agent goes.
    DeaShutdown,
    /// Its agent is being emptied.
    DeaEvacuation,
}

/// `droplet.exited`: an instance has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exited {
    /// Partition; `default`.
    #[serde(default = "crate::dea::default_partition")]
    pub cc_partition: String,
    /// The app.
    pub droplet: AppId,
    /// Its version.
    pub version: Version,
    /// The instance.
    pub instance: InstanceId,
    /// Its index.
    pub index: u32,
    /// Why.
    pub reason: ExitReason,
    /// Exit status of its process, 255 when a signal ended it; −1 when it never had one.
    pub exit_status: i32,
    /// Why, in words for its developer.
    pub exit_description: String,
    /// When, in seconds since 1970; only for crashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_timestamp: Option<f64>,
}
impl Event for Exited {
    const SUBJECT: &'static str = "droplet.exited";
}

/// `droplet.updated`: the desired state of an app has changed; look at it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Updated {
    /// The app.
    pub droplet: AppId,
    /// Partition; `default`.
    #[serde(default = "crate::dea::default_partition")]
    pub cc_partition: String,
}
impl Event for Updated {
    const SUBJECT: &'static str = "droplet.updated";
}

//! Conversations with stagers: `staging.*`.

use crate::{
    message::{Event, Request, Subject},
    *,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `staging.locate`: every stager advertises now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Locate {}
impl Event for Locate {
    const SUBJECT: &'static str = "staging.locate";
}

/// `staging.advertise`, every 5 s: what a stager could still take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advertise {
    /// The stager.
    pub id: StagerId,
    /// Names of its stacks.
    pub stacks: Vec<String>,
    /// Memory not yet reserved.
    pub available_memory: Mebibytes,
    /// Disk not yet reserved.
    #[serde(default)]
    pub available_disk: Mebibytes,
    /// Ours: names of the system buildpacks, in the order in which they are tried.
    #[serde(default)]
    pub buildpacks: Vec<String>,
}
impl Event for Advertise {
    const SUBJECT: &'static str = "staging.advertise";
}

/// Subject on which one stager is told to stage: `staging.<id>.start`.
pub fn start_subject(stager: &StagerId) -> Subject {
    Subject::new(format!("staging.{stager}.start"))
}

/// `staging.<id>.start`: stage an app. Answered twice with [`Reply`]: when the container stands, and at the
/// end. When it is refused there is one answer, with an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The app.
    pub app_id: AppId,
    /// The staging.
    pub task_id: TaskId,
    /// What the app is.
    pub properties: Properties,
    /// Stack to stage on.
    pub stack: String,
    /// GET gives the package, a zip; carries its own authority.
    pub download_uri: String,
    /// POST takes the droplet as a raw body, `application/gzip`, with its hex SHA-256 in the header
    /// `X-Droplet-Sha256`; carries its own authority.
    pub upload_uri: String,
    /// GET gives the app's buildpack cache, a tar.gz, or 404.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_cache_download_uri: Option<String>,
    /// POST takes the app's buildpack cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_cache_upload_uri: Option<String>,
    /// Memory of the staging container.
    pub memory_limit: Mebibytes,
    /// Disk of the staging container.
    pub disk_limit: Mebibytes,
    /// Ours: the largest droplet that could run: the app's own disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_disk_limit: Option<Mebibytes>,
    /// Seconds until staging is given up; the stager's own limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// What the container may reach beside the stager's default: the app's services.
    #[serde(default)]
    pub egress_network_rules: Vec<crate::dea::EgressRule>,
}
impl Request for Start {
    type Reply = Reply;
}

/// What the app is, for its buildpack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Properties {
    /// Bound services, as they go into VCAP_SERVICES.
    #[serde(default)]
    pub services: Vec<serde_json::Value>,
    /// User environment as `NAME=value`.
    #[serde(default)]
    pub environment: Vec<String>,
    /// Wishes that win over what the buildpack finds.
    #[serde(default)]
    pub meta: Meta,
    /// Buildpack by name or address; without it each is asked in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack: Option<String>,
    /// The controller's part of VCAP_APPLICATION.
    #[serde(default)]
    pub vcap_application: serde_json::Map<String, serde_json::Value>,
}

/// Wishes of the developer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// Start command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// An answer of a stager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// The staging.
    pub task_id: TaskId,
    /// The app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<AppId>,
    /// Ours: false for the first answer of two, true when nothing follows.
    #[serde(default)]
    pub done: bool,
    /// What the buildpack calls the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected_buildpack: Option<String>,
    /// The buildpack that staged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buildpack_key: Option<String>,
    /// The command of the process `web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected_start_command: Option<String>,
    /// All process types and their commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procfile: Option<BTreeMap<String, String>>,
    /// Hex SHA-1 of the droplet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet_sha1: Option<String>,
    /// Ours: hex SHA-256 of the droplet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet_sha256: Option<String>,
    /// Why it failed, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it failed, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_info: Option<ErrorInfo>,
}

/// Why a staging failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorInfo {
    /// Stable name: `NoAppDetectedError`, `BuildpackCompileFailed`, `BuildpackReleaseFailed`,
    /// `StagingTimeExpired`, `InsufficientResources`, `AppBitsInvalid`, `StackNotFound`, `StagingError`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The sentence, with what to do.
    pub message: String,
    /// Ours: the phase that failed: `download`, `unpack`, `detect`, `compile`, `release`, `pack`, `upload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Ours: exit status of the phase's program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<i32>,
    /// Ours: its last lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
}

/// `staging.stop`: give up the stagings of this app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// The app.
    pub app_id: AppId,
}
impl Event for Stop {
    const SUBJECT: &'static str = "staging.stop";
}

//! Conversations with the controller: `cloudcontroller.*`, and the desired state that it gives out.

use crate::{
    message::{Event, Request},
    *,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `cloudcontroller.bulk.credentials.default`: how to read the desired state over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BulkCredentialsRequest {}
impl Request for BulkCredentialsRequest {
    type Reply = BulkCredentials;
}
impl Event for BulkCredentialsRequest {
    const SUBJECT: &'static str = "cloudcontroller.bulk.credentials.default";
}

/// Basic credentials of `GET /bulk/apps`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct BulkCredentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: String,
    /// Ours: base address of the controller that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl std::fmt::Debug for BulkCredentials {
    /// Without the password: this lands in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BulkCredentials")
            .field("user", &self.user)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// One page of `GET /bulk/apps?batch_size=N&bulk_token=T`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BulkApps {
    /// Apps by guid. An empty page is the last one.
    pub results: BTreeMap<AppId, DesiredApp>,
    /// What to send for the next page.
    pub bulk_token: serde_json::Value,
}

/// The desired state of one app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredApp {
    /// The app.
    pub id: AppId,
    /// Its version.
    pub version: Version,
    /// Instances that should run.
    pub instances: u32,
    /// Memory of each.
    pub memory: Mebibytes,
    /// STARTED or STOPPED.
    pub state: DesiredState,
    /// Whether there is a droplet.
    pub package_state: PackageState,
    /// Last change, RFC 3339.
    pub updated_at: String,
}

/// What a developer wants of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DesiredState {
    /// To run.
    Started,
    /// Not to run.
    Stopped,
}

/// How far the app's package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PackageState {
    /// Not staged yet.
    Pending,
    /// There is a droplet.
    Staged,
    /// Staging failed.
    Failed,
}

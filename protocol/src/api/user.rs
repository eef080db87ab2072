//! Users as UAA keeps them (SCIM, RFC 7643), and as API v3 takes them.

use super::{Guid, Metadata};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `POST /v3/users`: the controller shall know a user that UAA has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateUser {
    /// The guid that UAA gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<Guid>,
    /// The name instead, as newer clients have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Who keeps the user: `uaa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// `PATCH /v3/users/GUID`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateUser {
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Metadata>,
}

/// `POST /Users`: a new user with a password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateScimUser {
    /// The name.
    pub user_name: String,
    /// The password.
    #[serde(default)]
    pub password: Option<String>,
    /// Who keeps the user: empty or `uaa`.
    #[serde(default)]
    pub origin: String,
    /// Addresses; kept nowhere.
    #[serde(default)]
    pub emails: Vec<ScimEmail>,
    /// What the user is on the platform: `cloud_controller.admin`, `cloud_controller.admin_read_only`. An addition of
    /// ours: UAA changes groups at an address of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<ScimGroup>,
}

impl fmt::Debug for CreateScimUser {
    /// Without the password: this lands in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateScimUser").field("user_name", &self.user_name).finish_non_exhaustive()
    }
}

/// An address of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScimEmail {
    /// The address.
    pub value: String,
    /// Whether it is the first one.
    #[serde(default)]
    pub primary: bool,
}

/// A group of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScimGroup {
    /// Its name.
    pub display: String,
}

/// A user as UAA shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScimUser {
    /// The guid.
    pub id: Guid,
    /// The name.
    pub user_name: String,
    /// Who keeps the user: `uaa`.
    #[serde(default)]
    pub origin: String,
    /// Addresses.
    #[serde(default)]
    pub emails: Vec<ScimEmail>,
    /// What the user is on the platform.
    #[serde(default)]
    pub groups: Vec<ScimGroup>,
    /// Whether the user can log in.
    #[serde(default)]
    pub active: bool,
}

/// `GET /Users?filter=…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScimUsers {
    /// The users of this page.
    pub resources: Vec<ScimUser>,
    /// The number of the first of them, from 1.
    pub start_index: u64,
    /// How many a page has at most.
    pub items_per_page: u64,
    /// On all pages.
    pub total_results: u64,
    /// `urn:scim:schemas:core:1.0`.
    pub schemas: Vec<String>,
}

/// `PUT /Users/GUID/password`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangePassword {
    /// The password so far; an administrator needs none for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_password: Option<String>,
    /// The new one.
    pub password: String,
}

impl fmt::Debug for ChangePassword {
    /// Without the passwords: this lands in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangePassword").finish_non_exhaustive()
    }
}

//! Organizations, spaces, users, roles.

use super::{Guid, Links, Metadata, Page, Relationships, ToOne};
use serde::{Deserialize, Serialize};

/// An organization: spaces that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Organization {
    /// Its guid.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name, unique.
    pub name: String,
    /// Whether only administrators may change it.
    #[serde(default)]
    pub suspended: bool,
    /// `quota`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// A space: where apps live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Space {
    /// Its guid.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name, unique in its organization.
    pub name: String,
    /// `organization`, `quota`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// `POST /v3/organizations`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateOrganization {
    /// Its name.
    pub name: String,
}

/// `PATCH /v3/organizations/GUID`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateOrganization {
    /// New name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether only administrators may change it; only they may say so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
}

/// `PATCH /v3/spaces/GUID`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdateSpace {
    /// New name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// `POST /v3/spaces`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateSpace {
    /// Its name.
    pub name: String,
    /// Where it belongs.
    pub relationships: InOrganization,
}

/// Belongs to an organization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InOrganization {
    /// Which one.
    pub organization: ToOne,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Its guid.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// Its name.
    pub username: Option<String>,
    /// How it is shown.
    pub presentation_name: String,
    /// Who keeps it: `uaa`.
    pub origin: Option<String>,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// What a user may do somewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its guid.
    pub guid: Guid,
    /// When it was given, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// `organization_user`, `space_developer`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `user`, `organization`, `space`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Links.
    #[serde(default)]
    pub links: Links,
}

/// `POST /v3/roles`: the user by guid or, as the `cf` CLI does it, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreateRole {
    /// `organization_user`, `space_developer`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Who, and where.
    pub relationships: RoleSides,
}

/// Who gets a role, and where: an organization or a space.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleSides {
    /// Who.
    pub user: RoleUser,
    /// For a role in an organization.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<ToOne>,
    /// For a role in a space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<ToOne>,
}

/// Who gets a role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleUser {
    /// Who.
    pub data: RoleUserName,
}

/// A user, by guid or by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleUserName {
    /// The guid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<Guid>,
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Who keeps the user: `uaa`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// `GET /v3/roles`, with the users of the roles when the query says `include=user`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolePage {
    /// The page.
    #[serde(flatten)]
    pub page: Page<Role>,
    /// What was asked for besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub included: Option<IncludedUsers>,
}

/// Users that a list names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IncludedUsers {
    /// Each once.
    #[serde(default)]
    pub users: Vec<User>,
}

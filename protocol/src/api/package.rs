//! Packages: the source of an app, and the files that the platform already has.

use super::{Guid, Links, Metadata, Relationships, ToOne};
use serde::{Deserialize, Serialize};

/// How far a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PackageStatus {
    /// It has no bits yet.
    AwaitingUpload,
    /// Its bits are being checked.
    ProcessingUpload,
    /// It can be staged.
    Ready,
    /// Its bits were no good.
    Failed,
    /// It is being copied.
    Copying,
    /// Its bits were collected.
    Expired,
}

/// The source of an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Package {
    /// Its guid.
    pub guid: Guid,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was changed, RFC 3339.
    pub updated_at: String,
    /// `bits`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its checksum, or why it failed.
    #[serde(default)]
    pub data: PackageData,
    /// How far it is.
    pub state: PackageStatus,
    /// `app`.
    #[serde(default)]
    pub relationships: Relationships,
    /// Labels.
    #[serde(default)]
    pub metadata: Metadata,
    /// Links: `upload` is where the bits go.
    #[serde(default)]
    pub links: Links,
}

/// Checksum of a package, or why it failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageData {
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Its checksum; the value is absent until it is ready.
    #[serde(default)]
    pub checksum: Checksum,
}

/// A checksum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// `sha256` or `sha1`; absent in resource matches, where it is SHA-1.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// In hex.
    #[serde(default)]
    pub value: Option<String>,
}

/// `POST /v3/packages`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CreatePackage {
    /// `bits`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its app.
    pub relationships: OfApp,
}

/// Belongs to an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OfApp {
    /// Which one.
    pub app: ToOne,
}

/// `POST /v3/resource_matches`, both ways: files that a client has; those of them that the platform has too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceMatches {
    /// The files.
    pub resources: Vec<FileResource>,
}

/// One file, by its content. A JSON array of these is the part `resources` of an upload: files that the client
/// did not send because the platform has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileResource {
    /// Path in the app, with `/`.
    #[serde(default)]
    pub path: String,
    /// Permissions in octal: `644`.
    #[serde(default)]
    pub mode: String,
    /// Hex SHA-1 of its content.
    pub checksum: Checksum,
    /// Its size.
    pub size_in_bytes: u64,
}

//! Where things are: `GET /`, `GET /v3`, `GET /v3/info`.

use super::Link;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `GET /` and `GET /v3`: links by name; none for what is not there.
///
/// `GET /` names `cloud_controller_v3`, `uaa`, `login`, `log_cache`, `logging` and more; `GET /v3` names every
/// resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// The links.
    pub links: BTreeMap<String, Option<Link>>,
}

impl Root {
    /// The address behind a name.
    pub fn href(&self, name: &str) -> Option<&str> {
        self.links.get(name)?.as_ref().map(|link| link.href.as_str())
    }
}

/// `GET /v3/info`: what the platform says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// Version of the platform.
    #[serde(default)]
    pub build: String,
    /// Which `cf` CLI it wants.
    #[serde(default)]
    pub cli_version: CliVersion,
    /// Free facts.
    #[serde(default)]
    pub custom: serde_json::Map<String, serde_json::Value>,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Generation of the platform; a number by the contract.
    #[serde(default)]
    pub version: u32,
    /// Links: `self`, `support`.
    #[serde(default)]
    pub links: BTreeMap<String, Link>,
}

/// Which `cf` CLI a platform wants; empty when it does not care.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CliVersion {
    /// The oldest that works.
    #[serde(default)]
    pub minimum: String,
    /// The one to use.
    #[serde(default)]
    pub recommended: String,
}

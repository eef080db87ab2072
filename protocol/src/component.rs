//! How components make themselves known: `vcap.component.*`.

use crate::message::{Event, Request};
use serde::{Deserialize, Serialize};

/// `vcap.component.discover`: every component answers with its [`Announce`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Discover {}
impl Request for Discover {
    type Reply = Announce;
}
impl Event for Discover {
    const SUBJECT: &'static str = "vcap.component.discover";
}

/// `vcap.component.announce`: a component has come up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announce {
    /// What it is: `DEA`, `Router`, `CloudController`, `HealthManager`, `Stager`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one of its kind.
    pub index: u32,
    /// `<index>-<uuid>`.
    pub uuid: String,
    /// `ip:port` of its status page; empty when it has none.
    pub host: String,
    /// Basic credentials of the status page.
    #[serde(default)]
    pub credentials: Vec<String>,
    /// Since when it runs: `2012-06-20 10:00:00 +0000`.
    pub start: String,
    /// How long it has run, as `0d:0h:1m:2s`; in answers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<String>,
}
impl Event for Announce {
    const SUBJECT: &'static str = "vcap.component.announce";
}

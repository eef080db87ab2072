//! Conversations with routers: `router.*`.

use crate::{
    message::{Event, Request},
    *,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `router.register`: an endpoint serves these routes; repeated while it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// Address of the endpoint.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Routes, as `host` or `host/path`.
    pub uris: Vec<String>,
    /// Free words about the endpoint.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The app, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppId>,
    /// The agent that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dea: Option<DeaId>,
    /// The instance: another one on the same address replaces this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_instance_id: Option<InstanceId>,
    /// Its index, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_instance_index: Option<String>,
    /// Seconds after which a registration that was not repeated is stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_threshold_in_seconds: Option<u64>,
}
impl Event for Register {
    const SUBJECT: &'static str = "router.register";
}

/// `router.unregister`: the endpoint no longer serves these routes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unregister(pub Register);
impl Event for Unregister {
    const SUBJECT: &'static str = "router.unregister";
}

/// `router.start`: a router has come up and asks everybody to register at this pace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The router.
    pub id: RouterId,
    /// Its addresses.
    pub hosts: Vec<String>,
    /// Seconds between two registrations of one endpoint.
    #[serde(rename = "minimumRegisterIntervalInSeconds")]
    pub minimum_register_interval: u64,
    /// Seconds after which a silent endpoint is dropped.
    #[serde(default, rename = "pruneThresholdInSeconds", skip_serializing_if = "Option::is_none")]
    pub prune_threshold: Option<u64>,
}
impl Event for Start {
    const SUBJECT: &'static str = "router.start";
}

/// `router.greet`: a component that has come up asks the routers for their pace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Greet {}
impl Request for Greet {
    type Reply = Start;
}
impl Event for Greet {
    const SUBJECT: &'static str = "router.greet";
}

/// `router.known`, ours: the controller tells all routes that exist, with or without instances, so that a
/// router can tell "no such route" (404) from "nobody serves it now" (503). Sent whole, at every change and
/// every 30 s; routers that never hear it answer 404.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KnownRoutes {
    /// Routes, as `host` or `host/path`.
    pub uris: Vec<String>,
}
impl Event for KnownRoutes {
    const SUBJECT: &'static str = "router.known";
}

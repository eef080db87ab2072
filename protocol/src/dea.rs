//! Conversations with node agents (DEAs): `dea.*`.
//!
//! Field names are those of dea_ng at the end of 2013. The historic name of an app on these messages is
//! `droplet`.

use crate::{
    message::{Event, Request, Subject},
    *,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `dea.start`: an agent has come up. It also answers nothing: it is news.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The agent.
    pub id: DeaId,
    /// Its address as others reach it.
    pub ip: String,
    /// Its software version.
    pub version: String,
}
impl Event for Hello {
    const SUBJECT: &'static str = "dea.start";
}

/// `dea.locate`: every agent advertises now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Locate {}
impl Event for Locate {
    const SUBJECT: &'static str = "dea.locate";
}

/// `dea.advertise`, every 5 s: what an agent could still take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advertise {
    /// The agent.
    pub id: DeaId,
    /// Names of the stacks that it can run.
    pub stacks: Vec<String>,
    /// Memory not yet reserved.
    pub available_memory: Mebibytes,
    /// Disk not yet reserved.
    pub available_disk: Mebibytes,
    /// Instances that it holds, by app.
    pub app_id_to_count: BTreeMap<AppId, u32>,
    /// Where it stands, for spreading instances.
    #[serde(default)]
    pub placement_properties: Placement,
    /// Ours: all the memory that it may hand out, so that a wish that no node could ever meet is told at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_memory: Option<Mebibytes>,
    /// Ours: all the disk that it may hand out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_disk: Option<Mebibytes>,
}
impl Event for Advertise {
    const SUBJECT: &'static str = "dea.advertise";
}

/// Where an agent stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Availability zone; `default` when nobody said otherwise.
    pub zone: String,
}
impl Default for Placement {
    fn default() -> Self {
        Self { zone: "default".to_owned() }
    }
}

/// `dea.shutdown`: an agent goes; its instances end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shutdown {
    /// The agent.
    pub id: DeaId,
    /// Its address.
    pub ip: String,
    /// Its software version.
    pub version: String,
    /// Instances that it held, by app.
    pub app_id_to_count: BTreeMap<AppId, u32>,
}
impl Event for Shutdown {
    const SUBJECT: &'static str = "dea.shutdown";
}

/// Subject on which one agent is told to start an instance: `dea.<id>.start`.
pub fn start_subject(dea: &DeaId) -> Subject {
    Subject::new(format!("dea.{dea}.start"))
}

/// Limits of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, with swap.
    pub mem: Mebibytes,
    /// Writable disk.
    pub disk: Mebibytes,
    /// Open files per process.
    pub fds: u64,
}

/// How an instance shows that it is healthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthCheck {
    /// Its port accepts TCP connections.
    #[default]
    Port,
    /// Its process lives. `none` is the older name.
    #[serde(alias = "none")]
    Process,
    /// An HTTP endpoint answers 200.
    Http,
}

/// `dea.<id>.start`: run one instance. Sent as a request it is acknowledged with [`StartReply`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The app.
    pub droplet: AppId,
    /// Its name, for people.
    pub name: String,
    /// Which instance.
    pub index: u32,
    /// Version of the desired state.
    pub version: Version,
    /// Routes, as `host` or `host/path`.
    pub uris: Vec<String>,
    /// Stack to run on.
    pub stack: String,
    /// Hex SHA-1 of the droplet; empty when only `sha256` is given.
    #[serde(default)]
    pub sha1: String,
    /// Ours: hex SHA-256 of the droplet; wins over `sha1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where the droplet is fetched, by GET; carries its own authority (a signature in its query).
    #[serde(rename = "executableUri")]
    pub executable_uri: String,
    /// Bound services, as they go into VCAP_SERVICES.
    #[serde(default)]
    pub services: Vec<serde_json::Value>,
    /// Limits.
    pub limits: Limits,
    /// Partition of the cloud; always `default` here.
    #[serde(default = "default_partition")]
    pub cc_partition: String,
    /// User environment as `NAME=value`.
    #[serde(default)]
    pub env: Vec<String>,
    /// Command that wins over the droplet's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_command: Option<String>,
    /// Seconds until an instance must be healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_timeout: Option<u64>,
    /// Ours: how health is found out. Without it: port when there are uris, else process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_type: Option<HealthCheck>,
    /// Ours: path of the HTTP health check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_http_endpoint: Option<String>,
    /// The controller's part of VCAP_APPLICATION.
    #[serde(default)]
    pub vcap_application: serde_json::Map<String, serde_json::Value>,
    /// What the instance may reach beside the node's default: its services.
    #[serde(default)]
    pub egress_network_rules: Vec<EgressRule>,
}

/// The only partition that we have.
pub fn default_partition() -> String {
    "default".to_owned()
}

/// One allowed destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressRule {
    /// `tcp`, `udp`, `icmp` or `all`.
    pub protocol: String,
    /// Address, CIDR or `first-last`.
    pub destination: String,
    /// `80`, `80,443` or `8000-9000`; none means every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// ICMP type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<i32>,
    /// ICMP code.
    #[serde(default, rename = "code", skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<i32>,
}

/// The answer to [`Start`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartReply {
    /// The agent that answers.
    pub dea: DeaId,
    /// The instance that it made, when it accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Why it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
impl Request for Start {
    type Reply = StartReply;
}

/// `dea.stop`: every agent that has a matching instance stops it. All given filters must match; with
/// `droplet` alone every instance and staging of the app is meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// The app.
    pub droplet: AppId,
    /// Only this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Only these instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<InstanceId>>,
    /// Only these indices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indices: Option<Vec<u32>>,
    /// Only these states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<InstanceState>>,
}
impl Event for Stop {
    const SUBJECT: &'static str = "dea.stop";
}

/// `dea.update`: the routes (and perhaps the version) of a running app have changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The app.
    pub droplet: AppId,
    /// All its routes from now on.
    pub uris: Vec<String>,
    /// The version that its instances have from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
}
impl Event for Update {
    const SUBJECT: &'static str = "dea.update";
}

/// States of an instance, as heartbeats and answers spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum InstanceState {
    /// Accepted, nothing done yet.
    Born,
    /// Being made, or not healthy yet.
    Starting,
    /// Healthy.
    Running,
    /// Told to end.
    Stopping,
    /// Ended as told.
    Stopped,
    /// Ended by itself, or never became healthy.
    Crashed,
    /// Being taken up again after a restart of the agent.
    Resuming,
    /// Runs until its replacement does.
    Evacuating,
}

/// `dea.heartbeat`, every 10 s: the instances of one agent, all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The agent.
    pub dea: DeaId,
    /// Its instances.
    pub droplets: Vec<InstanceHeartbeat>,
}
impl Event for Heartbeat {
    const SUBJECT: &'static str = "dea.heartbeat";
}

/// One instance in a heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceHeartbeat {
    /// Partition; `default`.
    #[serde(default = "default_partition")]
    pub cc_partition: String,
    /// The app.
    pub droplet: AppId,
    /// Its version.
    pub version: Version,
    /// The instance.
    pub instance: InstanceId,
    /// Its index.
    pub index: u32,
    /// Its state.
    pub state: InstanceState,
    /// Since when, in seconds since 1970.
    pub state_timestamp: f64,
}

/// `dea.find.droplet`: every agent that has a matching instance answers once for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindDroplet {
    /// The app.
    pub droplet: AppId,
    /// Only this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Only these instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Vec<InstanceId>>,
    /// Only these indices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indices: Option<Vec<u32>>,
    /// Only these states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<InstanceState>>,
    /// With figures of use.
    #[serde(default)]
    pub include_stats: bool,
    /// With the address of this file or directory of each, relative to the instance's home; empty for the home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}
impl Request for FindDroplet {
    type Reply = FoundDroplet;
}
impl Event for FindDroplet {
    const SUBJECT: &'static str = "dea.find.droplet";
}

/// One answer to [`FindDroplet`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoundDroplet {
    /// The agent.
    pub dea: DeaId,
    /// The app.
    pub droplet: AppId,
    /// Its version.
    pub version: Version,
    /// The instance.
    pub instance: InstanceId,
    /// Its index.
    pub index: u32,
    /// Its state.
    pub state: InstanceState,
    /// Since when, in seconds since 1970.
    pub state_timestamp: f64,
    /// Figures, for running instances when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<InstanceStats>,
    /// Ours: why it crashed, in words for its developer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_description: Option<String>,
    /// Where its files are on the agent's file server: `/<instance>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<String>,
    /// Signed address of the file that was asked for, by way of the routers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_uri_v2: Option<String>,
    /// Ours: the same, straight at the agent, for the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_uri_direct: Option<String>,
}

/// Figures of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceStats {
    /// Name of the app.
    pub name: String,
    /// Its routes.
    pub uris: Vec<String>,
    /// Address that the router uses.
    pub host: String,
    /// Port that the router uses.
    pub port: u16,
    /// Seconds since it started.
    pub uptime: u64,
    /// Memory limit.
    pub mem_quota: Bytes,
    /// Disk limit.
    pub disk_quota: Bytes,
    /// Open files limit.
    pub fds_quota: u64,
    /// What it uses.
    pub usage: Usage,
}

/// What an instance uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// When it was measured, RFC 3339.
    pub time: String,
    /// Share of one core: 1.0 is a whole core.
    pub cpu: f64,
    /// Memory without reclaimable cache.
    pub mem: Bytes,
    /// Writable disk.
    pub disk: Bytes,
}

/// `dea.status`: every agent answers with [`DeaStatus`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusRequest {}
impl Request for StatusRequest {
    type Reply = DeaStatus;
}
impl Event for StatusRequest {
    const SUBJECT: &'static str = "dea.status";
}

/// The state of one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeaStatus {
    /// The agent.
    pub id: DeaId,
    /// Its address.
    pub ip: String,
    /// Its software version.
    pub version: String,
    /// Memory that it may hand out.
    pub max_memory: Mebibytes,
    /// Memory that is reserved.
    pub reserved_memory: Mebibytes,
    /// Memory in use.
    pub used_memory: Mebibytes,
}

//! Conversations between a service gateway and its nodes, `<S>.*`, where `<S>` is the historic name of an engine
//! ([`Engine::prefix`]), and the gateway's one request to the controller.
//!
//! Not taken up of the historic ones: `restore`, `disable_instance`, `enable_instance`, `import_instance`,
//! `update_instance`, `cleanupnfs_instance`, which moved instances between nodes by hand.

use crate::{
    message::{Event, Request, Subject},
    *,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// PostgreSQL.
    Postgresql,
    /// Redis.
    Redis,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Engine; 2] = [Engine::Postgresql, Engine::Redis];

    /// What its subjects begin with: the historic names of the services.
    pub fn prefix(self) -> &'static str {
        match self {
            Engine::Postgresql => "AuaaS",
            Engine::Redis => "RaaS",
        }
    }

    /// Its name for people, and the name of its offering.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Postgresql => "postgresql",
            Engine::Redis => "redis",
        }
    }

    fn subject(self, what: &str) -> Subject {
        Subject::new(format!("{}.{what}", self.prefix()))
    }

    fn node_subject(self, what: &str, node: &ServiceNodeId) -> Subject {
        Subject::new(format!("{}.{what}.{node}", self.prefix()))
    }

    /// `<S>.discover`: every node announces itself now. Carries [`Discover`].
    pub fn discover(self) -> Subject {
        self.subject("discover")
    }

    /// `<S>.announce`. Carries [`Announce`].
    pub fn announce(self) -> Subject {
        self.subject("announce")
    }

    /// `<S>.provision.<node>`. Carries [`Provision`].
    pub fn provision(self, node: &ServiceNodeId) -> Subject {
        self.node_subject("provision", node)
    }

    /// `<S>.unprovision.<node>`. Carries [`Unprovision`].
    pub fn unprovision(self, node: &ServiceNodeId) -> Subject {
        self.node_subject("unprovision", node)
    }

    /// `<S>.bind.<node>`. Carries [`Bind`].
    pub fn bind(self, node: &ServiceNodeId) -> Subject {
        self.node_subject("bind", node)
    }

    /// `<S>.unbind.<node>`. Carries [`Unbind`].
    pub fn unbind(self, node: &ServiceNodeId) -> Subject {
        self.node_subject("unbind", node)
    }

    /// `<S>.check_orphan`: every node tells what it has. Carries [`CheckOrphan`].
    pub fn check_orphan(self) -> Subject {
        self.subject("check_orphan")
    }

    /// `<S>.node_handles`. Carries [`NodeHandles`].
    pub fn node_handles(self) -> Subject {
        self.subject("node_handles")
    }

    /// `<S>.purge_orphan.<node>`. Carries [`PurgeOrphan`].
    pub fn purge_orphan(self, node: &ServiceNodeId) -> Subject {
        self.node_subject("purge_orphan", node)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Asks every node to announce itself; without content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Discover {}

/// What one node could still take of one plan: every 30 s, at its start, when asked, and when it has changed. A node of
/// several plans sends one for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Announce {
    /// The node.
    pub id: ServiceNodeId,
    /// Name of the plan.
    pub plan: String,
    /// Versions that it can make.
    pub supported_versions: Vec<String>,
    /// The score: instances of this plan that it could still take, times `capacity_unit`. 0 or less: none.
    pub available_capacity: i64,
    /// What one instance takes of it.
    #[serde(default = "one")]
    pub capacity_unit: i64,
    /// Ours: why it takes none, when there is more to say than that it is full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn one() -> i64 {
    1
}

/// Make an instance. Answered once with [`Provisioned`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provision {
    /// Name of the plan.
    pub plan: String,
    /// What the instance shall be called; the node finds a name when absent. A name that the node has already, with the
    /// same plan, is answered as the first time: so a request may be sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<WantedInstance>,
    /// The version that it shall be; the node's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
impl Request for Provision {
    type Reply = Provisioned;
}

/// What an instance shall be called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WantedInstance {
    /// Its name: a lower case letter, then lower case letters and digits, 63 at most.
    pub name: String,
}

/// Answer to [`Provision`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provisioned {
    /// Whether it was made.
    pub success: bool,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<InstanceCredentials>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ServiceError>,
}

/// Where an instance is. Its administrator's password never leaves the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceCredentials {
    /// Its name.
    pub name: String,
    /// The node that it is on.
    pub node_id: ServiceNodeId,
    /// Address that apps reach it by.
    pub host: String,
    /// The same.
    pub hostname: String,
    /// Port.
    pub port: u16,
}

/// End an instance, and everything that it holds. Answered with [`Done`]; an instance that is not there is a success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unprovision {
    /// Its name.
    pub name: String,
    /// Bindings of it that are left.
    #[serde(default)]
    pub bindings: Vec<BindingHandle>,
}
impl Request for Unprovision {
    type Reply = Done;
}

/// Make credentials for an instance. Answered once with [`Bound`].
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Bind {
    /// Name of the instance.
    pub name: String,
    /// What the developer wishes.
    #[serde(default)]
    pub bind_opts: serde_json::Map<String, serde_json::Value>,
    /// What they shall be; the node finds some when absent. The same ones again are answered as the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<WantedBinding>,
}
impl Request for Bind {
    type Reply = Bound;
}

/// User and password that a binding shall have.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct WantedBinding {
    /// User: a lower case letter, then lower case letters and digits, 63 at most.
    pub username: String,
    /// Password: letters and digits.
    pub password: String,
}

/// Answer to [`Bind`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Whether they were made.
    pub success: bool,
    /// The credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<BindingCredentials>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ServiceError>,
}

/// What an app needs to use an instance. Several names stand for one thing, since apps of that time look for either.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct BindingCredentials {
    /// Name of the instance; for PostgreSQL that of the database as well.
    pub name: String,
    /// Address.
    pub host: String,
    /// The same.
    pub hostname: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// The same.
    pub username: String,
    /// Password.
    pub password: String,
    /// All of it in one: `postgres://...`, `redis://...`.
    pub uri: String,
    /// The database, for PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// All of it as Java's drivers want it, for PostgreSQL.
    #[serde(default, rename = "jdbcUrl", skip_serializing_if = "Option::is_none")]
    pub jdbc_url: Option<String>,
}

/// Take credentials back. Answered with [`Done`]; credentials that are not there are a success.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unbind {
    /// Which; further fields of the credentials may be sent as well.
    pub credentials: BindingHandle,
}
impl Request for Unbind {
    type Reply = Done;
}

/// What names a binding on a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BindingHandle {
    /// Name of the instance.
    pub name: String,
    /// User.
    pub username: String,
}

/// Answer of requests that give nothing back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Whether it was done.
    pub success: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ServiceError>,
}

/// Why a node did not do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceError {
    /// As an HTTP status.
    pub status: u16,
    /// Number and words.
    pub msg: ServiceErrorMessage,
}

/// Number and words of a [`ServiceError`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceErrorMessage {
    /// See [`error_code`].
    pub code: u32,
    /// For people.
    pub description: String,
}

impl ServiceError {
    /// An error.
    pub fn new(status: u16, code: u32, description: impl Into<String>) -> Self {
        ServiceError { status, msg: ServiceErrorMessage { code, description: description.into() } }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg.description)
    }
}

/// The historic numbers of errors.
pub mod error_code {
    /// The request is not one: 400.
    pub const MALFORMED: u32 = 30001;
    /// No such plan: 400.
    pub const UNKNOWN_PLAN: u32 = 30003;
    /// No such version: 400.
    pub const UNKNOWN_VERSION: u32 = 30004;
    /// No such instance: 404.
    pub const NOT_FOUND: u32 = 30300;
    /// The node failed: 500.
    pub const INTERNAL: u32 = 30500;
    /// The node took longer than it may, and has taken it back: 500.
    pub const NODE_TIMEOUT: u32 = 30502;
    /// The server of the instance did not come up: 500.
    pub const START_TIMEOUT: u32 = 30503;
    /// The warden failed: 500.
    pub const WARDEN: u32 = 30504;
    /// There is no room, or not yet: 503.
    pub const UNAVAILABLE: u32 = 30600;
    /// No answer of the node in time: 504. Made by the gateway.
    pub const GATEWAY_TIMEOUT: u32 = 30700;
    /// Something else goes on with this instance.
    pub const CONCURRENT: u32 = 30807;
}

/// Asks every node to tell what it has; without content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckOrphan {}

/// What one node has. A gateway compares it with what it knows, twice, before anything is taken for an orphan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeHandles {
    /// Names of instances.
    pub instances_list: Vec<String>,
    /// Bindings.
    pub bindings_list: Vec<BindingHandle>,
    /// The node.
    pub node_id: String,
}

/// End what nobody knows. Answered with [`Done`], which is ours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PurgeOrphan {
    /// Names of instances.
    pub orphan_ins_list: Vec<String>,
    /// Bindings of instances that stay.
    pub orphan_binding_list: Vec<BindingHandle>,
}
impl Request for PurgeOrphan {
    type Reply = Done;
}

/// `cloudcontroller.broker.register`, ours: a service gateway asks the controller to take it as a service broker, or to
/// take its new address and password. Sent at its start and every minute. The controller fetches the catalog.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterBroker {
    /// Name of the broker, by which an earlier registration is found.
    pub name: String,
    /// Where it answers.
    pub url: String,
    /// For Basic authentication.
    pub username: String,
    /// For Basic authentication.
    pub password: String,
}
impl Request for RegisterBroker {
    type Reply = BrokerRegistered;
}
impl Event for RegisterBroker {
    const SUBJECT: &'static str = "cloudcontroller.broker.register";
}

/// Answer to [`RegisterBroker`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BrokerRegistered {
    /// Why it was not taken; it is when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Debug without what is secret: these land in logs.
macro_rules! redacted {
    ($($name:ident: $($field:ident),+;)+) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))+.finish_non_exhaustive()
            }
        }
    )+};
}

redacted! {
    Bind: name, bind_opts;
    WantedBinding: username;
    BindingCredentials: name, host, port, username;
    RegisterBroker: name, url, username;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        let wanted = WantedBinding { username: "u1".into(), password: "hidden".into() };
        let bind =
            Bind { name: "d1".into(), bind_opts: Default::default(), credentials: Some(wanted.clone()) };
        let register = RegisterBroker {
            name: "b".into(),
            url: "http://h".into(),
            username: "u".into(),
            password: "hidden".into(),
        };
        let shown = format!("{wanted:?} {bind:?} {register:?}");
        assert!(!shown.contains("hidden"), "{shown}");
        assert!(shown.contains("u1") && shown.contains("http://h"), "{shown}");
    }
}

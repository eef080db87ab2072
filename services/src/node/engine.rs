//! What the engines have in common: each is a set of scripts for its container. A script is constant; what differs comes
//! as environment, so that no name and no password is ever part of a program.

pub(crate) mod postgresql;
pub(crate) mod redis;

use super::{Plan, level::Level, record::Record};
use cupola_protocol::services::{BindingCredentials, Engine};
use std::net::Ipv4Addr;

/// Where the volume is seen inside.
pub(crate) const VOLUME: &str = "/volume";

/// The node's own user in every server, by a unix socket that only its container has.
pub(crate) const ADMIN: &str = "cupola";

/// What runs a server. Each script ends with 0 when it has done its work.
pub(crate) trait Recipe: Send + Sync {
    /// The version that it makes.
    fn version(&self) -> &'static str;
    /// The port that it listens on, inside.
    fn port(&self) -> u16;
    /// Fills an empty volume; runs before the first start.
    fn prepare(&self) -> &'static str;
    /// Becomes the server. Runs once per container, in which nothing else has run.
    fn start(&self) -> &'static str;
    /// Succeeds when the server takes clients.
    fn ready(&self) -> &'static str;
    /// What an instance needs before its first binding; runs once, after the first start.
    fn set_up(&self) -> &'static str;
    /// Makes USERNAME, or gives it PASSWORD. This and the following can be run again.
    fn bind(&self) -> &'static str;
    /// Removes USERNAME and its connections, and keeps its data; a user that is not there is no error.
    fn unbind(&self) -> &'static str;
    /// Puts LEVEL into force.
    fn restrict(&self) -> &'static str;
    /// Gives the disk back of what was deleted; runs with every look at a volume that is too large.
    fn reclaim(&self) -> &'static str;
    /// Ends the server in peace.
    fn stop(&self) -> &'static str;
    /// Environment of every script.
    fn environment(&self, record: &Record, plan: &Plan) -> Vec<String>;
    /// What an app needs to use the instance.
    fn credentials(&self, instance: &str, at: (Ipv4Addr, u16), user: (&str, &str)) -> BindingCredentials;
}

/// The recipe of an engine.
pub(crate) fn recipe(engine: Engine) -> &'static dyn Recipe {
    match engine {
        Engine::Postgresql => &postgresql::Postgresql,
        Engine::Redis => &redis::Redis,
    }
}

/// Environment of a script for one user.
pub(crate) fn user(username: &str, password: &str) -> Vec<String> {
    vec![format!("USERNAME={username}"), format!("PASSWORD={password}")]
}

/// Environment of [`Recipe::restrict`].
pub(crate) fn level(level: Level) -> Vec<String> {
    vec![format!("LEVEL={}", level.as_str())]
}

//! The section `[service_gateway]`.

use super::Error;
use crate::plan::KNOWN;
use cupola_protocol::services::Engine;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

/// How a service gateway is set up. Times are in seconds, fractions are allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which one of its kind, for `vcap.component.*`.
    pub index: u32,
    /// The gateway's own directory: what it has given out, and its password.
    pub data_dir: PathBuf,
    /// Where it answers.
    pub listen: SocketAddr,
    /// Where the controller reaches it; made from `listen` when missing.
    pub url: Option<String>,
    /// Name under which it registers itself with the controller as a service broker.
    pub broker_name: String,
    /// User for its Basic authentication.
    pub username: String,
    /// File of the password, made at the first start when it is missing; `password` in the data directory by default.
    pub password_file: Option<PathBuf>,
    /// Time between two registrations.
    pub register_seconds: f64,
    /// How long a node may take to answer. Longer than the nodes' own limit, or what came too late must be found by the
    /// check of orphans; shorter than the platform waits for a broker.
    pub node_timeout_seconds: f64,
    /// Time between two questions to all nodes.
    pub discover_seconds: f64,
    /// A node that has been silent for so long is forgotten.
    pub node_lifetime_seconds: f64,
    /// Time between two looks for what nodes have and nobody knows. What is found twice is removed.
    pub orphan_check_seconds: f64,
    /// Whether nodes that are full are asked all the same.
    pub allow_over_provisioning: bool,
    /// The plans that are offered. Nodes must have plans of the same names.
    pub plans: Vec<Plan>,
    /// The status page.
    pub status: cupola_status::Config,
}

/// What is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The engine; each is one offering of its name.
    pub engine: Engine,
    /// Name of the plan.
    pub name: String,
    /// For people.
    pub description: String,
    /// Whether it costs nothing.
    #[serde(default = "yes")]
    pub free: bool,
    /// Whether instances are made and removed in the background, which the platform must be able to wait for.
    #[serde(default)]
    pub asynchronous: bool,
    /// The version that nodes must have; any when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

fn yes() -> bool {
    true
}

impl Default for Config {
    fn default() -> Self {
        Self {
            index: 0,
            data_dir: "/var/lib/cupola/service-gateway".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8082)),
            url: None,
            broker_name: "cupola".to_owned(),
            username: "cupola".to_owned(),
            password_file: None,
            register_seconds: 60.0,
            node_timeout_seconds: 50.0,
            discover_seconds: 60.0,
            node_lifetime_seconds: 300.0,
            orphan_check_seconds: 300.0,
            allow_over_provisioning: false,
            plans: KNOWN
                .iter()
                .map(|plan| Plan {
                    engine: plan.engine,
                    name: plan.name.to_owned(),
                    description: format!(
                        "{} of memory, {} of disk, {} connections",
                        plan.memory, plan.disk, plan.connections
                    ),
                    free: true,
                    asynchronous: plan.asynchronous,
                    version: None,
                })
                .collect(),
            status: cupola_status::Config::default(),
        }
    }
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |key, problem: &str| Err(Error::Config { key, problem: problem.to_owned() });
        for (key, value) in [
            ("register_seconds", self.register_seconds),
            ("node_timeout_seconds", self.node_timeout_seconds),
            ("discover_seconds", self.discover_seconds),
            ("node_lifetime_seconds", self.node_lifetime_seconds),
            ("orphan_check_seconds", self.orphan_check_seconds),
        ] {
            if !(value > 0.0 && value <= 1e9) {
                return refuse(key, "must be a number above 0");
            }
        }
        if self.broker_name.is_empty() || self.username.is_empty() || self.username.contains(':') {
            return refuse("username", "and broker_name must not be empty, and a user has no colon");
        }
        if self.plans.is_empty() {
            return refuse("plans", "must name at least one");
        }
        let mut names = BTreeSet::new();
        for plan in &self.plans {
            let name = !plan.name.is_empty() && !plan.name.contains(char::is_whitespace);
            if !name || plan.description.is_empty() || !names.insert((plan.engine, &plan.name)) {
                return refuse(
                    "plans",
                    "each must have a name without spaces and a description, no two of one engine the same name",
                );
            }
        }
        Ok(())
    }
}

/// A validated number of seconds as a duration.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_nodes_have_the_plans() {
        let config = Config::default();
        config.validate().unwrap();
        let nodes = crate::node::Config::default();
        for plan in &config.plans {
            assert!(nodes.plan(plan.engine, &plan.name).is_some(), "{plan:?}");
        }
        // A node's own limit is the first to end an operation, or its answer would come when nobody listens.
        assert!(nodes.op_time_limit_seconds < config.node_timeout_seconds);
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |config: Config| config.validate().unwrap_err().to_string();
        assert!(refused(Config { node_timeout_seconds: -1.0, ..Config::default() }).contains("node_timeout"));
        assert!(refused(Config { plans: vec![], ..Config::default() }).contains("plans"));
        assert!(refused(Config { username: "a:b".into(), ..Config::default() }).contains("username"));
        let mut twice = Config::default();
        twice.plans.push(twice.plans[0].clone());
        assert!(refused(twice).contains("plans"));
    }
}

//! Which node gets the next instance. Pure.

use cupola_protocol::{
    ServiceNodeId,
    services::{Announce, Engine},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// What is known of nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    nodes: BTreeMap<(Engine, ServiceNodeId), Node>,
}

#[derive(Debug)]
struct Node {
    plans: BTreeMap<String, Offer>,
    /// Requests that it has not answered yet.
    in_flight: u32,
    heard: Instant,
}

#[derive(Debug, Clone)]
struct Offer {
    capacity: i64,
    unit: i64,
    versions: Vec<String>,
    error: Option<String>,
}

/// Why there is no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoNode {
    /// Nobody has the plan.
    #[error("no service node serves this plan now; is one running?")]
    Plan,
    /// Nobody who has the plan has the version.
    #[error("no service node of this plan makes version {0}")]
    Version(String),
    /// They are full.
    #[error("no service node has room for this plan{0}")]
    Full(String),
}

impl Nodes {
    /// Takes what a node has said of itself. While it works on requests its own figures are behind ours, and are left
    /// out.
    pub(crate) fn heard(&mut self, engine: Engine, announce: Announce, now: Instant) {
        let node = self.nodes.entry((engine, announce.id)).or_insert_with(|| Node {
            plans: BTreeMap::new(),
            in_flight: 0,
            heard: now,
        });
        node.heard = now;
        let known = node.plans.get(&announce.plan).filter(|_| node.in_flight > 0).map(|offer| offer.capacity);
        let offer = Offer {
            capacity: known.unwrap_or(announce.available_capacity),
            unit: announce.capacity_unit,
            versions: announce.supported_versions,
            error: announce.error,
        };
        node.plans.insert(announce.plan, offer);
    }

    /// How many are heard, each once for each of its engines.
    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Forgets nodes that have been silent for so long.
    pub(crate) fn forget_silent(&mut self, lifetime: Duration, now: Instant) {
        self.nodes.retain(|_, node| node.in_flight > 0 || now.duration_since(node.heard) < lifetime);
    }

    /// The node with the most room, without those in `excluded`.
    pub(crate) fn choose(
        &self,
        (engine, plan, version): (Engine, &str, Option<&str>),
        excluded: &BTreeSet<ServiceNodeId>,
        over_provisioning: bool,
    ) -> Result<ServiceNodeId, NoNode> {
        let offers: Vec<(&ServiceNodeId, &Offer)> = self
            .nodes
            .iter()
            .filter(|((known, id), _)| *known == engine && !excluded.contains(id))
            .filter_map(|((_, id), node)| Some((id, node.plans.get(plan)?)))
            .collect();
        if offers.is_empty() && excluded.is_empty() {
            return Err(NoNode::Plan);
        }
        let supporting = |(_, offer): &(&ServiceNodeId, &Offer)| {
            version.is_none_or(|version| offer.versions.iter().any(|known| known == version))
        };
        let supported: Vec<_> = offers.into_iter().filter(supporting).collect();
        if let Some(version) = version
            && supported.is_empty()
            && excluded.is_empty()
        {
            return Err(NoNode::Version(version.to_owned()));
        }
        let best = supported.iter().max_by_key(|(_, offer)| offer.capacity);
        match best {
            Some((id, offer)) if offer.capacity > 0 || over_provisioning => Ok((*id).clone()),
            _ => {
                let why = supported.iter().find_map(|(_, offer)| offer.error.as_ref());
                Err(NoNode::Full(why.map_or(String::new(), |why| format!(": {why}"))))
            }
        }
    }

    /// A request goes to a node: its room is less at once.
    pub(crate) fn begin(&mut self, engine: Engine, id: &ServiceNodeId, plan: &str) {
        if let Some(node) = self.nodes.get_mut(&(engine, id.clone())) {
            node.in_flight += 1;
            if let Some(offer) = node.plans.get_mut(plan) {
                offer.capacity -= offer.unit;
            }
        }
    }

    /// The node has answered, or is waited for no longer.
    pub(crate) fn end(&mut self, engine: Engine, id: &ServiceNodeId) {
        if let Some(node) = self.nodes.get_mut(&(engine, id.clone())) {
            node.in_flight = node.in_flight.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn announce(id: &str, plan: &str, capacity: i64) -> Announce {
        Announce {
            id: id.into(),
            plan: plan.into(),
            supported_versions: vec!["15".into()],
            available_capacity: capacity,
            capacity_unit: 1,
            error: (capacity == 0).then(|| "its stack is missing".to_owned()),
        }
    }

    const PLAN: (Engine, &str, Option<&str>) = (Engine::Redis, "small", None);

    fn choose(nodes: &Nodes) -> Result<String, NoNode> {
        nodes.choose(PLAN, &BTreeSet::new(), false).map(|id| id.to_string())
    }

    #[test]
    fn the_node_with_the_most_room_is_chosen() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        assert_eq!(choose(&nodes), Err(NoNode::Plan));
        nodes.heard(Engine::Redis, announce("a", "small", 2), now);
        nodes.heard(Engine::Redis, announce("b", "small", 3), now);
        nodes.heard(Engine::Redis, announce("c", "large", 9), now);
        nodes.heard(Engine::Postgresql, announce("d", "small", 9), now);
        assert_eq!(choose(&nodes).unwrap(), "b");
        let version =
            |version| nodes.choose((Engine::Redis, "small", Some(version)), &BTreeSet::new(), false);
        assert_eq!(version("15").unwrap().as_str(), "b");
        assert_eq!(version("9"), Err(NoNode::Version("9".into())));
        let excluded = BTreeSet::from(["b".into()]);
        assert_eq!(nodes.choose(PLAN, &excluded, false).unwrap().as_str(), "a");
    }

    #[test]
    fn a_full_node_says_why_and_is_asked_only_on_request() {
        let mut nodes = Nodes::default();
        nodes.heard(Engine::Redis, announce("a", "small", 0), Instant::now());
        assert!(choose(&nodes).unwrap_err().to_string().contains("its stack is missing"));
        assert!(nodes.choose(PLAN, &BTreeSet::new(), true).is_ok());
    }

    #[test]
    fn a_silent_node_is_forgotten_unless_it_works() {
        let (mut nodes, now) = (Nodes::default(), Instant::now());
        let lifetime = Duration::from_secs(300);
        nodes.heard(Engine::Redis, announce("a", "small", 2), now);
        nodes.begin(Engine::Redis, &"a".into(), "small");
        nodes.forget_silent(lifetime, now + lifetime);
        assert!(choose(&nodes).is_ok());
        nodes.end(Engine::Redis, &"a".into());
        nodes.forget_silent(lifetime, now + lifetime);
        assert_eq!(choose(&nodes), Err(NoNode::Plan));
    }

    proptest! {
        /// However announcements come in between, a node never gets more requests at once than it had room for when
        /// it was idle last.
        #[test]
        fn nobody_is_sent_more_than_fits(room in 0..6i64, steps in prop::collection::vec(0..3u8, 0..60)) {
            let (mut nodes, now, id) = (Nodes::default(), Instant::now(), ServiceNodeId::from("a"));
            nodes.heard(Engine::Redis, announce("a", "small", room), now);
            let mut in_flight = 0i64;
            for step in steps {
                match step {
                    0 => if nodes.choose(PLAN, &BTreeSet::new(), false).is_ok() {
                        nodes.begin(Engine::Redis, &id, "small");
                        in_flight += 1;
                    },
                    1 => if in_flight > 0 {
                        // It has failed, say: the room is free again.
                        nodes.end(Engine::Redis, &id);
                        in_flight -= 1;
                    },
                    // What it says of itself knows nothing of what is on its way.
                    _ => nodes.heard(Engine::Redis, announce("a", "small", room), now),
                }
                prop_assert!(in_flight <= room);
            }
        }
    }
}

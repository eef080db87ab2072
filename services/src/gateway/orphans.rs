//! What nodes have and nobody knows: a late success, most often. What is found again after a whole interval is an orphan;
//! before that it may be something that is just being made or removed. Pure.

use cupola_protocol::{
    ServiceNodeId,
    services::{BindingHandle, NodeHandles, PurgeOrphan},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Instance(String),
    Binding(BindingHandle),
}

/// What was found and nobody knew, since when.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    found: BTreeMap<ServiceNodeId, BTreeMap<Thing, Instant>>,
}

impl Orphans {
    /// Looks at what a node has. `knows` and `knows_binding` say what is known; what is not ours must be known, too. Gives
    /// what is to be removed, if anything.
    pub(crate) fn look(
        &mut self,
        handles: &NodeHandles,
        knows: impl Fn(&str) -> bool,
        knows_binding: impl Fn(&BindingHandle) -> bool,
        interval: Duration,
        now: Instant,
    ) -> Option<PurgeOrphan> {
        let before = self.found.remove(&ServiceNodeId::from(handles.node_id.as_str())).unwrap_or_default();
        let instances = handles.instances_list.iter().filter(|name| !knows(name));
        let bindings = handles.bindings_list.iter().filter(|binding| !knows_binding(binding));
        let things = instances.cloned().map(Thing::Instance).chain(bindings.cloned().map(Thing::Binding));
        let mut found = BTreeMap::new();
        let mut purge = PurgeOrphan::default();
        for thing in things {
            let since = before.get(&thing).copied().unwrap_or(now);
            if now.duration_since(since) >= interval && before.contains_key(&thing) {
                match &thing {
                    Thing::Instance(name) => purge.orphan_ins_list.push(name.clone()),
                    Thing::Binding(binding) => purge.orphan_binding_list.push(binding.clone()),
                }
            }
            found.insert(thing, since);
        }
        if !found.is_empty() {
            self.found.insert(handles.node_id.as_str().into(), found);
        }
        // The bindings of an instance go with it.
        let PurgeOrphan { orphan_ins_list, orphan_binding_list } = &mut purge;
        orphan_binding_list.retain(|binding| !orphan_ins_list.contains(&binding.name));
        (!purge.orphan_ins_list.is_empty() || !purge.orphan_binding_list.is_empty()).then_some(purge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn handles(instances: &[&str], bindings: &[(&str, &str)]) -> NodeHandles {
        let binding = |(name, username): &(&str, &str)| BindingHandle {
            name: (*name).into(),
            username: (*username).into(),
        };
        NodeHandles {
            instances_list: instances.iter().map(|name| (*name).to_owned()).collect(),
            bindings_list: bindings.iter().map(binding).collect(),
            node_id: "a".into(),
        }
    }

    #[test]
    fn only_what_is_found_twice_an_interval_apart_is_an_orphan() {
        let mut orphans = Orphans::default();
        let begin = Instant::now();
        let known = |name: &str| name == "known";
        let known_binding = |binding: &BindingHandle| binding.username == "known";
        let has = handles(&["known", "lost"], &[("known", "known"), ("known", "lost"), ("lost", "x")]);
        let mut look = |has: &NodeHandles, after: Duration| {
            orphans.look(has, known, known_binding, INTERVAL, begin + after)
        };
        assert_eq!(look(&has, Duration::ZERO), None, "once is nothing");
        assert_eq!(look(&has, INTERVAL / 2), None, "another gateway's question makes no second look");
        let purge = look(&has, INTERVAL).expect("orphans");
        assert_eq!(purge.orphan_ins_list, ["lost"]);
        assert_eq!(
            purge.orphan_binding_list,
            [BindingHandle { name: "known".into(), username: "lost".into() }]
        );
        // Gone for one look, it begins anew.
        assert_eq!(look(&handles(&["known"], &[]), INTERVAL), None);
        assert_eq!(look(&has, INTERVAL * 3), None);
    }
}

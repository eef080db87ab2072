//! Which node gets an instance, and which stager a staging. Pure: advertisements in, candidates out.
//!
//! The pipeline is cloud_controller_ng's (`lib/cloud_controller/dea/eligible_advertisement_filter.rb`): enough
//! disk → enough memory and the stack → the zones with the fewest instances of the app → the nodes with the
//! fewest → the upper half by free memory → one of those at random, which the caller draws.

use cupola_protocol::{AppId, DeaId, Mebibytes, StagerId, dea, staging};
use std::collections::{BTreeMap, BTreeSet};

/// What an instance or a staging needs.
#[derive(Debug, Clone)]
pub(crate) struct Need {
    pub app: AppId,
    pub memory: Mebibytes,
    pub disk: Mebibytes,
    pub stack: String,
}

/// Why there is no candidate. Its words go to the developer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    #[error("no node is known to the controller: are the nodes (dea) running and connected to NATS?")]
    NoNode,
    #[error("no stager is known to the controller: is a stager running and connected to NATS?")]
    NoStager,
    #[error("no node has the stack {stack}; known stacks: {known}. Choose one of those, or build it")]
    NoStack { stack: String, known: String },
    #[error(
        "{need} of {what} is more than any node has ({largest} at most): ask for less, or add a larger node"
    )]
    TooLarge { what: &'static str, need: Mebibytes, largest: Mebibytes },
    #[error(
        "no node has room for {memory} of memory and {disk} of disk now (the most free is {free_memory} and \
         {free_disk}): stop or scale down other apps, ask for less, or add a node"
    )]
    NoRoom { memory: Mebibytes, disk: Mebibytes, free_memory: Mebibytes, free_disk: Mebibytes },
    #[error("{tried} were tried and none took it; the last answer: {last}")]
    Refused { tried: String, last: String },
}

/// Stagers among which one is drawn: `minimum_candidate_stagers` of cloud_controller_ng.
const STAGER_CANDIDATES: usize = 5;

/// The nodes among which one is drawn; at least one.
pub(crate) fn nodes<'a>(
    ads: &'a [dea::Advertise],
    need: &Need,
    tried: &BTreeSet<DeaId>,
) -> Result<Vec<&'a dea::Advertise>, NoPlace> {
    possible(ads, need.memory, need.disk)?;
    if !ads.iter().any(|ad| ad.stacks.contains(&need.stack)) {
        return Err(no_stack(&need.stack, ads.iter().flat_map(|ad| &ad.stacks)));
    }
    let count = |ad: &dea::Advertise| ad.app_id_to_count.get(&need.app).copied().unwrap_or(0);
    // Counts of a zone are those of all its nodes, also of those that have no room.
    let mut zones: BTreeMap<&str, u32> = BTreeMap::new();
    for ad in ads {
        *zones.entry(ad.placement_properties.zone.as_str()).or_default() += count(ad);
    }
    let mut left: Vec<_> = ads
        .iter()
        .filter(|ad| ad.available_disk >= need.disk && ad.available_memory >= need.memory)
        .filter(|ad| ad.stacks.contains(&need.stack) && !tried.contains(&ad.id))
        .collect();
    let zone_count = |ad: &dea::Advertise| zones[ad.placement_properties.zone.as_str()];
    let Some(fewest) = left.iter().map(|ad| zone_count(ad)).min() else {
        return Err(NoPlace::NoRoom {
            memory: need.memory,
            disk: need.disk,
            free_memory: ads.iter().map(|ad| ad.available_memory).max().unwrap_or_default(),
            free_disk: ads.iter().map(|ad| ad.available_disk).max().unwrap_or_default(),
        });
    };
    left.retain(|ad| zone_count(ad) == fewest);
    let fewest = left.iter().map(|ad| count(ad)).min().unwrap_or(0);
    left.retain(|ad| count(ad) == fewest);
    left.sort_by_key(|ad| ad.available_memory);
    Ok(left.split_off(left.len() / 2))
}

/// Whether some node could ever hold an instance of this size. Knows nothing, and so allows, when no node is
/// known or none says how large it is.
pub(crate) fn possible(ads: &[dea::Advertise], memory: Mebibytes, disk: Mebibytes) -> Result<(), NoPlace> {
    if ads.is_empty() {
        return Err(NoPlace::NoNode);
    }
    let largest = |size: fn(&dea::Advertise) -> Option<Mebibytes>| {
        // A node that does not say might be large enough.
        ads.iter().map(size).collect::<Option<Vec<_>>>().and_then(|sizes| sizes.into_iter().max())
    };
    for (what, need, largest) in
        [("memory", memory, largest(|ad| ad.total_memory)), ("disk", disk, largest(|ad| ad.total_disk))]
    {
        if let Some(largest) = largest.filter(|largest| need > *largest) {
            return Err(NoPlace::TooLarge { what, need, largest });
        }
    }
    Ok(())
}

/// The stagers among which one is drawn; at least one.
pub(crate) fn stagers<'a>(
    ads: &'a [staging::Advertise],
    need: &Need,
    tried: &BTreeSet<StagerId>,
) -> Result<Vec<&'a staging::Advertise>, NoPlace> {
    if ads.is_empty() {
        return Err(NoPlace::NoStager);
    }
    if !ads.iter().any(|ad| ad.stacks.contains(&need.stack)) {
        return Err(no_stack(&need.stack, ads.iter().flat_map(|ad| &ad.stacks)));
    }
    // Historic stagers do not say how much disk they have: 0 means that.
    let mut left: Vec<_> = ads
        .iter()
        .filter(|ad| ad.available_memory >= need.memory)
        .filter(|ad| ad.available_disk == Mebibytes(0) || ad.available_disk >= need.disk)
        .filter(|ad| ad.stacks.contains(&need.stack) && !tried.contains(&ad.id))
        .collect();
    if left.is_empty() {
        return Err(NoPlace::NoRoom {
            memory: need.memory,
            disk: need.disk,
            free_memory: ads.iter().map(|ad| ad.available_memory).max().unwrap_or_default(),
            free_disk: ads.iter().map(|ad| ad.available_disk).max().unwrap_or_default(),
        });
    }
    left.sort_by_key(|ad| std::cmp::Reverse(ad.available_memory));
    left.truncate(STAGER_CANDIDATES);
    Ok(left)
}

fn no_stack<'a>(stack: &str, known: impl Iterator<Item = &'a String>) -> NoPlace {
    let known: BTreeSet<&str> = known.map(String::as_str).collect();
    NoPlace::NoStack { stack: stack.to_owned(), known: known.into_iter().collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ad(id: &str, zone: &str, memory: u64, disk: u64, count: u32) -> dea::Advertise {
        dea::Advertise {
            id: DeaId::new(id),
            stacks: vec!["s".to_owned()],
            available_memory: Mebibytes(memory),
            available_disk: Mebibytes(disk),
            app_id_to_count: BTreeMap::from([(AppId::new("a"), count)]),
            placement_properties: dea::Placement { zone: zone.to_owned() },
            total_memory: Some(Mebibytes(memory + 1000)),
            total_disk: None,
        }
    }

    fn need(memory: u64, disk: u64) -> Need {
        Need { app: AppId::new("a"), memory: Mebibytes(memory), disk: Mebibytes(disk), stack: "s".to_owned() }
    }

    fn ids<'a>(ads: &[&'a dea::Advertise]) -> Vec<&'a str> {
        ads.iter().map(|ad| ad.id.as_str()).collect()
    }

    #[test]
    fn zones_come_before_nodes_and_nodes_before_memory() {
        let none = BTreeSet::new();
        let ads = [ad("1", "x", 900, 9, 1), ad("2", "x", 500, 9, 0), ad("3", "y", 400, 9, 3)];
        assert_eq!(ids(&nodes(&ads, &need(100, 1), &none).unwrap()), ["2"]);
        let ads = [ad("1", "x", 100, 9, 0), ad("2", "x", 300, 9, 0), ad("3", "x", 400, 9, 0)];
        assert_eq!(ids(&nodes(&ads, &need(100, 1), &none).unwrap()), ["2", "3"]);
    }

    #[test]
    fn a_wish_that_no_node_could_meet_is_told_apart_from_one_that_waits() {
        let none = BTreeSet::new();
        let ads = [ad("1", "x", 100, 9, 0)];
        let error = nodes(&ads, &need(5000, 1), &none).unwrap_err();
        assert!(matches!(error, NoPlace::TooLarge { largest: Mebibytes(1100), .. }), "{error}");
        assert!(matches!(nodes(&ads, &need(500, 1), &none), Err(NoPlace::NoRoom { .. })));
        assert!(matches!(nodes(&ads, &need(50, 10), &none), Err(NoPlace::NoRoom { .. })));
        let other = Need { stack: "t".to_owned(), ..need(1, 1) };
        assert!(matches!(nodes(&ads, &other, &none), Err(NoPlace::NoStack { .. })));
        assert_eq!(nodes(&[], &need(1, 1), &none).unwrap_err(), NoPlace::NoNode);
        // A node that does not say how large it is might be large enough.
        let silent = dea::Advertise { total_memory: None, ..ad("2", "x", 100, 9, 0) };
        assert_eq!(possible(&[silent, ads[0].clone()], Mebibytes(1 << 20), Mebibytes(1)), Ok(()));
    }

    proptest! {
        #[test]
        fn a_candidate_always_has_room_and_nobody_is_less_loaded(
            raw in prop::collection::vec((0..3u8, 0..2000u64, 0..2000u64, 0..4u32), 0..12),
            memory in 1..2500u64, disk in 1..2500u64, tried in prop::collection::btree_set(0..12usize, 0..4),
        ) {
            let ads: Vec<_> = raw.iter().enumerate()
                .map(|(i, (z, m, d, c))| ad(&i.to_string(), &z.to_string(), *m, *d, *c)).collect();
            let tried: BTreeSet<_> = tried.iter().map(|i| DeaId::new(i.to_string())).collect();
            let need = need(memory, disk);
            let fits = |ad: &&dea::Advertise| ad.available_memory >= need.memory
                && ad.available_disk >= need.disk && !tried.contains(&ad.id);
            match nodes(&ads, &need, &tried) {
                Ok(chosen) => {
                    prop_assert!(!chosen.is_empty());
                    for one in &chosen {
                        prop_assert!(fits(one));
                        let zone = &one.placement_properties.zone;
                        let count = one.app_id_to_count[&need.app];
                        prop_assert!(ads.iter().filter(fits).filter(|ad| ad.placement_properties.zone == *zone)
                            .all(|ad| ad.app_id_to_count[&need.app] >= count));
                    }
                }
                Err(_) => prop_assert_eq!(ads.iter().filter(fits).count(), 0),
            }
        }
    }
}

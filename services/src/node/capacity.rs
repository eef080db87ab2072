//! How many more instances fit. Pure.

use super::{Config, Plan};
use cupola_protocol::Mebibytes;

/// What a node can hold, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) memory: Mebibytes,
    pub(crate) disk: Mebibytes,
    pub(crate) instances: u64,
}

impl Room {
    /// What an empty node has.
    pub(crate) fn whole(config: &Config) -> Self {
        Room { memory: config.memory_mb, disk: config.disk_mb, instances: config.ports.count.into() }
    }

    /// What is left beside these. Plans may have been made larger since: that is no room, and no error.
    pub(crate) fn without<'a>(self, plans: impl Iterator<Item = &'a Plan>) -> Self {
        plans.fold(self, |room, plan| Room {
            memory: Mebibytes(room.memory.0.saturating_sub(plan.memory_mb.0)),
            disk: Mebibytes(room.disk.0.saturating_sub(plan.disk_mb.0)),
            instances: room.instances.saturating_sub(1),
        })
    }

    /// How many of a plan fit.
    pub(crate) fn fits(self, plan: &Plan) -> i64 {
        let memory = self.memory.0.checked_div(plan.memory_mb.0).unwrap_or(0);
        let disk = self.disk.0.checked_div(plan.disk_mb.0).unwrap_or(0);
        i64::try_from(memory.min(disk).min(self.instances)).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_protocol::services::Engine;
    use proptest::prelude::*;

    fn plan(memory: u64, disk: u64) -> Plan {
        Plan {
            engine: Engine::Redis,
            name: "p".into(),
            memory_mb: Mebibytes(memory),
            disk_mb: Mebibytes(disk),
            connections: 1,
        }
    }

    proptest! {
        /// What is said to fit does fit, and not one more.
        #[test]
        fn what_fits_fits(memory in 0..10_000u64, disk in 0..10_000u64, count in 0..50u64, m in 1..500u64, d in 1..500u64) {
            let room = Room { memory: Mebibytes(memory), disk: Mebibytes(disk), instances: count };
            let plan = plan(m, d);
            let fits = room.fits(&plan);
            let all = vec![plan.clone(); fits as usize];
            let left = room.without(all.iter());
            prop_assert_eq!(left.memory.0, memory - m * fits as u64);
            prop_assert_eq!(left.disk.0, disk - d * fits as u64);
            prop_assert_eq!(left.fits(&plan), 0);
        }
    }

    #[test]
    fn a_plan_that_grew_leaves_no_room_and_no_panic() {
        let room = Room { memory: Mebibytes(100), disk: Mebibytes(100), instances: 5 };
        assert_eq!(room.without([plan(200, 10)].iter()).fits(&plan(1, 1)), 0);
    }
}

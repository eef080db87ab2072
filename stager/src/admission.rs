//! Which stagings run, and whether another may. Decides; does nothing.
//!
//! ```text
//!            start: room ──────────► running ──ended──► (gone, its room is free)
//!   request ─┤                          │
//!            └ no room, twice, closing  └─stop─► stopping ──ended──► (gone)
//!              ► refused
//! ```
//!
//! A stopped staging keeps its room until it has really ended: its container may still stand.

use crate::failure::Failure;
use cupola_protocol::{AppId, Mebibytes, TaskId};
use std::collections::BTreeMap;

/// Memory and disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Room {
    pub(crate) memory: Mebibytes,
    pub(crate) disk: Mebibytes,
}

/// The stagings of one stager.
#[derive(Debug)]
pub(crate) struct Admission {
    total: Room,
    running: BTreeMap<TaskId, Running>,
    closing: bool,
}

#[derive(Debug)]
struct Running {
    app: AppId,
    room: Room,
    stopping: bool,
}

impl Admission {
    pub(crate) fn new(total: Room) -> Self {
        Self { total, running: BTreeMap::new(), closing: false }
    }

    /// What is not reserved.
    pub(crate) fn available(&self) -> Room {
        let used =
            |part: fn(&Room) -> Mebibytes| self.running.values().map(|one| part(&one.room).0).sum::<u64>();
        Room {
            memory: Mebibytes(self.total.memory.0.saturating_sub(used(|room| room.memory))),
            disk: Mebibytes(self.total.disk.0.saturating_sub(used(|room| room.disk))),
        }
    }

    /// A staging is asked for: reserves its room, or says why not.
    pub(crate) fn start(&mut self, task: TaskId, app: AppId, room: Room) -> Result<(), Failure> {
        if self.closing {
            return Err(Failure::ShuttingDown);
        }
        if self.running.contains_key(&task) {
            return Err(Failure::AlreadyRunning);
        }
        let available = self.available();
        for (what, key, needed, available) in [
            ("memory", "memory_mb", room.memory, available.memory),
            ("disk", "disk_mb", room.disk, available.disk),
        ] {
            if needed > available {
                return Err(Failure::NoRoom { what, key, needed, available });
            }
        }
        self.running.insert(task, Running { app, room, stopping: false });
        Ok(())
    }

    /// An app's stagings shall stop: gives those that were not stopping already.
    pub(crate) fn stop(&mut self, app: &AppId) -> Vec<TaskId> {
        let of_app = self.running.iter_mut().filter(|(_, one)| one.app == *app && !one.stopping);
        of_app
            .map(|(task, one)| {
                one.stopping = true;
                task.clone()
            })
            .collect()
    }

    /// No staging may start any more, and all shall stop: gives those that were not stopping already.
    pub(crate) fn close(&mut self) -> Vec<TaskId> {
        self.closing = true;
        let others = self.running.iter_mut().filter(|(_, one)| !one.stopping);
        others
            .map(|(task, one)| {
                one.stopping = true;
                task.clone()
            })
            .collect()
    }

    /// A staging has ended and nothing of it is left.
    pub(crate) fn ended(&mut self, task: &TaskId) {
        self.running.remove(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOTAL: Room = Room { memory: Mebibytes(4096), disk: Mebibytes(8192) };

    fn room(memory: u64, disk: u64) -> Room {
        Room { memory: Mebibytes(memory), disk: Mebibytes(disk) }
    }

    #[test]
    fn a_staging_without_room_is_refused_with_what_is_missing() {
        let mut admission = Admission::new(TOTAL);
        admission.start("a".into(), "app".into(), room(3072, 1024)).unwrap();
        let refused = admission.start("b".into(), "app".into(), room(2048, 1024)).unwrap_err();
        assert!(refused.to_string().contains("1G of memory left and this staging needs 2G"), "{refused}");
        admission.ended(&"a".into());
        admission.start("b".into(), "app".into(), room(2048, 1024)).unwrap();
        assert_eq!(admission.start("b".into(), "app".into(), room(1, 1)), Err(Failure::AlreadyRunning));
    }

    #[test]
    fn stopping_is_told_once_and_only_for_the_app() {
        let mut admission = Admission::new(TOTAL);
        admission.start("a".into(), "one".into(), room(1, 1)).unwrap();
        admission.start("b".into(), "two".into(), room(1, 1)).unwrap();
        assert_eq!(admission.stop(&"one".into()), [TaskId::from("a")]);
        assert!(admission.stop(&"one".into()).is_empty());
        assert_eq!(admission.close(), [TaskId::from("b")]);
        assert_eq!(admission.start("c".into(), "one".into(), room(1, 1)), Err(Failure::ShuttingDown));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Start(u8, u8, u64, u64),
        Stop(u8),
        Ended(u8),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (0u8..12, 0u8..4, 0u64..3000, 0u64..6000).prop_map(|(t, a, m, d)| Event::Start(t, a, m, d)),
            (0u8..4).prop_map(Event::Stop),
            (0u8..12).prop_map(Event::Ended),
        ]
    }

    proptest! {
        #[test]
        fn no_more_is_reserved_than_there_is_and_everything_comes_back(events in prop::collection::vec(event(), 0..60)) {
            let mut admission = Admission::new(TOTAL);
            let mut accepted = BTreeMap::new();
            for event in events {
                match event {
                    Event::Start(task, app, memory, disk) => {
                        let wanted = room(memory, disk);
                        if admission.start(task.to_string().into(), app.to_string().into(), wanted).is_ok() {
                            prop_assert!(accepted.insert(task, wanted).is_none());
                        }
                    }
                    Event::Stop(app) => drop(admission.stop(&app.to_string().into())),
                    Event::Ended(task) => { admission.ended(&task.to_string().into()); accepted.remove(&task); }
                }
                let memory: u64 = accepted.values().map(|room| room.memory.0).sum();
                let disk: u64 = accepted.values().map(|room| room.disk.0).sum();
                prop_assert!(memory <= TOTAL.memory.0 && disk <= TOTAL.disk.0);
                prop_assert_eq!(admission.available(), room(TOTAL.memory.0 - memory, TOTAL.disk.0 - disk));
            }
            for task in accepted.into_keys() {
                admission.ended(&task.to_string().into());
            }
            prop_assert_eq!(admission.available(), TOTAL);
        }
    }
}

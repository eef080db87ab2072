//! The difference between desired and actual state. Pure: no I/O, no clock, the same answer for the same state.
//!
//! The rules are HM9000's (its analyzer and sender), in this order for each app:
//!
//! 1. A desired index without any instance is started after a grace period; at once when its instance went
//!    with its agent, which said so or was silent for too long.
//! 2. A desired index with crashed instances only is started at once for the first crashes, then ever later.
//!    While nothing of the app lives, only its first index is tried.
//! 3. An evacuating instance is replaced at once, and stopped when its replacement runs.
//! 4. Only when every desired index runs: instances of other versions or indices are stopped, and of
//!    duplicates all but the oldest, after four grace periods and one by one.
//!
//! Instances of apps that are stopped or unknown are stopped when the desired state was read after they were
//! first seen. Crashed instances are never stopped: they hold nothing but the news of their crash.

use crate::{
    Config, Moment,
    actual::{Actual, Seen, Slot},
    desired::{Desired, Wanted},
};
use cupola_protocol::{
    AppId, InstanceId, Version,
    dea::InstanceState::{Born, Crashed, Evacuating, Resuming, Running, Starting},
};
use std::collections::BTreeSet;

/// Something that the controller is asked to do; it looks again before it does it.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Start one instance.
    Start {
        /// Where.
        slot: Slot,
        /// Why.
        reason: StartReason,
        /// Share of the app's instances that do not run: the larger, the earlier.
        priority: f64,
    },
    /// Stop one instance.
    Stop {
        /// Which.
        instance: InstanceId,
        /// Its place.
        slot: Slot,
        /// Why.
        reason: StopReason,
    },
}

/// Why an instance is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartReason {
    /// Nothing is there.
    Missing,
    /// Its agent went, or goes.
    Moved,
    /// It crashed.
    Crashed,
}

/// Why an instance is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The app should not run.
    NotDesired,
    /// The app should run in another version.
    OldVersion,
    /// The app should have fewer instances.
    ExtraIndex,
    /// Another one runs at the same index.
    Duplicate,
    /// It is evacuating, and its replacement runs.
    Replaced,
}

/// Priority of a replacement for an instance whose agent goes: before all others, as in HM9000.
const MOVED_PRIORITY: f64 = 2.0;

/// A duplicate is left alone for so many grace periods.
const DUPLICATE_GRACES: u32 = 4;

/// What is to be done now; nothing when either state is stale.
pub fn decide(desired: &Desired, actual: &Actual, now: Moment, config: &Config) -> Vec<Decision> {
    if !desired.is_fresh(now, config) || !actual.is_fresh(now, config) {
        return Vec::new();
    }
    let situation = Situation { desired, actual, now, config };
    let by_app = actual.by_app();
    let mut starts = Vec::new();
    let mut stops = Vec::new();
    let apps: BTreeSet<&AppId> = desired.ids().chain(by_app.keys().copied()).collect();
    for app in apps {
        let seen = by_app.get(app).map(Vec::as_slice).unwrap_or_default();
        match desired.wanted(app) {
            Wanted::Unclear => {}
            Wanted::Nothing => situation.stop_all(seen, &mut stops),
            Wanted::Run { version, instances, since } => {
                let wish = Wish { app, version, instances, since };
                situation.start_what_lacks(&wish, seen, &mut starts);
                situation.stop_what_is_extra(&wish, seen, &mut stops);
            }
        }
    }
    // Stable: equal priorities keep the order of apps and indices, so the same state gives the same wishes.
    starts.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    starts.truncate(config.starts_per_pass);
    starts.into_iter().map(|(_, start)| start).chain(stops).collect()
}

struct Situation<'a> {
    desired: &'a Desired,
    actual: &'a Actual,
    now: Moment,
    config: &'a Config,
}

struct Wish<'a> {
    app: &'a AppId,
    version: Version,
    instances: u32,
    since: Moment,
}

impl Wish<'_> {
    fn slot(&self, index: u32) -> Slot {
        Slot { app: self.app.clone(), version: self.version.clone(), index }
    }

    fn is_current(&self, seen: &Seen) -> bool {
        seen.beat.version == self.version
    }
}

fn lives(seen: &Seen) -> bool {
    matches!(seen.beat.state, Born | Starting | Running | Resuming)
}

fn runs(seen: &Seen) -> bool {
    seen.beat.state == Running
}

impl Situation<'_> {
    fn start_what_lacks(&self, wish: &Wish<'_>, seen: &[&Seen], starts: &mut Vec<(f64, Decision)>) {
        let current: Vec<&Seen> = seen.iter().copied().filter(|seen| wish.is_current(seen)).collect();
        let something_lives = current.iter().any(|seen| lives(seen));
        let taken: BTreeSet<u32> =
            current.iter().filter(|seen| lives(seen)).map(|seen| seen.beat.index).collect();
        let lacking = (0..wish.instances).filter(|index| !taken.contains(index)).count();
        let missing_priority = lacking as f64 / f64::from(wish.instances);
        for index in (0..wish.instances).filter(|index| !taken.contains(index)) {
            let slot = wish.slot(index);
            let here = || current.iter().filter(|seen| seen.beat.index == index);
            let (reason, due) =
                if here().any(|seen| seen.beat.state == Evacuating) || self.actual.is_moved(&slot) {
                    (StartReason::Moved, self.now)
                } else if here().any(|seen| seen.beat.state == Crashed) {
                    if !something_lives && index != 0 {
                        continue;
                    }
                    (StartReason::Crashed, self.due_after_crash(&slot).unwrap_or(self.now))
                } else {
                    self.due_when_empty(&slot, wish)
                };
            if due > self.now || self.actual.start_is_under_way(&slot, self.now, self.config) {
                continue;
            }
            let priority = match reason {
                StartReason::Moved => MOVED_PRIORITY,
                StartReason::Missing | StartReason::Crashed => missing_priority,
            };
            starts.push((priority, Decision::Start { slot, reason, priority }));
        }
    }

    fn due_after_crash(&self, slot: &Slot) -> Option<Moment> {
        let crashes = self.actual.crashes(slot)?;
        Some(crashes.last + self.config.crash_delay(crashes.count.saturating_sub(1)))
    }

    /// A slot without any instance: missing, or its crash was told before any heartbeat named it.
    fn due_when_empty(&self, slot: &Slot, wish: &Wish<'_>) -> (StartReason, Moment) {
        let free_since = self.actual.free_since(slot);
        let missing = free_since.max(wish.since) + self.config.grace();
        match (self.actual.crashes(slot), self.due_after_crash(slot)) {
            (Some(crashes), Some(due)) if crashes.last >= free_since => (StartReason::Crashed, due),
            (_, Some(due)) => (StartReason::Missing, due.max(missing)),
            _ => (StartReason::Missing, missing),
        }
    }

    fn stop_all(&self, seen: &[&Seen], stops: &mut Vec<Decision>) {
        for seen in seen {
            self.stop(seen, StopReason::NotDesired, stops);
        }
    }

    fn stop_what_is_extra(&self, wish: &Wish<'_>, seen: &[&Seen], stops: &mut Vec<Decision>) {
        let running: BTreeSet<u32> = seen
            .iter()
            .filter(|seen| wish.is_current(seen) && runs(seen))
            .map(|seen| seen.beat.index)
            .collect();
        if (0..wish.instances).any(|index| !running.contains(&index)) {
            return;
        }
        for seen in seen {
            if !wish.is_current(seen) {
                self.stop(seen, StopReason::OldVersion, stops);
            } else if seen.beat.index >= wish.instances {
                self.stop(seen, StopReason::ExtraIndex, stops);
            } else if seen.beat.state == Evacuating {
                self.stop(seen, StopReason::Replaced, stops);
            }
        }
        for index in 0..wish.instances {
            let mut at_index: Vec<&Seen> = seen
                .iter()
                .copied()
                .filter(|seen| wish.is_current(seen) && seen.beat.index == index && runs(seen))
                .collect();
            at_index.sort_by_key(|seen| (seen.state_since, seen.beat.instance.clone()));
            for (nth, duplicate) in (0..).zip(at_index.into_iter().skip(1)) {
                let patience = self.config.grace() * (DUPLICATE_GRACES + nth);
                if self.now.saturating_sub(duplicate.state_since) >= patience {
                    self.stop(duplicate, StopReason::Duplicate, stops);
                }
            }
        }
    }

    fn stop(&self, seen: &Seen, reason: StopReason, stops: &mut Vec<Decision>) {
        let instance = &seen.beat.instance;
        // What was first seen after the read of the desired state may be what a newer wish has started.
        let too_new = !self.desired.read_after(seen.first.max(seen.version_since));
        if seen.beat.state == Crashed
            || too_new
            || self.actual.stop_is_under_way(instance, self.now, self.config)
        {
            return;
        }
        let slot = crate::actual::slot_of(&seen.beat);
        stops.push(Decision::Stop { instance: instance.clone(), slot, reason });
    }
}

#[cfg(test)]
mod tests;

//! What runs, as the agents tell it.

use crate::{Config, Moment, decide::Decision};
use cupola_protocol::{
    AppId, DeaId, InstanceId, Version,
    dea::{Heartbeat, InstanceHeartbeat, InstanceState},
    droplet::{ExitReason, Exited},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// For so long after an exit, a heartbeat that shows the instance alive is taken for one that was under way.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// One place that an instance may take.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// The app.
    pub app: AppId,
    /// Its version.
    pub version: Version,
    /// Which of its instances.
    pub index: u32,
}

/// An instance that is reported.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What its agent says of it.
    pub beat: InstanceHeartbeat,
    /// The agent.
    pub dea: DeaId,
    /// When it was reported first.
    pub first: Moment,
    /// Since when it is reported in this state.
    pub state_since: Moment,
    /// Since when it is reported with this version: `dea.update` can change it.
    pub version_since: Moment,
}

/// Crashes of one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashes {
    /// How many in a row.
    pub count: u32,
    /// When the last one was told.
    pub last: Moment,
}

/// Everything that heartbeats and exits have told, and what was asked for because of it.
#[derive(Debug, Clone, Default)]
pub struct Actual {
    /// Since when heartbeats are heard without a gap; none while the bus is away.
    listening_since: Option<Moment>,
    /// The last heartbeat of each agent.
    deas: BTreeMap<DeaId, Moment>,
    instances: BTreeMap<InstanceId, Seen>,
    /// When a slot was last seen taken. Only of slots that are free now.
    vacated: BTreeMap<Slot, Moment>,
    crashes: BTreeMap<Slot, Crashes>,
    /// Instances that have ended, so that no crash is counted twice.
    ended: BTreeMap<InstanceId, Moment>,
    /// Slots whose instance went with its agent: started again at once.
    moved: BTreeMap<Slot, Moment>,
    /// Starts that were asked for and have not shown an effect yet.
    starts: BTreeMap<Slot, Moment>,
    /// Stops that were asked for.
    stops: BTreeMap<InstanceId, Moment>,
}

impl Actual {
    /// The bus is there: what comes from now on is heard.
    pub fn listen(&mut self, now: Moment) {
        self.listening_since.get_or_insert(now);
    }

    /// The bus is away: nothing that is known may be acted on.
    pub fn deaf(&mut self) {
        self.listening_since = None;
    }

    /// Takes a heartbeat, which names all instances of its agent. Says whether anything has changed.
    pub fn heartbeat(&mut self, heartbeat: &Heartbeat, now: Moment) -> bool {
        self.deas.insert(heartbeat.dea.clone(), now);
        let mut changed = false;
        let named: BTreeSet<&InstanceId> = heartbeat.droplets.iter().map(|beat| &beat.instance).collect();
        let gone: Vec<InstanceId> = self
            .instances
            .iter()
            .filter(|(id, seen)| seen.dea == heartbeat.dea && !named.contains(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            changed |= self.remove(&id, now);
        }
        for beat in &heartbeat.droplets {
            changed |= self.beat(&heartbeat.dea, beat, now);
        }
        changed
    }

    fn beat(&mut self, dea: &DeaId, beat: &InstanceHeartbeat, now: Moment) -> bool {
        let crashed = beat.state == InstanceState::Crashed;
        let under_way = self.ended.get(&beat.instance).is_some_and(|at| now.saturating_sub(*at) < UNDER_WAY);
        if under_way && !crashed {
            return false;
        }
        if matches!(beat.state, InstanceState::Stopping | InstanceState::Stopped) {
            return self.remove(&beat.instance, now);
        }
        let slot = slot_of(beat);
        let mut seen =
            Seen { beat: beat.clone(), dea: dea.clone(), first: now, state_since: now, version_since: now };
        let mut changed = true;
        if let Some(old) = self.instances.get(&beat.instance) {
            let same_state = old.beat.state == beat.state;
            let same_version = old.beat.version == beat.version;
            seen.first = old.first;
            seen.state_since = if same_state { old.state_since } else { now };
            seen.version_since = if same_version { old.version_since } else { now };
            changed = !(same_state && same_version);
        } else {
            // The effect of a wish, whoever's it was.
            self.starts.remove(&slot);
            self.moved.remove(&slot);
        }
        if crashed {
            self.count_crash(&beat.instance, &slot, now);
        }
        self.vacated.remove(&slot);
        self.instances.insert(beat.instance.clone(), seen);
        changed
    }

    /// Takes the news that an instance has ended.
    pub fn exited(&mut self, exited: &Exited, now: Moment) {
        let slot = Slot { app: exited.droplet.clone(), version: exited.version.clone(), index: exited.index };
        if !self.instances.contains_key(&exited.instance) {
            // It came and went between two heartbeats: still the effect of a wish.
            self.starts.remove(&slot);
        }
        match exited.reason {
            ExitReason::Crashed => {
                self.count_crash(&exited.instance, &slot, now);
                match self.instances.get_mut(&exited.instance) {
                    Some(seen) if seen.beat.state != InstanceState::Crashed => {
                        seen.beat.state = InstanceState::Crashed;
                        seen.state_since = now;
                    }
                    Some(_) => {}
                    // No heartbeat has named it, so no agent is known that would report it: the slot is free,
                    // and its crash count says when it is due.
                    None => drop(self.vacated.insert(slot.clone(), now)),
                }
            }
            ExitReason::DeaShutdown | ExitReason::DeaEvacuation => {
                self.remove(&exited.instance, now);
                self.moved.insert(slot, now);
            }
            ExitReason::Stopped => drop(self.remove(&exited.instance, now)),
        }
        self.ended.insert(exited.instance.clone(), now);
    }

    /// Counts the crash of one instance, once, whether its agent told by exit or by heartbeat.
    fn count_crash(&mut self, instance: &InstanceId, slot: &Slot, now: Moment) {
        if self.ended.insert(instance.clone(), now).is_some() {
            return;
        }
        let crashes = self.crashes.entry(slot.clone()).or_insert(Crashes { count: 0, last: now });
        crashes.count = crashes.count.saturating_add(1);
        crashes.last = now;
    }

    fn remove(&mut self, instance: &InstanceId, now: Moment) -> bool {
        let Some(seen) = self.instances.remove(instance) else { return false };
        let slot = slot_of(&seen.beat);
        if !self.instances.values().any(|other| slot_of(&other.beat) == slot) {
            self.vacated.insert(slot, now);
        }
        self.stops.remove(instance);
        true
    }

    /// Forgets agents that are silent for too long, and all that is too old to matter.
    pub fn expire(&mut self, now: Moment, config: &Config) {
        let Some(listening) = self.listening_since else { return };
        let ttl = config.heartbeat_ttl();
        // Silence counts only while somebody listened.
        let lost: Vec<DeaId> = self
            .deas
            .iter()
            .filter(|(_, last)| now.saturating_sub(listening.max(**last)) > ttl)
            .map(|(dea, _)| dea.clone())
            .collect();
        for dea in lost {
            self.deas.remove(&dea);
            let gone: Vec<InstanceId> =
                self.instances.iter().filter(|(_, seen)| seen.dea == dea).map(|(id, _)| id.clone()).collect();
            for id in gone {
                let slot = self.instances.get(&id).map(|seen| slot_of(&seen.beat));
                self.remove(&id, now);
                // The agent's own grace is over: what was on it is started elsewhere at once, unless it is there already.
                if let Some(slot) = slot.filter(|slot| self.vacated.contains_key(slot)) {
                    self.moved.insert(slot, now);
                }
            }
        }
        let memory = config.crash_memory();
        self.crashes.retain(|_, crashes| now.saturating_sub(crashes.last) <= memory);
        let reported = &self.instances;
        self.ended.retain(|id, at| reported.contains_key(id) || now.saturating_sub(*at) <= memory);
        let settled = config.grace().max(ttl) * 2;
        self.vacated.retain(|_, at| now.saturating_sub(*at) <= settled);
        self.moved.retain(|_, at| now.saturating_sub(*at) <= settled);
        self.starts.retain(|_, at| now.saturating_sub(*at) <= settled);
        self.stops.retain(|_, at| now.saturating_sub(*at) <= settled);
    }

    /// Remembers that a decision was sent, so that it has time to show its effect.
    pub fn sent(&mut self, decision: &Decision, now: Moment) {
        match decision {
            Decision::Start { slot, .. } => {
                self.starts.insert(slot.clone(), now);
            }
            Decision::Stop { instance, .. } => {
                self.stops.insert(instance.clone(), now);
            }
        }
    }

    /// Remembers a start that another health manager has asked for.
    pub fn start_asked(&mut self, slot: Slot, now: Moment) {
        self.starts.insert(slot, now);
    }

    /// Remembers a stop that another health manager has asked for.
    pub fn stop_asked(&mut self, instance: InstanceId, now: Moment) {
        self.stops.insert(instance, now);
    }

    /// How many agents are heard, and when the last heartbeat came.
    pub fn agents(&self) -> (usize, Option<Moment>) {
        (self.deas.len(), self.deas.values().max().copied())
    }

    /// Whether it may be acted on: heartbeats were heard for long enough, and some agent lives.
    pub fn is_fresh(&self, now: Moment, config: &Config) -> bool {
        let ttl = config.heartbeat_ttl();
        self.listening_since.is_some_and(|since| {
            now.saturating_sub(since) >= config.settle()
                && self.deas.values().any(|last| *last >= since && now.saturating_sub(*last) <= ttl)
        })
    }

    /// All instances that are reported, by app.
    pub fn by_app(&self) -> BTreeMap<&AppId, Vec<&Seen>> {
        let mut apps: BTreeMap<&AppId, Vec<&Seen>> = BTreeMap::new();
        for seen in self.instances.values() {
            apps.entry(&seen.beat.droplet).or_default().push(seen);
        }
        apps
    }

    /// Crashes of one slot.
    pub fn crashes(&self, slot: &Slot) -> Option<Crashes> {
        self.crashes.get(slot).copied()
    }

    /// Crashes of every slot of one version of an app.
    pub fn crashes_of(&self, app: &AppId, version: &Version) -> Vec<(u32, Crashes)> {
        self.crashes
            .iter()
            .filter(|(slot, _)| slot.app == *app && slot.version == *version)
            .map(|(slot, crashes)| (slot.index, *crashes))
            .collect()
    }

    /// Since when a slot without any instance is known to be free.
    pub fn free_since(&self, slot: &Slot) -> Moment {
        let listening = self.listening_since.unwrap_or_default();
        self.vacated.get(slot).copied().unwrap_or_default().max(listening)
    }

    /// Whether a slot's instance went with its agent.
    pub fn is_moved(&self, slot: &Slot) -> bool {
        self.moved.contains_key(slot)
    }

    /// Whether a start was asked for so recently that its effect may not have shown.
    pub fn start_is_under_way(&self, slot: &Slot, now: Moment, config: &Config) -> bool {
        self.starts.get(slot).is_some_and(|at| now.saturating_sub(*at) < config.grace())
    }

    /// The same for a stop.
    pub fn stop_is_under_way(&self, instance: &InstanceId, now: Moment, config: &Config) -> bool {
        self.stops.get(instance).is_some_and(|at| now.saturating_sub(*at) < config.grace())
    }
}

/// The slot that an instance takes.
pub fn slot_of(beat: &InstanceHeartbeat) -> Slot {
    Slot { app: beat.droplet.clone(), version: beat.version.clone(), index: beat.index }
}

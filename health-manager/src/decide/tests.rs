//! Examples for each rule, then random histories.

use super::*;
use crate::actual::slot_of;
use cupola_protocol::{
    DeaId, Mebibytes,
    controller::{DesiredApp, DesiredState, PackageState},
    dea::{Heartbeat, InstanceHeartbeat, InstanceState, default_partition},
    droplet::{ExitReason, Exited},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};

const GRACE: u64 = 10;

/// Both states, a clock, and what agents would report.
struct World {
    config: Config,
    desired: Desired,
    actual: Actual,
    now: Moment,
    apps: BTreeMap<AppId, DesiredApp>,
    beats: BTreeMap<InstanceId, InstanceHeartbeat>,
}

impl World {
    /// One agent, heard for long enough, with an empty desired state.
    fn settled() -> Self {
        let config = Config { grace_seconds: GRACE as f64, ..Config::default() };
        let mut world = Self {
            config,
            desired: Desired::default(),
            actual: Actual::default(),
            now: Duration::from_secs(1000),
            apps: BTreeMap::new(),
            beats: BTreeMap::new(),
        };
        world.actual.listen(world.now);
        world.wait(15);
        world
    }

    fn app(mut self, instances: u32) -> Self {
        self.desire("app", "v1", instances, DesiredState::Started, PackageState::Staged);
        self
    }

    fn desire(
        &mut self,
        app: &str,
        version: &str,
        instances: u32,
        state: DesiredState,
        package_state: PackageState,
    ) {
        let id = AppId::new(app);
        let desired = DesiredApp {
            id: id.clone(),
            version: Version::new(version),
            instances,
            memory: Mebibytes(64),
            state,
            package_state,
            updated_at: String::new(),
        };
        self.apps.insert(id, desired);
        self.now += Duration::from_millis(1);
        self.desired.replace(self.apps.clone(), self.now);
    }

    fn beat(mut self, instance: &str, version: &str, index: u32, state: InstanceState) -> Self {
        self.set(instance, version, index, state);
        self
    }

    fn set(&mut self, instance: &str, version: &str, index: u32, state: InstanceState) {
        let beat = InstanceHeartbeat {
            cc_partition: default_partition(),
            droplet: AppId::new("app"),
            version: Version::new(version),
            instance: InstanceId::new(instance),
            index,
            state,
            state_timestamp: 0.0,
        };
        self.beats.insert(beat.instance.clone(), beat);
        self.report();
    }

    fn report(&mut self) {
        let droplets = self.beats.values().cloned().collect();
        self.actual.heartbeat(&Heartbeat { dea: DeaId::new("dea"), droplets }, self.now);
    }

    fn exit(&mut self, instance: &str, reason: ExitReason) {
        let beat = self.beats.remove(&InstanceId::new(instance)).unwrap();
        let exited = Exited {
            cc_partition: default_partition(),
            droplet: beat.droplet,
            version: beat.version,
            instance: beat.instance,
            index: beat.index,
            reason,
            exit_status: 1,
            exit_description: String::new(),
            crash_timestamp: None,
        };
        self.actual.exited(&exited, self.now);
    }

    /// Time goes by with reports and reads each second.
    fn wait(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.report();
            self.desired.replace(self.apps.clone(), self.now);
            self.actual.expire(self.now, &self.config);
        }
    }

    fn after(mut self, seconds: u64) -> Self {
        self.wait(seconds);
        self
    }

    fn decide(&self) -> Vec<Decision> {
        decide(&self.desired, &self.actual, self.now, &self.config)
    }

    fn decide_and_send(&mut self) -> Vec<String> {
        let decisions = self.decide();
        for decision in &decisions {
            self.actual.sent(decision, self.now);
        }
        decisions.iter().map(short).collect()
    }

    fn wishes(&self) -> Vec<String> {
        self.decide().iter().map(short).collect()
    }
}

fn short(decision: &Decision) -> String {
    match decision {
        Decision::Start { slot, reason, .. } => format!("start {} {reason:?}", slot.index),
        Decision::Stop { instance, reason, .. } => format!("stop {instance} {reason:?}"),
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn what_runs_as_desired_is_left_alone() {
    let world = World::settled().app(2).beat("a", "v1", 0, Running).beat("b", "v1", 1, Starting).after(100);
    assert_eq!(world.wishes(), NOTHING);
}

#[test]
fn a_missing_instance_is_started_after_the_grace_period_and_asked_for_once_in_each() {
    let mut world = World::settled().app(1).after(GRACE - 1);
    assert_eq!(world.wishes(), NOTHING);
    world.wait(1);
    assert_eq!(world.decide_and_send(), ["start 0 Missing"]);
    assert_eq!(world.wishes(), NOTHING);
    world.wait(GRACE - 1);
    assert_eq!(world.wishes(), NOTHING);
    world.wait(1);
    assert_eq!(world.wishes(), ["start 0 Missing"]);
}

#[test]
fn the_first_crashes_are_restarted_at_once_then_ever_later() {
    let mut world = World::settled().app(1).beat("i0", "v1", 0, Running);
    for (crash, delay) in [(0, 0), (1, 0), (2, 0), (3, 30), (4, 60), (5, 120)] {
        world.wait(5);
        world.exit(&format!("i{crash}"), ExitReason::Crashed);
        world.set(&format!("i{crash}"), "v1", 0, InstanceState::Crashed);
        if delay > 0 {
            world.wait(delay - 1);
            assert_eq!(world.wishes(), NOTHING, "crash {crash} waits {delay} s");
            world.wait(1);
        }
        assert_eq!(world.decide_and_send(), ["start 0 Crashed"], "crash {crash}");
        world.set(&format!("i{}", crash + 1), "v1", 0, Starting);
        assert_eq!(world.wishes(), NOTHING);
        world.set(&format!("i{}", crash + 1), "v1", 0, Running);
    }
}

#[test]
fn crashes_are_forgotten_when_no_further_one_comes() {
    let mut world = World::settled().app(1);
    for crash in 0..5 {
        world.set(&format!("i{crash}"), "v1", 0, Running);
        world.exit(&format!("i{crash}"), ExitReason::Crashed);
    }
    world.set("last", "v1", 0, Running);
    world.wait(1921);
    world.exit("last", ExitReason::Crashed);
    assert_eq!(world.wishes(), ["start 0 Crashed"]);
}

#[test]
fn a_crash_is_counted_once_however_it_is_told() {
    let mut world = World::settled().app(1).beat("i", "v1", 0, Running);
    world.exit("i", ExitReason::Crashed);
    world.set("i", "v1", 0, InstanceState::Crashed);
    world.wait(30);
    let slot = Slot { app: AppId::new("app"), version: Version::new("v1"), index: 0 };
    assert_eq!(world.actual.crashes(&slot).map(|crashes| crashes.count), Some(1));
}

#[test]
fn a_heartbeat_that_was_under_way_does_not_bring_an_ended_instance_back() {
    let mut world = World::settled().app(1).beat("i", "v1", 0, Running);
    world.exit("i", ExitReason::Crashed);
    world.set("i", "v1", 0, Running);
    assert_eq!(world.wishes(), ["start 0 Crashed"]);
}

#[test]
fn a_crash_that_no_heartbeat_has_named_is_restarted_at_once() {
    let mut world = World::settled().app(1).beat("i", "v1", 0, Running);
    world.beats.clear();
    world.wait(1);
    world.beats = World::settled().beat("quick", "v1", 0, Running).beats;
    world.exit("quick", ExitReason::Crashed);
    assert_eq!(world.wishes(), ["start 0 Crashed"]);
}

#[test]
fn while_nothing_lives_only_the_first_index_is_tried() {
    let mut world = World::settled().app(3);
    for index in 0..3 {
        world.set(&format!("i{index}"), "v1", index, InstanceState::Crashed);
    }
    assert_eq!(world.decide_and_send(), ["start 0 Crashed"]);
    world.set("new", "v1", 0, Running);
    assert_eq!(world.decide_and_send(), ["start 1 Crashed", "start 2 Crashed"]);
}

#[test]
fn an_instance_that_went_with_its_agent_is_started_at_once() {
    let mut world = World::settled().app(1).beat("i", "v1", 0, Running);
    world.exit("i", ExitReason::DeaShutdown);
    assert_eq!(world.decide_and_send(), ["start 0 Moved"]);
    world.set("j", "v1", 0, Starting);
    assert_eq!(world.wishes(), NOTHING);
}

#[test]
fn an_evacuating_instance_is_replaced_then_stopped() {
    let mut world = World::settled().app(1).beat("i", "v1", 0, Evacuating);
    assert_eq!(world.decide_and_send(), ["start 0 Moved"]);
    world.set("j", "v1", 0, Starting);
    world.wait(1);
    assert_eq!(world.wishes(), NOTHING);
    world.set("j", "v1", 0, Running);
    world.wait(1);
    assert_eq!(world.wishes(), ["stop i Replaced"]);
}

#[test]
fn extra_instances_are_stopped_when_all_that_is_desired_runs() {
    let mut world = World::settled()
        .app(1)
        .beat("old", "v0", 0, Running)
        .beat("extra", "v1", 7, Running)
        .beat("new", "v1", 0, Starting)
        .after(1);
    assert_eq!(world.wishes(), NOTHING);
    world.set("new", "v1", 0, Running);
    assert_eq!(world.decide_and_send(), ["stop extra ExtraIndex", "stop old OldVersion"]);
    assert_eq!(world.wishes(), NOTHING);
}

#[test]
fn instances_of_stopped_and_unknown_apps_are_stopped() {
    let mut world = World::settled().beat("i", "v1", 0, Running).after(1);
    assert_eq!(world.wishes(), ["stop i NotDesired"]);
    world.desire("app", "v1", 1, DesiredState::Stopped, PackageState::Staged);
    assert_eq!(world.wishes(), ["stop i NotDesired"]);
}

#[test]
fn an_instance_younger_than_the_desired_state_is_not_stopped() {
    let mut world = World::settled();
    world.now += Duration::from_secs(1);
    world.set("i", "v1", 0, Running);
    assert_eq!(world.wishes(), NOTHING);
}

#[test]
fn an_app_without_droplet_is_left_alone() {
    for state in [PackageState::Pending, PackageState::Failed] {
        let mut world = World::settled().beat("i", "v0", 0, Running);
        world.desire("app", "v1", 2, DesiredState::Started, state);
        world.wait(100);
        assert_eq!(world.wishes(), NOTHING, "{state:?}");
    }
}

#[test]
fn duplicates_end_one_by_one_and_the_oldest_stays() {
    let mut world = World::settled().app(1).beat("a", "v1", 0, Running).after(1);
    world.set("b", "v1", 0, Running);
    world.set("c", "v1", 0, Running);
    world.wait(4 * GRACE - 1);
    assert_eq!(world.wishes(), NOTHING);
    world.wait(1);
    assert_eq!(world.decide_and_send(), ["stop b Duplicate"]);
    world.beats.remove(&InstanceId::new("b"));
    world.wait(GRACE);
    assert_eq!(world.decide_and_send(), ["stop c Duplicate"]);
    world.beats.remove(&InstanceId::new("c"));
    world.wait(100);
    assert_eq!(world.wishes(), NOTHING);
}

#[test]
fn a_silent_agent_is_lost_after_the_ttl_and_its_instances_start_elsewhere_at_once() {
    let mut world = World::settled().app(1).beat("i", "v1", 0, Running);
    let other = Heartbeat { dea: DeaId::new("other"), droplets: vec![] };
    for second in 0..100 {
        world.now += Duration::from_secs(1);
        world.actual.heartbeat(&other, world.now);
        world.desired.replace(world.apps.clone(), world.now);
        world.actual.expire(world.now, &world.config);
        if !world.wishes().is_empty() {
            assert_eq!(world.wishes(), ["start 0 Moved"]);
            assert_eq!(second, 30, "its silence was the grace");
            return;
        }
    }
    panic!("never started");
}

#[test]
fn nothing_is_done_without_heartbeats_without_bus_or_on_an_old_desired_state() {
    let mut silent = World::settled().app(1).beat("i", "v0", 0, Running);
    silent.now += Duration::from_secs(31);
    silent.desired.replace(silent.apps.clone(), silent.now);
    silent.actual.expire(silent.now, &silent.config);
    assert_eq!(silent.wishes(), NOTHING, "no heartbeats");

    let mut deaf = World::settled().app(1).after(60);
    assert_eq!(deaf.wishes(), ["start 0 Missing"]);
    deaf.actual.deaf();
    assert_eq!(deaf.wishes(), NOTHING, "no bus");
    deaf.actual.listen(deaf.now);
    deaf.wait(11);
    assert_eq!(deaf.wishes(), NOTHING, "not settled");
    deaf.wait(1);
    assert_eq!(deaf.wishes(), ["start 0 Missing"]);

    let mut old = World::settled().app(1);
    for _ in 0..121 {
        old.now += Duration::from_secs(1);
        old.report();
    }
    assert_eq!(old.wishes(), NOTHING, "old desired state");
}

#[test]
fn starts_are_ordered_by_how_much_lacks_and_cut_at_the_limit() {
    let mut world = World::settled();
    world.config.starts_per_pass = 2;
    for (app, instances) in [("app", 2), ("none-runs", 1)] {
        world.desire(app, "v1", instances, DesiredState::Started, PackageState::Staged);
    }
    world.set("i", "v1", 0, Running);
    world.wait(60);
    let apps: Vec<String> = world
        .decide()
        .iter()
        .map(|decision| match decision {
            Decision::Start { slot, .. } => slot.app.to_string(),
            Decision::Stop { .. } => panic!("{decision:?}"),
        })
        .collect();
    assert_eq!(apps, ["none-runs", "app"]);
    world.config.starts_per_pass = 1;
    assert_eq!(world.decide().len(), 1);
}

/// What may happen.
#[derive(Debug, Clone)]
enum Event {
    Wait(u64),
    WaitWithoutReads(u64),
    Set { instance: u8, version: u8, index: u32, state: InstanceState },
    Exit { instance: u8, reason: ExitReason },
    Vanish { instance: u8 },
    Desire { version: u8, instances: u32, state: DesiredState, package: PackageState },
    Forget,
    Deaf,
    Listen,
    Act,
}

fn events() -> impl Strategy<Value = Event> {
    let states = prop::sample::select(vec![Born, Starting, Running, Crashed, Evacuating, Resuming]);
    let reasons = prop::sample::select(vec![
        ExitReason::Crashed,
        ExitReason::Stopped,
        ExitReason::DeaShutdown,
        ExitReason::DeaEvacuation,
    ]);
    let wishes =
        prop::sample::select(vec![DesiredState::Started, DesiredState::Started, DesiredState::Stopped]);
    let packages =
        prop::sample::select(vec![PackageState::Staged, PackageState::Staged, PackageState::Pending]);
    prop_oneof![
        (1..40u64).prop_map(Event::Wait),
        (1..200u64).prop_map(Event::WaitWithoutReads),
        (0..8u8, 0..2u8, 0..4u32, states).prop_map(|(instance, version, index, state)| Event::Set {
            instance,
            version,
            index,
            state
        }),
        (0..8u8, reasons).prop_map(|(instance, reason)| Event::Exit { instance, reason }),
        (0..8u8).prop_map(|instance| Event::Vanish { instance }),
        (0..2u8, 0..4u32, wishes, packages).prop_map(|(version, instances, state, package)| {
            Event::Desire { version, instances, state, package }
        }),
        Just(Event::Forget),
        Just(Event::Deaf),
        Just(Event::Listen),
        Just(Event::Act),
    ]
}

impl World {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Wait(seconds) => self.wait(*seconds),
            Event::WaitWithoutReads(seconds) => {
                for _ in 0..*seconds {
                    self.now += Duration::from_secs(1);
                    self.report();
                    self.actual.expire(self.now, &self.config);
                }
            }
            Event::Set { instance, version, index, state } => {
                self.set(&format!("i{instance}"), &format!("v{version}"), *index, *state);
            }
            Event::Exit { instance, reason } => {
                let id = format!("i{instance}");
                if self.beats.contains_key(&InstanceId::new(id.clone())) {
                    self.exit(&id, *reason);
                }
            }
            Event::Vanish { instance } => {
                self.beats.remove(&InstanceId::new(format!("i{instance}")));
            }
            Event::Desire { version, instances, state, package } => {
                self.desire("app", &format!("v{version}"), *instances, *state, *package);
            }
            Event::Forget => self.apps.clear(),
            Event::Deaf => self.actual.deaf(),
            Event::Listen => self.actual.listen(self.now),
            Event::Act => drop(self.decide_and_send()),
        }
    }

    fn check(&mut self) {
        let decisions = self.decide();
        let fresh =
            self.desired.is_fresh(self.now, &self.config) && self.actual.is_fresh(self.now, &self.config);
        assert!(fresh || decisions.is_empty(), "acts on stale data: {decisions:?}");
        for decision in &decisions {
            match decision {
                Decision::Start { slot, .. } => {
                    let Wanted::Run { version, instances, .. } = self.desired.wanted(&slot.app) else {
                        panic!("starts what is not wanted: {slot:?}");
                    };
                    assert_eq!(slot.version, version);
                    assert!(slot.index < instances);
                    let taken = self
                        .actual
                        .by_app()
                        .values()
                        .flatten()
                        .any(|seen| slot_of(&seen.beat) == *slot && lives(seen));
                    assert!(!taken, "starts a second instance: {slot:?}");
                }
                Decision::Stop { instance, .. } => {
                    let by_app = self.actual.by_app();
                    let all: Vec<&&Seen> = by_app.values().flatten().collect();
                    let stopped = all.iter().find(|seen| seen.beat.instance == *instance).unwrap();
                    let Wanted::Run { version, instances, .. } = self.desired.wanted(&stopped.beat.droplet)
                    else {
                        continue;
                    };
                    if stopped.beat.version == version && stopped.beat.index < instances {
                        let stays = all.iter().any(|seen| {
                            slot_of(&seen.beat) == slot_of(&stopped.beat)
                                && runs(seen)
                                && seen.beat.instance != *instance
                                && !decisions.iter().any(|other| {
                                    matches!(other, Decision::Stop { instance, .. } if *instance == seen.beat.instance)
                                })
                        });
                        assert!(stays, "stops the last one at its index: {stopped:?}");
                    }
                }
            }
        }
        for decision in &decisions {
            self.actual.sent(decision, self.now);
        }
        let repeated = self.decide();
        let again: Vec<&Decision> = repeated.iter().filter(|decision| decisions.contains(decision)).collect();
        assert!(again.is_empty(), "repeats itself: {again:?}");
    }

    /// A controller that does what it is asked, and agents whose instances become healthy.
    fn obey(&mut self, nth: &mut u32) {
        for decision in self.decide() {
            self.actual.sent(&decision, self.now);
            match decision {
                Decision::Start { slot, .. } => {
                    *nth += 1;
                    self.set(&format!("started-{nth}"), slot.version.as_str(), slot.index, Running);
                }
                Decision::Stop { instance, .. } => {
                    self.beats.remove(&instance);
                }
            }
        }
        for beat in self.beats.values_mut() {
            if beat.state != Crashed && beat.state != Evacuating {
                beat.state = Running;
            }
        }
    }
}

proptest! {
    #[test]
    fn no_history_leads_to_a_harmful_decision(history in prop::collection::vec(events(), 1..60)) {
        let mut world = World::settled();
        for event in &history {
            world.apply(event);
            let mut probe = World {
                config: world.config.clone(),
                desired: world.desired.clone(),
                actual: world.actual.clone(),
                now: world.now,
                apps: world.apps.clone(),
                beats: world.beats.clone(),
            };
            probe.check();
        }
    }

    #[test]
    fn every_history_ends_well_when_the_wishes_are_granted(
        history in prop::collection::vec(events(), 1..40),
        instances in 0..4u32,
    ) {
        let mut world = World::settled();
        for event in &history {
            world.apply(event);
        }
        world.actual.listen(world.now);
        world.desire("app", "v1", instances, DesiredState::Started, PackageState::Staged);
        let mut nth = 0;
        // Longer than the longest backoff.
        for _ in 0..1200 {
            world.wait(1);
            world.obey(&mut nth);
        }
        world.report();
        let running: Vec<(String, u32)> = world
            .beats
            .values()
            .filter(|beat| beat.state != Crashed)
            .map(|beat| (beat.version.to_string(), beat.index))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let expected: Vec<(String, u32)> = (0..instances).map(|index| ("v1".to_owned(), index)).collect();
        prop_assert_eq!(&running, &expected);
        let count = world.beats.values().filter(|beat| beat.state != Crashed).count();
        prop_assert_eq!(count, expected.len(), "a duplicate stayed");
    }
}

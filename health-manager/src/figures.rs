//! What the health manager counts and measures.

use crate::{
    decide::{StartReason, StopReason},
    picture::Picture,
};
use cupola_status::{
    Counter, Gauge, Snapshot,
    figures::{counter, gauge},
};
use serde_json::Value;
use std::time::Duration;

/// What stands for "not known", as in HM9000: a wrong figure would be worse.
const UNKNOWN: f64 = -1.0;

/// Every figure of the health manager.
pub(crate) struct Figures {
    active: Gauge,
    desired_apps: Gauge,
    incomplete_apps: Gauge,
    desired_instances: Gauge,
    running_instances: Gauge,
    missing_instances: Gauge,
    crashed_instances: Gauge,
    extra_instances: Gauge,
    agents: Gauge,
    desired_age: Gauge,
    heartbeat_age: Gauge,
    starts: [Counter; 3],
    stops: [Counter; 5],
    /// Heartbeats heard.
    pub(crate) heartbeats: Counter,
    /// Exits of instances heard.
    pub(crate) exits: Counter,
    /// Complete reads of the desired state.
    pub(crate) reads: Counter,
    /// Reads that failed.
    pub(crate) failed_reads: Counter,
}

impl Figures {
    /// Made under the recorder of the status page.
    pub(crate) fn new() -> Self {
        let own = |name: &'static str, help| gauge(format!("cupola_health_manager_{name}"), help, &[]);
        let starts = |reason| {
            let help = "Starts asked for, by reason";
            counter("cupola_health_manager_starts_total", help, &[("reason", reason)])
        };
        let stops = |reason| {
            let help = "Stops asked for, by reason";
            counter("cupola_health_manager_stops_total", help, &[("reason", reason)])
        };
        let reads = |result| {
            let help = "Reads of the desired state, by result";
            counter("cupola_health_manager_desired_reads_total", help, &[("result", result)])
        };
        let told = |name: &'static str, help| counter(format!("cupola_health_manager_{name}"), help, &[]);
        Self {
            active: own("active", "1 while this one acts, 0 while another does"),
            desired_apps: own("desired_apps", "Apps that should run; -1 while the state is stale"),
            incomplete_apps: own(
                "incomplete_apps",
                "Apps with a missing or crashed instance; -1 while the state is stale",
            ),
            desired_instances: own(
                "desired_instances",
                "Instances that should run; -1 while the state is stale",
            ),
            running_instances: own("running_instances", "Instances that run; -1 while the state is stale"),
            missing_instances: own(
                "missing_instances",
                "Wanted instances that no agent reports; -1 while the state is stale",
            ),
            crashed_instances: own(
                "crashed_instances",
                "Wanted instances of which only a crash is reported; -1 while the state is stale",
            ),
            extra_instances: own(
                "extra_instances",
                "Instances that should not run; -1 while the state is stale",
            ),
            agents: own("agents", "Node agents that are heard"),
            desired_age: own("desired_age_seconds", "Age of the desired state; -1 before the first read"),
            heartbeat_age: own("heartbeat_age_seconds", "Time since the last heartbeat; -1 before the first"),
            starts: ["missing", "moved", "crashed"].map(starts),
            stops: ["not_desired", "old_version", "extra_index", "duplicate", "replaced"].map(stops),
            heartbeats: told("heartbeats_total", "Heartbeats of node agents heard"),
            exits: told("exits_total", "Ends of instances heard"),
            reads: reads("ok"),
            failed_reads: reads("failed"),
        }
    }

    /// A start was asked for.
    pub(crate) fn started(&self, reason: StartReason) {
        self.starts[reason as usize].increment(1);
    }

    /// A stop was asked for.
    pub(crate) fn stopped(&self, reason: StopReason) {
        self.stops[reason as usize].increment(1);
    }

    /// Takes the picture; none when it is not known.
    pub(crate) fn show(&self, picture: Option<Picture>, acts: bool) {
        let set = |gauge: &Gauge, figure: fn(Picture) -> u32| {
            gauge.set(picture.map_or(UNKNOWN, |picture| f64::from(figure(picture))));
        };
        set(&self.desired_apps, |picture| picture.desired_apps);
        set(&self.incomplete_apps, |picture| picture.incomplete_apps);
        set(&self.desired_instances, |picture| picture.desired_instances);
        set(&self.running_instances, |picture| picture.running_instances);
        set(&self.missing_instances, |picture| picture.missing_instances);
        set(&self.crashed_instances, |picture| picture.crashed_instances);
        set(&self.extra_instances, |picture| picture.extra_instances);
        self.active.set(f64::from(u8::from(acts)));
    }

    /// Takes the ages of what is known, and from how many it is known.
    pub(crate) fn show_ages(&self, desired: Option<Duration>, heartbeat: Option<Duration>, agents: usize) {
        self.desired_age.set(desired.map_or(UNKNOWN, |age| age.as_secs_f64()));
        self.heartbeat_age.set(heartbeat.map_or(UNKNOWN, |age| age.as_secs_f64()));
        self.agents.set(agents as f64);
    }
}

/// HM9000's names.
pub(crate) fn historic(figures: &Snapshot) -> Vec<(&'static str, Value)> {
    [
        ("NumberOfDesiredApps", "desired_apps"),
        ("NumberOfDesiredInstances", "desired_instances"),
        ("NumberOfRunningInstances", "running_instances"),
        ("NumberOfMissingIndices", "missing_instances"),
        ("NumberOfCrashedIndices", "crashed_instances"),
        ("NumberOfAppsWithMissingInstances", "incomplete_apps"),
    ]
    .into_iter()
    .map(|(old, new)| {
        let figure = figures.value(&format!("cupola_health_manager_{new}"), &[]);
        (old, Value::from(figure.unwrap_or(UNKNOWN) as i64))
    })
    .collect()
}

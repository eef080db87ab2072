//! What a node agent counts and measures.

use crate::{
    instance::{Record, container::chain},
    node::Node,
    resources::Available,
    stats::Readings,
};
use cupola_protocol::{
    Bytes,
    dea::InstanceState::{self, Born, Crashed, Evacuating, Resuming, Running, Starting, Stopping},
};
use cupola_status::{
    Counter, Gauge, Histogram, Question, Snapshot,
    figures::{counter, gauge, histogram},
};
use futures::future::join_all;
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// How long a warden that is away is waited for.
const WARDEN_PATIENCE: Duration = Duration::from_millis(500);

/// How long all its answers may take.
const WARDEN_LIMIT: Duration = Duration::from_secs(2);

/// States that are counted, and their names.
const STATES: [(InstanceState, &str); 7] = [
    (Born, "born"),
    (Starting, "starting"),
    (Running, "running"),
    (Stopping, "stopping"),
    (Crashed, "crashed"),
    (Resuming, "resuming"),
    (Evacuating, "evacuating"),
];

/// Every figure of an agent.
pub(crate) struct Figures {
    instances: [Gauge; 7],
    memory: Resource,
    disk: Resource,
    containers: Gauge,
    stacks: Gauge,
    warden_up: Gauge,
    warden_errors: Counter,
    /// Starts accepted.
    pub(crate) starts: Counter,
    /// Starts refused.
    pub(crate) refusals: Counter,
    /// Instances that became healthy, and how long that took.
    pub(crate) start_seconds: Histogram,
    /// Crashes.
    pub(crate) crashes: Counter,
    downloads: Downloads,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

/// Fetches of droplets.
#[derive(Clone)]
pub(crate) struct Downloads {
    pub(crate) done: Counter,
    pub(crate) failed: Counter,
}

impl std::fmt::Debug for Downloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downloads").finish_non_exhaustive()
    }
}

/// Memory or disk, in bytes.
struct Resource {
    total: Gauge,
    reserved: Gauge,
    used: Gauge,
}

impl Figures {
    /// Made under the recorder of the status page.
    pub(crate) fn new() -> Self {
        let own = |name: &'static str, help| gauge(format!("cupola_dea_{name}"), help, &[]);
        let told = |name: &'static str, help| counter(format!("cupola_dea_{name}"), help, &[]);
        let downloads = |result| {
            let help = "Fetches of droplets, by result; droplets that were there already are not fetched";
            counter("cupola_dea_droplet_downloads_total", help, &[("result", result)])
        };
        Self {
            instances: STATES
                .map(|(_, state)| gauge("cupola_dea_instances", "Instances, by state", &[("state", state)])),
            memory: Resource {
                total: own("memory_total_bytes", "Memory that may be handed out"),
                reserved: own("memory_reserved_bytes", "Memory that is handed out"),
                used: own("memory_used_bytes", "Memory that running instances use"),
            },
            disk: Resource {
                total: own("disk_total_bytes", "Disk that may be handed out"),
                reserved: own("disk_reserved_bytes", "Disk that is handed out"),
                used: own("disk_used_bytes", "Disk that running instances use"),
            },
            containers: own("containers", "Containers that the warden has, of this agent and of others"),
            stacks: own("stacks", "Stacks of this node"),
            warden_up: own("warden_up", "1 when the warden answers"),
            warden_errors: told("warden_errors_total", "Requests that the warden refused or did not answer"),
            starts: told("starts_total", "Starts of instances that were accepted"),
            refusals: told("start_refusals_total", "Starts of instances that were refused"),
            start_seconds: histogram(
                "cupola_dea_start_seconds",
                "Time from the acceptance of an instance until it is healthy",
                &[],
            ),
            crashes: told("crashes_total", "Instances that crashed"),
            downloads: Downloads { done: downloads("ok"), failed: downloads("failed") },
        }
    }
}

impl Figures {
    /// The counters of fetches, for who fetches.
    pub(crate) fn downloads(&self) -> Downloads {
        self.downloads.clone()
    }
}

/// What the owner of the instances knows at one moment.
pub(crate) struct Seen {
    pub(crate) records: Vec<Record>,
    pub(crate) reserved: Available,
    pub(crate) stacks: usize,
}

/// Brings the figures up to date and answers; beside the owner, since the warden may take its time.
pub(crate) async fn answer(node: Arc<Node>, readings: Arc<Readings>, seen: Seen, question: Question) {
    let figures = &node.figures;
    for (gauge, (state, _)) in figures.instances.iter().zip(STATES) {
        gauge.set(seen.records.iter().filter(|record| record.state == state).count() as f64);
    }
    let set = |gauge: &Gauge, bytes: Bytes| gauge.set(bytes.0 as f64);
    set(&figures.memory.total, node.capacity.memory.bytes());
    set(&figures.disk.total, node.capacity.disk.bytes());
    set(&figures.memory.reserved, seen.reserved.memory.bytes());
    set(&figures.disk.reserved, seen.reserved.disk.bytes());
    figures.stacks.set(seen.stacks as f64);
    let warden = node.warden.clone().with_patience(WARDEN_PATIENCE);
    let asked = async {
        tokio::join!(warden.list(), join_all(seen.records.iter().map(|record| readings.stats(&node, record))))
    };
    let Ok((list, stats)) = tokio::time::timeout(WARDEN_LIMIT, asked).await else {
        figures.warden_up.set(0.0);
        question.answer([format!("the warden has not answered within {} s", WARDEN_LIMIT.as_secs())]);
        return;
    };
    let usages = || stats.iter().flatten().map(|stats| &stats.usage);
    set(&figures.memory.used, Bytes(usages().map(|usage| usage.mem.0).sum()));
    set(&figures.disk.used, Bytes(usages().map(|usage| usage.disk.0).sum()));
    figures.warden_errors.absolute(node.warden.failures());
    figures.warden_up.set(f64::from(u8::from(list.is_ok())));
    let mut problems = Vec::new();
    match list {
        Ok(handles) => figures.containers.set(handles.len() as f64),
        Err(error) => problems.push(format!("the warden cannot be used: {}", chain(&error))),
    }
    if seen.stacks == 0 {
        problems.push("this node has no stack: build one with cupola stack build".to_owned());
    }
    question.answer(problems);
}

/// dea_ng's names, which count megabytes and instances.
pub(crate) fn historic(figures: &Snapshot) -> Vec<(&'static str, Value)> {
    let of = |name: &str, labels: &[(&str, &str)]| {
        figures.value(&format!("cupola_dea_{name}"), labels).unwrap_or(0.0)
    };
    let megabytes = |name| Value::from((of(name, &[]) / f64::from(1 << 20)) as u64);
    let (total, reserved) = (of("memory_total_bytes", &[]), of("memory_reserved_bytes", &[]));
    let (total_disk, reserved_disk) = (of("disk_total_bytes", &[]), of("disk_reserved_bytes", &[]));
    let left = |total: f64, reserved: f64| {
        Value::from(if total > 0.0 { ((total - reserved) / total).max(0.0) } else { 0.0 })
    };
    vec![
        ("apps_max_memory", megabytes("memory_total_bytes")),
        ("apps_reserved_memory", megabytes("memory_reserved_bytes")),
        ("apps_used_memory", megabytes("memory_used_bytes")),
        ("available_memory_ratio", left(total, reserved)),
        ("available_disk_ratio", left(total_disk, reserved_disk)),
        ("num_apps", Value::from(of("instances", &[("state", "running")]) as u64)),
    ]
}

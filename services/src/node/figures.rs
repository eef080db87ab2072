//! What a service node counts and measures.

use super::{capacity::Room, record::Phase, shared::Node};
use cupola_protocol::services::Engine;
use cupola_status::{
    Counter, Gauge, Question, Snapshot,
    figures::{counter, gauge},
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// How long the warden may take to answer.
const WARDEN_LIMIT: Duration = Duration::from_secs(2);

/// Operations that are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Provision,
    Unprovision,
    Bind,
    Unbind,
    Purge,
}

/// Every figure of a node.
pub(crate) struct Figures {
    instances: Vec<(Engine, Gauge)>,
    users: Gauge,
    memory_total: Gauge,
    memory_reserved: Gauge,
    disk_total: Gauge,
    disk_reserved: Gauge,
    operations: [[Counter; 2]; 5],
    /// Servers that ended, and were started again.
    pub(crate) restarts: Counter,
    warden_up: Gauge,
    warden_errors: Counter,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Figures {
    /// Made under the recorder of the status page.
    pub(crate) fn new() -> Self {
        let own = |name: &'static str, help| gauge(format!("cupola_service_node_{name}"), help, &[]);
        let told = |name: &'static str, help| counter(format!("cupola_service_node_{name}"), help, &[]);
        let operation = |operation| {
            ["ok", "failed"].map(|result| {
                let help = "Requests of gateways, by kind and result";
                let labels = [("operation", operation), ("result", result)];
                counter("cupola_service_node_operations_total", help, &labels)
            })
        };
        let instances = |engine: Engine| {
            let help = "Instances, by engine";
            (engine, gauge("cupola_service_node_instances", help, &[("engine", engine.name())]))
        };
        Self {
            instances: Engine::ALL.into_iter().map(instances).collect(),
            users: own("users", "Users of all instances: one for each binding"),
            memory_total: own("memory_total_bytes", "Memory that may be handed out"),
            memory_reserved: own("memory_reserved_bytes", "Memory that is handed out"),
            disk_total: own("disk_total_bytes", "Disk that may be handed out"),
            disk_reserved: own("disk_reserved_bytes", "Disk that is handed out"),
            operations: ["provision", "unprovision", "bind", "unbind", "purge"].map(operation),
            restarts: told(
                "server_restarts_total",
                "Servers that ended by themselves, and were started again",
            ),
            warden_up: own("warden_up", "1 when the warden answers"),
            warden_errors: told("warden_errors_total", "Requests that the warden refused or did not answer"),
        }
    }

    /// An operation has ended.
    pub(crate) fn ended(&self, operation: Operation, well: bool) {
        self.operations[operation as usize][usize::from(!well)].increment(1);
    }
}

/// Brings the figures up to date and answers; in a task of its own, since the warden may take its time.
pub(crate) async fn answer(node: Arc<Node>, question: Question) {
    let figures = &node.figures;
    let records: Vec<_> = node.all().into_iter().map(|instance| instance.now()).collect();
    for (engine, gauge) in &figures.instances {
        let there = records.iter().filter(|record| record.engine == *engine && record.phase == Phase::Ready);
        gauge.set(there.count() as f64);
    }
    figures.users.set(records.iter().map(|record| record.users.len()).sum::<usize>() as f64);
    let whole = Room::whole(&node.config);
    let left = whole.without(records.iter().map(|record| record.plan(&node.config)));
    let bytes = |size: cupola_protocol::Mebibytes| size.bytes().0 as f64;
    figures.memory_total.set(bytes(whole.memory));
    figures.memory_reserved.set(bytes(whole.memory) - bytes(left.memory));
    figures.disk_total.set(bytes(whole.disk));
    figures.disk_reserved.set(bytes(whole.disk) - bytes(left.disk));
    let warden = node.warden.clone().with_patience(Duration::ZERO);
    let problem = match tokio::time::timeout(WARDEN_LIMIT, warden.ping()).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("the warden cannot be used: {error}")),
        Err(_) => Some(format!("the warden has not answered within {} s", WARDEN_LIMIT.as_secs())),
    };
    figures.warden_up.set(f64::from(u8::from(problem.is_none())));
    figures.warden_errors.absolute(node.warden.failures());
    question.answer(problem.into_iter().chain(node.obstacle()));
}

/// The historic nodes' names.
pub(crate) fn historic(figures: &Snapshot) -> Vec<(&'static str, Value)> {
    let instances = figures.value("cupola_service_node_instances", &[]).unwrap_or(0.0);
    vec![("provisioned_instances_num", Value::from(instances as u64))]
}

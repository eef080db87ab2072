//! What a gateway counts and measures.

use super::record::{Instances, Phase};
use cupola_status::{
    Counter, Gauge, Histogram, Snapshot,
    figures::{StatusClasses, counter, gauge, histogram},
};
use serde_json::Value;
use std::time::Duration;

/// Phases of instances that are counted, and their names.
const PHASES: [(Phase, &str); 4] = [
    (Phase::Provisioning, "provisioning"),
    (Phase::Ready, "ready"),
    (Phase::Failed, "failed"),
    (Phase::Deprovisioning, "deprovisioning"),
];

/// Every figure of a gateway.
pub(crate) struct Figures {
    requests: StatusClasses,
    request_seconds: Histogram,
    instances: [Gauge; 4],
    bindings: Gauge,
    nodes: Gauge,
    made: Counter,
    not_made: Counter,
    removed: Counter,
    not_removed: Counter,
}

impl Figures {
    /// Made under the recorder of the status page.
    pub(crate) fn new() -> Self {
        let own = |name: &'static str, help| gauge(format!("cupola_service_gateway_{name}"), help, &[]);
        let operation = |operation, result| {
            let help = "Operations on nodes that ended, by kind and result";
            let labels = [("operation", operation), ("result", result)];
            counter("cupola_service_gateway_operations_total", help, &labels)
        };
        Self {
            requests: StatusClasses::new(
                "cupola_service_gateway_requests_total",
                "Requests of platforms, by class of their status",
            ),
            request_seconds: histogram(
                "cupola_service_gateway_request_seconds",
                "Time from a request to the head of its answer",
                &[],
            ),
            instances: PHASES.map(|(_, phase)| {
                gauge(
                    "cupola_service_gateway_instances",
                    "Instances given out, by phase",
                    &[("phase", phase)],
                )
            }),
            bindings: own("bindings", "Bindings of all instances"),
            nodes: own("nodes", "Service nodes that are heard, each once for each of its engines"),
            made: operation("provision", "ok"),
            not_made: operation("provision", "failed"),
            removed: operation("deprovision", "ok"),
            not_removed: operation("deprovision", "failed"),
        }
    }

    /// A request was answered with this status after this time.
    pub(crate) fn request(&self, status: u16, took: Duration) {
        self.requests.count(status);
        self.request_seconds.record(took.as_secs_f64());
    }

    /// An operation on a node has ended.
    pub(crate) fn ended(&self, making: bool, well: bool) {
        match (making, well) {
            (true, true) => &self.made,
            (true, false) => &self.not_made,
            (false, true) => &self.removed,
            (false, false) => &self.not_removed,
        }
        .increment(1);
    }

    /// Takes what there is now.
    pub(crate) fn show(&self, instances: &Instances, nodes: usize) {
        let all = instances.all();
        for (gauge, (phase, _)) in self.instances.iter().zip(PHASES) {
            gauge.set(all.iter().filter(|instance| instance.phase == phase).count() as f64);
        }
        self.bindings.set(all.iter().map(|instance| instance.bindings.len()).sum::<usize>() as f64);
        self.nodes.set(nodes as f64);
    }
}

/// The historic gateways' names.
pub(crate) fn historic(figures: &Snapshot) -> Vec<(&'static str, Value)> {
    let of = |name: &str, labels: &[(&str, &str)]| {
        Value::from(figures.value(&format!("cupola_service_gateway_{name}"), labels).unwrap_or(0.0) as u64)
    };
    let operations = |operation: &'static str, result: &'static str| {
        of("operations_total", &[("operation", operation), ("result", result)])
    };
    vec![
        ("provisioned_instances_num", of("instances", &[("phase", "ready")])),
        ("provision_failures", operations("provision", "failed")),
    ]
}

//! What the controller counts and measures.

use crate::{context::Shared, store};
use cupola_status::{
    Counter, Gauge, Histogram, Questions, Snapshot,
    figures::{StatusClasses, counter, gauge, histogram},
};
use serde_json::Value;
use std::time::Duration;

/// How long the database may take to answer a question about its health.
const DATABASE_PATIENCE: Duration = Duration::from_secs(2);

/// Every figure of the controller.
pub(crate) struct Figures {
    requests: StatusClasses,
    request_seconds: Histogram,
    staged: Counter,
    failed_builds: Counter,
    staging_seconds: Histogram,
    crashes: Counter,
    database_up: Gauge,
    apps: Gauge,
    started_apps: Gauge,
    desired_instances: Gauge,
    instances: Gauge,
    users: Gauge,
    nodes: Gauge,
    stagers: Gauge,
    memory_available: Gauge,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Figures {
    /// Made under the recorder of the status page.
    pub(crate) fn new() -> Self {
        let own = |name: &'static str, help| gauge(format!("cupola_controller_{name}"), help, &[]);
        let builds = |result| {
            let help = "Stagings that ended, by result";
            counter("cupola_controller_builds_total", help, &[("result", result)])
        };
        Self {
            requests: StatusClasses::new(
                "cupola_controller_requests_total",
                "Requests to the API, by class of their status",
            ),
            request_seconds: histogram(
                "cupola_controller_request_seconds",
                "Time from a request to the head of its answer",
                &[],
            ),
            staged: builds("staged"),
            failed_builds: builds("failed"),
            staging_seconds: histogram(
                "cupola_controller_staging_seconds",
                "Time that a staging took as the controller sees it, however it ended",
                &[],
            ),
            crashes: counter("cupola_controller_crashes_total", "Crashes of instances heard", &[]),
            database_up: own("database_up", "1 when the database answers"),
            apps: own("apps", "Apps"),
            started_apps: own("started_apps", "Apps that should run"),
            desired_instances: own("desired_instances", "Instances that should run"),
            instances: own("instances", "Instances that the known nodes have, as they advertise them"),
            users: own("users", "Users"),
            nodes: own("nodes", "Node agents that advertise"),
            stagers: own("stagers", "Stagers that advertise"),
            memory_available: own("memory_available_bytes", "Memory that the known nodes can still hand out"),
        }
    }

    /// A request was answered with this status after this time.
    pub(crate) fn request(&self, status: u16, took: Duration) {
        self.requests.count(status);
        self.request_seconds.record(took.as_secs_f64());
    }

    /// A staging has ended after this time.
    pub(crate) fn build(&self, staged: bool, took: Duration) {
        if staged { &self.staged } else { &self.failed_builds }.increment(1);
        self.staging_seconds.record(took.as_secs_f64());
    }

    /// An instance has crashed.
    pub(crate) fn crashed(&self) {
        self.crashes.increment(1);
    }
}

/// Answers the status page's questions, until shutdown.
pub(crate) async fn answer(context: Shared, mut questions: Questions) {
    loop {
        let question = tokio::select! {
            () = context.shutdown.cancelled() => return,
            question = questions.next() => question,
        };
        let figures = &context.figures;
        let ttl = context.config.advertisement_timeout();
        let nodes = context.nodes.fresh(ttl);
        figures.nodes.set(nodes.len() as f64);
        figures.stagers.set(context.stagers.fresh(ttl).len() as f64);
        let instances: u32 = nodes.iter().flat_map(|node| node.app_id_to_count.values()).sum();
        figures.instances.set(f64::from(instances));
        let memory: u64 = nodes.iter().map(|node| node.available_memory.bytes().0).sum();
        figures.memory_available.set(memory as f64);
        let counted = tokio::time::timeout(DATABASE_PATIENCE, store::totals(&context.pool)).await;
        let problem = match counted {
            Ok(Ok(totals)) => {
                figures.apps.set(totals.apps as f64);
                figures.started_apps.set(totals.started_apps as f64);
                figures.desired_instances.set(totals.desired_instances as f64);
                figures.users.set(totals.users as f64);
                None
            }
            Ok(Err(error)) => Some(format!("the database does not answer: {error}")),
            Err(_) => Some(format!("the database does not answer within {} s", DATABASE_PATIENCE.as_secs())),
        };
        figures.database_up.set(f64::from(u8::from(problem.is_none())));
        question.answer(problem);
    }
}

/// Names of cloud_controller_ng.
pub(crate) fn historic(figures: &Snapshot) -> Vec<(&'static str, Value)> {
    let figure = |name: &str| figures.value(&format!("cupola_controller_{name}"), &[]).unwrap_or(0.0);
    vec![("cc_user_count", Value::from(figure("users") as u64))]
}

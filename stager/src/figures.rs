//! What a stager counts and measures.

use crate::failure::Failure;
use cupola_status::{
    Counter, Gauge, Histogram, Snapshot,
    figures::{counter, gauge, histogram},
};
use serde_json::Value;
use std::time::Duration;

/// Every figure of a stager.
pub(crate) struct Figures {
    succeeded: Counter,
    failed: Counter,
    stopped: Counter,
    expired: Counter,
    /// Stagings that were not begun.
    pub(crate) refused: Counter,
    seconds: Histogram,
    /// Stagings that run.
    pub(crate) running: Gauge,
    /// Memory that further stagings may take.
    pub(crate) memory_available: Gauge,
    /// Disk that further stagings may take.
    pub(crate) disk_available: Gauge,
    /// Stacks of this node.
    pub(crate) stacks: Gauge,
    /// 1 when the warden answers.
    pub(crate) warden_up: Gauge,
    /// Requests that the warden refused or did not answer.
    pub(crate) warden_errors: Counter,
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Figures").finish_non_exhaustive()
    }
}

impl Figures {
    /// Made under the recorder of the status page.
    pub(crate) fn new() -> Self {
        let result = |result| {
            let help = "Stagings, by result; refused ones were not begun";
            counter("cupola_stager_stagings_total", help, &[("result", result)])
        };
        let own = |name: &'static str, help| gauge(format!("cupola_stager_{name}"), help, &[]);
        Self {
            succeeded: result("succeeded"),
            failed: result("failed"),
            stopped: result("stopped"),
            expired: result("expired"),
            refused: result("refused"),
            seconds: histogram(
                "cupola_stager_staging_seconds",
                "Time that a staging took, however it ended",
                &[],
            ),
            running: own("running", "Stagings that run; none ever waits here, what has no room is refused"),
            memory_available: own("memory_available_bytes", "Memory that further stagings may take"),
            disk_available: own("disk_available_bytes", "Disk that further stagings may take"),
            stacks: own("stacks", "Stacks of this node"),
            warden_up: own("warden_up", "1 when the warden answers"),
            warden_errors: counter(
                "cupola_stager_warden_errors_total",
                "Requests that the warden refused or did not answer",
                &[],
            ),
        }
    }

    /// A staging has ended, with this failure or none, after this time.
    pub(crate) fn ended(&self, failure: Option<&Failure>, took: Duration) {
        match failure {
            None => &self.succeeded,
            Some(Failure::Stopped | Failure::ShuttingDown) => &self.stopped,
            Some(Failure::TimeExpired { .. }) => &self.expired,
            Some(_) => &self.failed,
        }
        .increment(1);
        self.seconds.record(took.as_secs_f64());
    }
}

/// The historic stager showed no figures of its own.
pub(crate) fn historic(_: &Snapshot) -> Vec<(&'static str, Value)> {
    Vec::new()
}

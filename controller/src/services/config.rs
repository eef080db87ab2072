//! What can be set about service brokers.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What can be set about service brokers. Numbers without a remark are those of cloud_controller_ng.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServicesConfig {
    /// Seconds until a broker must have answered a request.
    pub broker_timeout_seconds: u64,
    /// The largest answer of a broker, in bytes.
    pub max_answer_bytes: usize,
    /// Milliseconds between two questions after an operation that a broker carries out by itself; a broker may ask for
    /// more, up to an hour.
    pub poll_ms: u64,
    /// Seconds after which such an operation counts as failed; a plan may ask for less.
    pub max_poll_seconds: u64,
    /// Milliseconds until the first repetition of a deletion that cleans up after a failed creation; each further pause
    /// is twice as long, up to an hour.
    pub cleanup_retry_ms: u64,
    /// Seconds after which such a deletion is given up.
    pub max_cleanup_seconds: u64,
    /// Operations that are carried out at a time.
    pub operations_at_once: usize,
    /// Seconds after which another controller takes up what a dead one was at.
    pub claim_seconds: u64,
}

impl Default for ServicesConfig {
    fn default() -> Self {
        Self {
            broker_timeout_seconds: 60,
            max_answer_bytes: 4 << 20,
            // 60 s there: the first look may come sooner.
            poll_ms: 5_000,
            max_poll_seconds: 10_080 * 60,
            cleanup_retry_ms: 5_000,
            max_cleanup_seconds: 10_080 * 60,
            operations_at_once: 16,
            claim_seconds: 15,
        }
    }
}

impl ServicesConfig {
    /// The first key that cannot be, and what it must be.
    pub(crate) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let numbers = [
            ("services.broker_timeout_seconds", self.broker_timeout_seconds),
            ("services.max_answer_bytes", self.max_answer_bytes as u64),
            ("services.poll_ms", self.poll_ms),
            ("services.max_poll_seconds", self.max_poll_seconds),
            ("services.cleanup_retry_ms", self.cleanup_retry_ms),
            ("services.max_cleanup_seconds", self.max_cleanup_seconds),
            ("services.operations_at_once", self.operations_at_once as u64),
            ("services.claim_seconds", self.claim_seconds),
        ];
        numbers.into_iter().find(|(_, number)| *number == 0).map(|(key, _)| (key, "must be more than 0"))
    }

    pub(crate) fn broker_timeout(&self) -> Duration {
        Duration::from_secs(self.broker_timeout_seconds)
    }

    pub(crate) fn poll(&self) -> Duration {
        Duration::from_millis(self.poll_ms)
    }

    pub(crate) fn claim(&self) -> Duration {
        Duration::from_secs(self.claim_seconds)
    }

    /// The pause before the repetition after this many tries.
    pub(crate) fn backoff(&self, tries: i64) -> Duration {
        let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(0).min(20);
        Duration::from_millis(self.cleanup_retry_ms.saturating_mul(1 << doublings)).min(LONGEST_PAUSE)
    }
}

/// The longest pause between two repetitions, and the longest that a broker may ask for.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_at_an_hour() {
        let config = ServicesConfig::default();
        let pauses: Vec<_> = [0, 1, 2, 3, 100].map(|tries| config.backoff(tries).as_secs()).into();
        assert_eq!(pauses, [5, 5, 10, 20, 3600]);
        assert_eq!(config.wrong(), None);
        let bad = ServicesConfig { poll_ms: 0, ..config };
        assert_eq!(bad.wrong().unwrap().0, "services.poll_ms");
    }
}

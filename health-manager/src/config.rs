//! The section `[health_manager]`.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How the health manager is set up. Times are in seconds; fractions are allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which one of its kind, for `vcap.component.*`.
    pub index: u32,
    /// Base address of the controller; by default the one that it gives with its credentials.
    pub controller_url: Option<String>,
    /// An agent that is silent for so long is lost, with all its instances.
    pub heartbeat_ttl_seconds: f64,
    /// How long heartbeats are listened to, after the start and after each loss of the bus, before anything
    /// is done.
    pub settle_seconds: f64,
    /// Desired state older than this is not acted on.
    pub desired_freshness_seconds: f64,
    /// How long an instance must be missing before it is started, and how long a wish has to show its effect
    /// before it is repeated.
    pub grace_seconds: f64,
    /// Time between two reads of the desired state.
    pub fetch_seconds: f64,
    /// Limit for one page of the desired state.
    pub fetch_timeout_seconds: f64,
    /// Apps on one page of the desired state.
    pub fetch_batch: u32,
    /// Time between two comparisons when nothing happens; news leads to one at once.
    pub analysis_seconds: f64,
    /// So many crashes in a row are answered with a restart at once.
    pub crashes_before_backoff: u32,
    /// First delay after those; it doubles with each further crash.
    pub backoff_seconds: f64,
    /// Longest delay. Crashes are forgotten after twice this time without a further one.
    pub max_backoff_seconds: f64,
    /// Most starts that are asked for in one comparison.
    pub starts_per_pass: usize,
    /// Whether several health managers share a lease, so that one acts. It needs JetStream in NATS. Without it this
    /// one always acts, and must be the only one.
    pub lease: bool,
    /// How long after the death of the one that acts another takes over.
    pub lease_seconds: f64,
    /// NATS servers that keep the lease: 1 on one server, 3 in a cluster.
    pub lease_replicas: usize,
    /// The status page.
    pub status: cupola_status::Config,
}

impl Default for Config {
    /// HM9000's numbers (its config/config.go), with a shorter grace: our agents acknowledge and report a
    /// start at once.
    fn default() -> Self {
        Self {
            index: 0,
            controller_url: None,
            heartbeat_ttl_seconds: 30.0,
            settle_seconds: 12.0,
            desired_freshness_seconds: 120.0,
            grace_seconds: 10.0,
            fetch_seconds: 30.0,
            fetch_timeout_seconds: 10.0,
            fetch_batch: 500,
            analysis_seconds: 5.0,
            crashes_before_backoff: 3,
            backoff_seconds: 30.0,
            max_backoff_seconds: 960.0,
            starts_per_pass: 60,
            lease: true,
            lease_seconds: 8.0,
            lease_replicas: 1,
            status: cupola_status::Config::default(),
        }
    }
}

impl Config {
    /// Refuses what cannot work.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub fn validate(&self) -> Result<(), Error> {
        let times = [
            ("heartbeat_ttl_seconds", self.heartbeat_ttl_seconds, true),
            ("settle_seconds", self.settle_seconds, false),
            ("desired_freshness_seconds", self.desired_freshness_seconds, true),
            ("grace_seconds", self.grace_seconds, true),
            ("fetch_seconds", self.fetch_seconds, true),
            ("fetch_timeout_seconds", self.fetch_timeout_seconds, true),
            ("analysis_seconds", self.analysis_seconds, true),
            ("backoff_seconds", self.backoff_seconds, false),
            ("max_backoff_seconds", self.max_backoff_seconds, false),
            ("lease_seconds", self.lease_seconds, true),
        ];
        for (key, value, positive) in times {
            if !(0.0..=1e9).contains(&value) || (positive && value == 0.0) {
                return Err(Error::Config {
                    key,
                    problem: format!("{value} is not a time that can be waited"),
                });
            }
        }
        if self.desired_freshness_seconds <= self.fetch_seconds {
            return Err(Error::Config {
                key: "desired_freshness_seconds",
                problem: "must be longer than fetch_seconds, or the desired state is never fresh".to_owned(),
            });
        }
        for (key, value) in
            [("fetch_batch", u64::from(self.fetch_batch)), ("starts_per_pass", self.starts_per_pass as u64)]
        {
            if value == 0 {
                return Err(Error::Config { key, problem: "must be at least 1".to_owned() });
            }
        }
        Ok(())
    }

    /// How long a crashed index waits, given the crashes before this one (HM9000's formula).
    pub fn crash_delay(&self, crashes_before: u32) -> Duration {
        let Some(doublings) = crashes_before.checked_sub(self.crashes_before_backoff) else {
            return Duration::ZERO;
        };
        let delay = self.backoff_seconds * 2f64.powi(doublings.min(64) as i32);
        seconds(delay.min(self.max_backoff_seconds))
    }

    /// How long crashes are remembered.
    pub fn crash_memory(&self) -> Duration {
        seconds(2.0 * self.max_backoff_seconds)
    }

    pub(crate) fn heartbeat_ttl(&self) -> Duration {
        seconds(self.heartbeat_ttl_seconds)
    }

    pub(crate) fn settle(&self) -> Duration {
        seconds(self.settle_seconds)
    }

    pub(crate) fn grace(&self) -> Duration {
        seconds(self.grace_seconds)
    }
}

/// A validated number of seconds as a duration.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn times_that_cannot_be_waited_are_refused() {
        for bad in [f64::NAN, -1.0, f64::INFINITY, 0.0] {
            let config = Config { grace_seconds: bad, ..Config::default() };
            assert!(matches!(config.validate(), Err(Error::Config { key: "grace_seconds", .. })), "{bad}");
        }
    }

    #[test]
    fn crashes_are_restarted_at_once_then_ever_later() {
        let config = Config::default();
        let delays: Vec<u64> = (0..12).map(|crashes| config.crash_delay(crashes).as_secs()).collect();
        assert_eq!(delays, [0, 0, 0, 30, 60, 120, 240, 480, 960, 960, 960, 960]);
        assert_eq!(config.crash_delay(u32::MAX).as_secs(), 960);
    }
}

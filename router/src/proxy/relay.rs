//! Access log lines to the apps themselves, as `RTR` lines among their logs: at most so many per second and app.

use cupola_bus::Bus;
use cupola_protocol::{
    AppId,
    logs::{self, LogLine, Source, Stream},
};
use std::collections::HashMap;
use time::OffsetDateTime;
use tokio::{
    sync::mpsc,
    time::{Duration, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Lines that wait for the bus; more are dropped.
const WAITING: usize = 4096;
/// Lines that are published between two looks at the clock.
const BATCH: usize = 256;

/// The senders' side.
#[derive(Debug)]
pub(crate) struct Relay {
    lines: mpsc::Sender<LogLine>,
}

impl Relay {
    /// Hands a line over. Never waits.
    pub(crate) fn tell(&self, app: &AppId, index: Option<&str>, at: OffsetDateTime, message: String) {
        let line = LogLine {
            app: app.clone(),
            instance_id: index.unwrap_or("0").to_owned(),
            source_type: Source::Router,
            stream: Stream::Out,
            timestamp: i64::try_from(at.unix_timestamp_nanos()).unwrap_or(i64::MAX),
            message,
        };
        // A full queue means that the bus is slower than the requests; the access log still has the line.
        let _ = self.lines.try_send(line);
    }
}

/// How many lines of each app went through in this second.
#[derive(Debug)]
struct Budget {
    per_second: u32,
    used: HashMap<AppId, u32>,
}

impl Budget {
    /// Whether one more line of this app may go.
    fn admit(&mut self, app: &AppId) -> bool {
        let used = self.used.entry(app.clone()).or_insert(0);
        *used += 1;
        *used <= self.per_second
    }

    /// A new second: the apps that had too many lines, and how many too many.
    fn renew(&mut self) -> Vec<(AppId, u32)> {
        let per_second = self.per_second;
        self.used
            .drain()
            .filter(|(_, used)| *used > per_second)
            .map(|(app, used)| (app, used - per_second))
            .collect()
    }
}

/// The one task that publishes.
pub(crate) struct Publisher {
    bus: Bus,
    lines: mpsc::Receiver<LogLine>,
    budget: Budget,
}

/// Makes both sides.
pub(crate) fn channel(bus: Bus, per_second: u32) -> (Publisher, Relay) {
    let (sender, lines) = mpsc::channel(WAITING);
    (Publisher { bus, lines, budget: Budget { per_second, used: HashMap::new() } }, Relay { lines: sender })
}

impl Publisher {
    /// Publishes until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = second.tick() => {
                    for (app, dropped) in self.budget.renew() {
                        let message = format!("{dropped} access log lines left out: more than {} a second", self.budget.per_second);
                        let now = OffsetDateTime::now_utc().unix_timestamp_nanos();
                        publish(&self.bus, LogLine {
                            app,
                            instance_id: "0".to_owned(),
                            source_type: Source::Router,
                            stream: Stream::Err,
                            timestamp: i64::try_from(now).unwrap_or(i64::MAX),
                            message,
                        }).await;
                    }
                }
                count = self.lines.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    for line in batch.drain(..) {
                        if self.budget.admit(&line.app) {
                            publish(&self.bus, line).await;
                        }
                    }
                }
            }
        }
    }
}

async fn publish(bus: &Bus, line: LogLine) {
    if let Err(error) = bus.publish_to(&logs::subject(&line.app), &line).await {
        tracing::debug!(%error, "an access log line did not reach the bus");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_app_has_its_own_budget() {
        let mut budget = Budget { per_second: 2, used: HashMap::new() };
        let (a, b) = (AppId::from("a"), AppId::from("b"));
        assert_eq!([&a, &a, &a, &a, &b].map(|app| budget.admit(app)), [true, true, false, false, true]);
        assert_eq!(budget.renew(), [(a.clone(), 2)]);
        assert!(budget.admit(&a));
        assert!(budget.renew().is_empty());
    }
}

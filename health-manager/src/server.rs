//! The one task that owns both states: it listens, compares and asks.

use crate::{
    Config, Error, Moment,
    actual::Actual,
    config::seconds,
    decide::{Decision, StopReason, decide},
    desired::Desired,
    fetch::Fetcher,
};
use cupola_bus::{Bus, Subscription};
use cupola_protocol::{
    AppId,
    component::{Announce, Discover},
    controller::DesiredApp,
    dea::Heartbeat,
    droplet::{Exited, Updated},
    health::{AppState, AppStateRequest, CrashCount, StartInstance, Started, StopInstance},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// News that come within this time are looked at together.
const GATHER: Duration = Duration::from_millis(50);

/// First pause after a failed read of the desired state; it doubles up to the normal period.
const FIRST_FETCH_RETRY: Duration = Duration::from_millis(500);

/// A complete read of the desired state, and when it began.
type Read = (BTreeMap<AppId, DesiredApp>, Moment);

/// A health manager that listens, ready to run.
pub struct Server {
    config: Config,
    bus: Bus,
    fetcher: Fetcher,
    heartbeats: Subscription<Heartbeat>,
    exits: Subscription<Exited>,
    updates: Subscription<Updated>,
    states: Subscription<AppStateRequest>,
    discovers: Subscription<Discover>,
}

/// Checks the configuration and subscribes.
///
/// # Errors
/// [`Error::Config`] for a key that cannot be used, [`Error::Subscribe`] when the bus refuses.
pub async fn bind(config: Config, bus: Bus) -> Result<Server, Error> {
    config.validate()?;
    let fetcher = Fetcher::new(&config, bus.clone())?;
    let server = Server {
        heartbeats: bus.subscribe().await.map_err(Error::Subscribe)?,
        exits: bus.subscribe().await.map_err(Error::Subscribe)?,
        updates: bus.subscribe().await.map_err(Error::Subscribe)?,
        states: bus.subscribe().await.map_err(Error::Subscribe)?,
        discovers: bus.subscribe().await.map_err(Error::Subscribe)?,
        config,
        bus,
        fetcher,
    };
    // From here on nothing that is said is lost.
    server.bus.flush().await.map_err(Error::Subscribe)?;
    Ok(server)
}

impl Server {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// [`Error::BusClosed`] when the bus is gone for good.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let begun = Instant::now();
        let (nudge_fetch, nudges) = watch::channel(());
        let (reads_in, mut reads) = mpsc::channel(1);
        let fetching = tokio::spawn(keep_fetching(
            self.fetcher,
            seconds(self.config.fetch_seconds),
            begun,
            nudges,
            reads_in,
            shutdown.clone(),
        ));
        let mut core = Core {
            announce: announce(&self.config),
            config: self.config,
            bus: self.bus.clone(),
            begun,
            desired: Desired::default(),
            actual: Actual::default(),
        };
        let mut connected = self.bus.connected();
        let mut tick = tokio::time::interval(seconds(core.config.analysis_seconds));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let pass = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(pass);
        let mut pass_is_due = false;

        connected.mark_changed();
        core.publish(&core.announce).await;
        let result = loop {
            let news = tokio::select! {
                biased;
                // The end comes before all else.
                () = shutdown.cancelled() => break Ok(()),
                // The state of the bus decides whether what is known may be acted on.
                change = connected.changed() => {
                    if change.is_err() {
                        break Err(Error::BusClosed);
                    }
                    let there = *connected.borrow_and_update();
                    core.bus_is(there).await;
                    if there {
                        nudge_fetch.send_replace(());
                    }
                    true
                }
                // Exits before heartbeats: they are rarer, and a crash waits for its restart.
                exited = self.exits.next() => match exited {
                    Some(exited) => {
                        core.actual.exited(&exited.message, core.now());
                        true
                    }
                    None => break Err(Error::BusClosed),
                },
                heartbeat = self.heartbeats.next() => match heartbeat {
                    Some(heartbeat) => core.actual.heartbeat(&heartbeat.message, core.now()),
                    None => break Err(Error::BusClosed),
                },
                read = reads.recv() => match read {
                    Some((apps, as_of)) => {
                        core.desired.replace(apps, as_of);
                        true
                    }
                    // The fetcher ends with the shutdown only.
                    None => break Ok(()),
                },
                update = self.updates.next() => match update {
                    Some(_) => {
                        nudge_fetch.send_replace(());
                        false
                    }
                    None => break Err(Error::BusClosed),
                },
                asked = self.states.next() => match asked {
                    Some(asked) => {
                        let reply = core.app_state(&asked.message);
                        warn_if_lost(asked.reply(&reply).await);
                        false
                    }
                    None => break Err(Error::BusClosed),
                },
                asked = self.discovers.next() => match asked {
                    Some(asked) => {
                        warn_if_lost(asked.reply(&core.announce_with_uptime()).await);
                        false
                    }
                    None => break Err(Error::BusClosed),
                },
                _ = tick.tick() => true,
                () = &mut pass, if pass_is_due => {
                    pass_is_due = false;
                    core.pass().await;
                    false
                }
            };
            if news && !pass_is_due {
                pass_is_due = true;
                pass.as_mut().reset(tokio::time::Instant::now() + GATHER);
            }
        };
        fetching.abort();
        result
    }
}

/// Reads the desired state in its period and when nudged, until the shutdown.
async fn keep_fetching(
    mut fetcher: Fetcher,
    period: Duration,
    begun: Instant,
    mut nudges: watch::Receiver<()>,
    reads: mpsc::Sender<Read>,
    shutdown: CancellationToken,
) {
    let mut retry = FIRST_FETCH_RETRY;
    loop {
        let as_of = begun.elapsed();
        let pause = match fetcher.fetch().await {
            Ok(apps) => {
                retry = FIRST_FETCH_RETRY;
                if reads.send((apps, as_of)).await.is_err() {
                    return;
                }
                period
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot read the desired state");
                let pause = retry.min(period);
                retry = (retry * 2).min(period);
                pause
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            nudge = nudges.changed() => if nudge.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What the task owns.
struct Core {
    config: Config,
    bus: Bus,
    begun: Instant,
    announce: Announce,
    desired: Desired,
    actual: Actual,
}

impl Core {
    fn now(&self) -> Moment {
        self.begun.elapsed()
    }

    async fn bus_is(&mut self, there: bool) {
        if there {
            tracing::info!("the bus is there, agents are asked for heartbeats");
            self.actual.listen(self.now());
            self.publish(&Started {}).await;
        } else {
            tracing::warn!("the bus is away, nothing is started or stopped");
            self.actual.deaf();
        }
    }

    /// Looks at the whole picture and asks for the difference.
    async fn pass(&mut self) {
        let now = self.now();
        self.actual.expire(now, &self.config);
        for decision in decide(&self.desired, &self.actual, now, &self.config) {
            let sent = self.send(&decision).await;
            match sent {
                Ok(()) => self.actual.sent(&decision, now),
                Err(error) => {
                    // The next pass decides again.
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot send a wish");
                    return;
                }
            }
        }
    }

    async fn send(&self, decision: &Decision) -> Result<(), cupola_bus::Error> {
        let message_id = AppId::generate().as_str().to_owned();
        match decision {
            Decision::Start { slot, reason, .. } => {
                tracing::info!(app = %slot.app, index = slot.index, ?reason, "asks for a start");
                let wish = StartInstance {
                    message_id,
                    droplet: slot.app.clone(),
                    version: slot.version.clone(),
                    instance_index: slot.index,
                };
                self.bus.publish(&wish).await
            }
            Decision::Stop { instance, slot, reason } => {
                tracing::info!(app = %slot.app, index = slot.index, %instance, ?reason, "asks for a stop");
                let wish = StopInstance {
                    message_id,
                    droplet: slot.app.clone(),
                    version: slot.version.clone(),
                    instance_guid: instance.clone(),
                    instance_index: slot.index,
                    is_duplicate: *reason == StopReason::Duplicate,
                };
                self.bus.publish(&wish).await
            }
        }
    }

    fn app_state(&self, asked: &AppStateRequest) -> AppState {
        let now = self.now();
        if !self.actual.is_fresh(now, &self.config) || !self.desired.is_fresh(now, &self.config) {
            return AppState::default();
        }
        let instance_heartbeats = self
            .actual
            .by_app()
            .get(&asked.droplet)
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .filter(|seen| seen.beat.version == asked.version)
            .map(|seen| seen.beat.clone())
            .collect();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let crash_counts = self
            .actual
            .crashes_of(&asked.droplet, &asked.version)
            .into_iter()
            .map(|(index, crashes)| CrashCount {
                droplet: asked.droplet.clone(),
                version: asked.version.clone(),
                instance_index: index,
                crash_count: crashes.count,
                created_at: wall.saturating_sub(now.saturating_sub(crashes.last)).as_secs_f64(),
            })
            .collect();
        AppState {
            droplet: Some(asked.droplet.clone()),
            version: Some(asked.version.clone()),
            instance_heartbeats,
            crash_counts,
        }
    }

    fn announce_with_uptime(&self) -> Announce {
        let uptime = Some(format!("{}s", self.begun.elapsed().as_secs()));
        Announce { uptime, ..self.announce.clone() }
    }

    async fn publish<E: cupola_protocol::Event>(&self, event: &E) {
        warn_if_lost(self.bus.publish(event).await);
    }
}

fn announce(config: &Config) -> Announce {
    Announce {
        kind: "HealthManager".to_owned(),
        index: config.index,
        uuid: format!("{}-{}", config.index, AppId::generate()),
        host: String::new(),
        credentials: Vec::new(),
        start: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        uptime: None,
    }
}

fn warn_if_lost(sent: Result<(), cupola_bus::Error>) {
    if let Err(error) = sent {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot send a message");
    }
}

//! The one task that owns both states: it listens, compares and asks.

use crate::{
    Config, Error, Moment,
    actual::{Actual, Slot},
    config::seconds,
    decide::{Decision, StopReason, decide},
    desired::Desired,
    duty::Duty,
    fetch::Fetcher,
    figures::{self, Figures},
    picture::Picture,
};
use cupola_bus::{Bus, Keeper, Subscription};
use cupola_protocol::{
    AppId,
    controller::DesiredApp,
    dea::Heartbeat,
    droplet::{Exited, Updated},
    health::{AppState, AppStateRequest, CrashCount, StartInstance, Started, StopInstance},
};
use cupola_status::{Identity, Page, Questions};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// News that come within this time are looked at together.
const GATHER: Duration = Duration::from_millis(50);

/// First pause after a failed read of the desired state; it doubles up to the normal period.
const FIRST_FETCH_RETRY: Duration = Duration::from_millis(500);

/// How long giving up the lease may take at the end; then it runs out by itself.
const GIVE_UP: Duration = Duration::from_secs(5);

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
    /// What the one that acts asks for: its effects are under way for all.
    starts: Subscription<StartInstance>,
    stops: Subscription<StopInstance>,
    duty: Duty,
    keeper: Option<Keeper>,
    page: Page,
    questions: Questions,
    figures: Arc<Figures>,
}

/// Checks the configuration and subscribes.
///
/// # Errors
/// [`Error::Config`] for a key that cannot be used, [`Error::Subscribe`] when the bus refuses,
/// [`Error::NoJetStream`] when a lease is to be shared and NATS cannot keep one.
pub async fn bind(config: Config, bus: Bus) -> Result<Server, Error> {
    config.validate()?;
    let fetcher = Fetcher::new(&config, bus.clone())?;
    let id = AppId::generate().to_string();
    let (duty, keeper) = Duty::begin(&config, &bus, &format!("{}-{id}", config.index)).await?;
    let identity = Identity {
        name: "health_manager",
        kind: "HealthManager",
        index: config.index,
        id,
        historic: figures::historic,
    };
    let (page, questions) =
        Page::bind(&config.status, identity, &config, &bus).await.map_err(Error::Status)?;
    let server = Server {
        heartbeats: bus.subscribe().await.map_err(Error::Subscribe)?,
        exits: bus.subscribe().await.map_err(Error::Subscribe)?,
        updates: bus.subscribe().await.map_err(Error::Subscribe)?,
        states: bus.subscribe().await.map_err(Error::Subscribe)?,
        starts: bus.subscribe().await.map_err(Error::Subscribe)?,
        stops: bus.subscribe().await.map_err(Error::Subscribe)?,
        figures: Arc::new(page.figures(Figures::new)),
        duty,
        keeper,
        page,
        questions,
        config,
        bus,
        fetcher,
    };
    // From here on nothing that is said is lost.
    server.bus.flush().await.map_err(Error::Subscribe)?;
    Ok(server)
}

impl Server {
    /// Where its status page is.
    pub fn status_addr(&self) -> SocketAddr {
        self.page.addr()
    }

    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// [`Error::BusClosed`] when the bus is gone for good.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Error> {
        let begun = Instant::now();
        let _status = self.page.serve();
        // Ended after the last wish, and not by the same signal: whoever takes over must find us silent.
        let lease_end = CancellationToken::new();
        let _lease_end = lease_end.clone().drop_guard();
        let keeping = self.keeper.map(|keeper| tokio::spawn(keeper.run(lease_end.clone())));
        let (nudge_fetch, nudges) = watch::channel(());
        let (reads_in, mut reads) = mpsc::channel(1);
        let fetching = tokio::spawn(keep_fetching(
            self.fetcher,
            seconds(self.config.fetch_seconds),
            begun,
            nudges,
            reads_in,
            self.figures.clone(),
            shutdown.clone(),
        ));
        let mut core = Core {
            config: self.config,
            duty: self.duty,
            figures: self.figures,
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
                        core.figures.exits.increment(1);
                        core.actual.exited(&exited.message, core.now());
                        true
                    }
                    None => break Err(Error::BusClosed),
                },
                heartbeat = self.heartbeats.next() => match heartbeat {
                    Some(heartbeat) => {
                        core.figures.heartbeats.increment(1);
                        core.actual.heartbeat(&heartbeat.message, core.now())
                    }
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
                        if let Some(reply) = core.app_state(&asked.message) {
                            warn_if_lost(asked.reply(&reply).await);
                        }
                        false
                    }
                    None => break Err(Error::BusClosed),
                },
                wish = self.starts.next() => match wish {
                    Some(wish) => {
                        core.start_was_asked(wish.message);
                        false
                    }
                    None => break Err(Error::BusClosed),
                },
                wish = self.stops.next() => match wish {
                    Some(wish) => {
                        core.stop_was_asked(wish.message);
                        false
                    }
                    None => break Err(Error::BusClosed),
                },
                // Whoever has just got the lease acts at once.
                () = core.duty.changed() => true,
                question = self.questions.next() => {
                    question.answer(core.examine());
                    false
                }
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
        lease_end.cancel();
        if let Some(keeping) = keeping
            && tokio::time::timeout(GIVE_UP, keeping).await.is_err()
        {
            tracing::warn!("the lease was not given up in time, it runs out by itself");
        }
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
    figures: Arc<Figures>,
    shutdown: CancellationToken,
) {
    let mut retry = FIRST_FETCH_RETRY;
    loop {
        let as_of = begun.elapsed();
        let pause = match fetcher.fetch().await {
            Ok(apps) => {
                retry = FIRST_FETCH_RETRY;
                figures.reads.increment(1);
                if reads.send((apps, as_of)).await.is_err() {
                    return;
                }
                period
            }
            Err(error) => {
                figures.failed_reads.increment(1);
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
    duty: Duty,
    figures: Arc<Figures>,
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
        if !self.duty.acts() {
            return;
        }
        for decision in decide(&self.desired, &self.actual, now, &self.config) {
            // Asked before each wish: a pass takes time, and the lease may run out in it.
            if !self.duty.acts() {
                tracing::warn!("has lost the lease in the middle of a pass, the other one goes on");
                return;
            }
            let sent = self.send(&decision).await;
            match sent {
                Ok(()) => {
                    match &decision {
                        Decision::Start { reason, .. } => self.figures.started(*reason),
                        Decision::Stop { reason, .. } => self.figures.stopped(*reason),
                    }
                    self.actual.sent(&decision, now);
                }
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

    /// What the one that acts has asked for is under way for the others too, who may act next.
    fn start_was_asked(&mut self, wish: StartInstance) {
        if !self.duty.acts() {
            let slot = Slot { app: wish.droplet, version: wish.version, index: wish.instance_index };
            self.actual.start_asked(slot, self.now());
        }
    }

    fn stop_was_asked(&mut self, wish: StopInstance) {
        if !self.duty.acts() {
            self.actual.stop_asked(wish.instance_guid, self.now());
        }
    }

    /// Brings the figures up to date, and says what is wrong.
    fn examine(&self) -> Vec<String> {
        let now = self.now();
        self.figures.show(Picture::of(&self.desired, &self.actual, now, &self.config), self.duty.acts());
        let age = |then: Moment| now.saturating_sub(then);
        let (agents, heartbeat) = self.actual.agents();
        let desired = self.desired.as_of().map(age);
        self.figures.show_ages(desired, heartbeat.map(age), agents);
        let stale = (!self.desired.is_fresh(now, &self.config)).then(|| match desired {
            Some(age) => format!(
                "the desired state is {} s old: no controller gives it, and nothing is started or stopped",
                age.as_secs()
            ),
            None => "the desired state was never read: no controller gives it".to_owned(),
        });
        self.duty.trouble().into_iter().chain(stale).collect()
    }

    /// The answer to a question about an app; none when another one knows more.
    fn app_state(&self, asked: &AppStateRequest) -> Option<AppState> {
        let now = self.now();
        if !self.actual.is_fresh(now, &self.config) || !self.desired.is_fresh(now, &self.config) {
            return self.duty.acts().then(AppState::default);
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
        Some(AppState {
            droplet: Some(asked.droplet.clone()),
            version: Some(asked.version.clone()),
            instance_heartbeats,
            crash_counts,
        })
    }

    async fn publish<E: cupola_protocol::Event>(&self, event: &E) {
        warn_if_lost(self.bus.publish(event).await);
    }
}

fn warn_if_lost(sent: Result<(), cupola_bus::Error>) {
    if let Err(error) = sent {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot send a message");
    }
}

//! The one task that hears the bus and changes the table.

use super::{book::Book, saved::Saved, table::Table};
use crate::{Config, Error, clock, figures::Figures};
use cupola_bus::{Bus, Subscription};
use cupola_protocol::{
    RouterId,
    router::{Greet, KnownRoutes, Register, Start, Unregister},
};
use cupola_status::Questions;
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

/// Changes that come within this time are written to disk together.
const SAVE_DELAY: Duration = Duration::from_secs(1);

/// Everything that the task owns.
pub(crate) struct Feed {
    bus: Bus,
    book: Book,
    start: Start,
    path: PathBuf,
    prune_every: Duration,
    start_every: Duration,
    registrations: Subscription<Register>,
    unregistrations: Subscription<Unregister>,
    known: Subscription<KnownRoutes>,
    greetings: Subscription<Greet>,
}

/// What the task tells about itself and the router.
pub(crate) struct Watched {
    pub(crate) questions: Questions,
    pub(crate) figures: Arc<Figures>,
    /// Cancelled when no further requests are taken.
    pub(crate) draining: CancellationToken,
}

impl Watched {
    fn registered(&self) {
        self.figures.registrations.increment(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.figures.last_registration.set(now.as_secs_f64());
    }
}

impl Feed {
    /// Reads the saved table and subscribes; nothing is lost between this and [`Feed::run`].
    pub(crate) async fn bind(
        config: &Config,
        bus: Bus,
        table: Arc<Table>,
        hosts: Vec<String>,
    ) -> Result<Self, Error> {
        let path = config.data_dir.join("routes.json");
        let mut book = Book::new(table, config.stale_threshold_seconds * 1000);
        let saved = Saved::load(&path);
        let now = clock::now();
        book.know(&saved.known);
        for registration in &saved.endpoints {
            book.register(registration, now, Some(config.restored_grace_seconds * 1000));
        }
        let start = Start {
            id: RouterId::generate(),
            hosts,
            minimum_register_interval: config.register_interval_seconds,
            prune_threshold: Some(config.stale_threshold_seconds),
        };
        Ok(Self {
            registrations: bus.subscribe().await.map_err(Error::Bus)?,
            unregistrations: bus.subscribe().await.map_err(Error::Bus)?,
            known: bus.subscribe().await.map_err(Error::Bus)?,
            greetings: bus.subscribe().await.map_err(Error::Bus)?,
            bus,
            book,
            start,
            path,
            prune_every: Duration::from_secs(config.prune_interval_seconds),
            start_every: Duration::from_secs(config.start_interval_seconds),
        })
    }

    /// Which router this is.
    pub(crate) fn id(&self) -> &RouterId {
        &self.start.id
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Hears the bus until `shutdown`.
    pub(crate) async fn run(
        mut self,
        mut watched: Watched,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let mut connected = self.bus.connected();
        let mut prune = interval(self.prune_every);
        let mut start = interval(self.start_every);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        start.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut save_at: Option<Instant> = None;
        loop {
            let mut changed = false;
            // Not biased: a flood of registrations must not keep the timers from their turn.
            tokio::select! {
                () = shutdown.cancelled() => break,
                message = self.registrations.next() => match message {
                    Some(incoming) => {
                        watched.registered();
                        changed = self.book.register(&incoming.message, clock::now(), None);
                    }
                    None => return Err(Error::BusClosed),
                },
                message = self.unregistrations.next() => match message {
                    Some(incoming) => changed = self.book.unregister(&incoming.message.0),
                    None => return Err(Error::BusClosed),
                },
                message = self.known.next() => match message {
                    Some(incoming) => changed = self.book.know(&incoming.message.uris),
                    None => return Err(Error::BusClosed),
                },
                message = self.greetings.next() => match message {
                    Some(incoming) => {
                        if let Err(error) = incoming.reply(&self.start).await {
                            tracing::warn!(%error, "cannot answer a greeting");
                        }
                    }
                    None => return Err(Error::BusClosed),
                },
                question = watched.questions.next() => {
                    let (routes, endpoints) = self.book.size();
                    watched.figures.routes.set(routes as f64);
                    watched.figures.endpoints.set(endpoints as f64);
                    let draining = watched.draining.is_cancelled();
                    question.answer(draining.then(|| "it is stopping: no new requests are taken".to_owned()));
                }
                news = connected.changed() => {
                    if news.is_err() {
                        return Err(Error::BusClosed);
                    }
                    if *connected.borrow_and_update() {
                        // Nobody could repeat a registration while the bus was away.
                        tracing::info!("the bus is back: all routes count as fresh");
                        self.book.refresh(clock::now());
                        start.reset_immediately();
                    } else {
                        tracing::warn!("the bus is away: routes are kept as they are");
                    }
                }
                _ = prune.tick() => {
                    if *connected.borrow() {
                        let pruned = self.book.prune(clock::now());
                        if pruned > 0 {
                            tracing::info!(pruned, "dropped routes that were not registered again in time");
                            changed = true;
                        }
                    }
                }
                _ = start.tick() => {
                    if let Err(error) = self.bus.publish(&self.start).await {
                        tracing::warn!(%error, "cannot announce the router");
                    }
                }
                () = sleep_until(save_at.unwrap_or_else(Instant::now)), if save_at.is_some() => {
                    save_at = None;
                    self.save();
                }
            }
            if changed && save_at.is_none() {
                save_at = Some(Instant::now() + SAVE_DELAY);
            }
        }
        self.save();
        Ok(())
    }

    fn save(&self) {
        let saved = Saved { endpoints: self.book.registrations(), known: self.book.known() };
        if let Err(error) = saved.store(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot save the routes");
        }
    }
}

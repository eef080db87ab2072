//! A lease: of several components of a kind, one acts.
//!
//! [`Bus::lease`] gives two ends. The [`Keeper`] is run beside the component: it looks, claims and renews in
//! JetStream's key-value store, and gives the lease up when it is told to end. The [`Lease`] is asked before each
//! deed: it answers by this machine's clock alone, so that a keeper that hangs, or a store that is away, ends the
//! tenure in time by itself.
//!
//! - `contender`: the decisions, without I/O and without a clock
//! - `store`: the key in JetStream
//! - `clock`: the time since the machine was started

mod clock;
pub mod contender;
#[cfg(test)]
mod simulation;
mod store;

use crate::{Bus, Error};
use contender::{Contender, Entry, Moment, Step, Times};
use cupola_protocol::lease::{Holder, Leased};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{Store, Trouble, Written};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The shortest term: below it the answers of a busy server come too late.
const SHORTEST_TERM: Duration = Duration::from_secs(1);

/// How a lease is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseConfig {
    /// A holder that dies is replaced after this time; it renews four times as often.
    pub term: Duration,
    /// Servers that keep the bucket: 1 on one server, 3 in a cluster.
    pub replicas: usize,
}

/// How a lease stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Whether it is ours. Ask [`Lease::held`] before acting: it knows the time.
    pub held: bool,
    /// The other who holds it, as far as is known.
    pub other: Option<String>,
    /// Why the store cannot be used now.
    pub trouble: Option<String>,
}

/// Whether the lease is ours; clones ask the same keeper.
#[derive(Debug, Clone)]
pub struct Lease {
    /// Nanoseconds of the clock until which it is ours; 0 when it is not.
    until: Arc<AtomicU64>,
    standing: watch::Receiver<Standing>,
}

impl Lease {
    /// Whether we may act at this moment.
    pub fn held(&self) -> bool {
        nanos(clock::now()) < self.until.load(Ordering::Acquire)
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        Standing { held: self.held(), ..self.standing.borrow().clone() }
    }

    /// Waits for news; for ever when the keeper has ended.
    pub async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Looks, claims and renews.
pub struct Keeper {
    contender: Contender,
    store: Store,
    holder: Holder,
    until: Arc<AtomicU64>,
    standing: watch::Sender<Standing>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("contender", &self.contender).finish_non_exhaustive()
    }
}

impl Bus {
    /// Takes part in a lease. `uuid` must be new with each start.
    ///
    /// # Errors
    /// [`Error::NoJetStream`] when the server has none, [`Error::LeaseConfig`] for a term or a number of replicas
    /// that cannot work. A server that is away, or a cluster without quorum, is waited for.
    pub async fn lease(
        &self,
        leased: Leased,
        uuid: &str,
        config: LeaseConfig,
    ) -> Result<(Lease, Keeper), Error> {
        if config.term < SHORTEST_TERM {
            return Err(Error::LeaseConfig {
                problem: format!("a term must not be below {SHORTEST_TERM:?}"),
            });
        }
        if ![1, 3, 5].contains(&config.replicas) {
            let problem = format!("{} replicas: JetStream keeps 1, 3 or 5", config.replicas);
            return Err(Error::LeaseConfig { problem });
        }
        let times = Times::of(config.term);
        let store = Store::new(self.client(), leased, config, times.answer);
        store.probe().await?;
        let until = Arc::new(AtomicU64::new(0));
        let (sender, standing) = watch::channel(Standing::default());
        let keeper = Keeper {
            contender: Contender::new(uuid.to_owned(), times),
            store,
            holder: Holder { uuid: uuid.to_owned() },
            until: until.clone(),
            standing: sender,
        };
        Ok((Lease { until, standing }, keeper))
    }
}

impl Keeper {
    /// Keeps the lease, or keeps trying, until `shutdown`; then gives it up, so that another has it at once.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.keep() => {}
        }
        self.give_up().await;
    }

    async fn keep(&mut self) {
        let mut connection = self.store.connection();
        loop {
            let now = self.store.connection();
            if now != connection {
                connection = now;
                self.contender.reconnected(clock::now());
            }
            let step = self.contender.step(clock::now());
            self.show();
            match step {
                Step::Wait(until) => tokio::time::sleep(until.saturating_sub(clock::now())).await,
                Step::Look => match self.store.look().await {
                    // An answer that spans two connections says nothing.
                    Ok(_) if self.store.connection() != connection => {
                        self.contender.unanswered(clock::now());
                    }
                    Ok(entry) => {
                        self.contender.looked(entry, clock::now());
                        self.trouble(None);
                    }
                    Err(trouble) => self.unanswered(trouble),
                },
                Step::Claim { replaces } => {
                    let sent = clock::now();
                    match self.store.claim(&self.holder, replaces).await {
                        Ok(Written::As(revision)) => {
                            self.contender.claimed(revision, sent, clock::now());
                            self.trouble(None);
                        }
                        Ok(Written::Refused) => self.contender.refused(clock::now()),
                        Err(trouble) => self.unanswered(trouble),
                    }
                }
            }
        }
    }

    fn unanswered(&mut self, trouble: Trouble) {
        self.contender.unanswered(clock::now());
        self.trouble(Some(trouble));
    }

    fn trouble(&self, trouble: Option<Trouble>) {
        self.standing.send_if_modified(|standing| {
            let changed = standing.trouble.is_some() != trouble.is_some();
            match (&trouble, changed) {
                (Some(trouble), true) => tracing::warn!(trouble, "the lease is in trouble"),
                (None, true) => tracing::info!("the lease can be kept again"),
                _ => {}
            }
            standing.trouble = trouble;
            changed
        });
    }

    /// Lets others see what is so now.
    fn show(&self) {
        let until = self.contender.until();
        self.until.store(until.map_or(0, nanos), Ordering::Release);
        let other = self.contender.other().map(str::to_owned);
        self.standing.send_if_modified(|standing| {
            let held = until.is_some();
            let changed = standing.held != held || standing.other != other;
            match (standing.held, held) {
                (false, true) => tracing::info!(uuid = self.holder.uuid, "holds the lease"),
                (true, false) => tracing::warn!(uuid = self.holder.uuid, "has lost the lease"),
                _ => {}
            }
            if changed && let Some(other) = &other {
                tracing::info!(holder = other, "another holds the lease");
            }
            standing.held = held;
            standing.other = other;
            changed
        });
    }

    /// Stops first, and then tells.
    async fn give_up(&mut self) {
        self.contender.give_up();
        self.show();
        // Whatever was written last, perhaps unanswered, is what must go.
        match self.store.look().await {
            Ok(Entry::Held { revision, by }) if by == self.holder.uuid => {
                match self.store.release(revision).await {
                    Ok(()) => tracing::info!(uuid = self.holder.uuid, "has given the lease up"),
                    Err(trouble) => tracing::warn!(trouble, "the lease runs out by itself"),
                }
            }
            Ok(_) => {}
            Err(trouble) => tracing::warn!(trouble, "the lease, if it is ours, runs out by itself"),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Nobody would renew it.
        self.until.store(0, Ordering::Release);
    }
}

fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX)
}

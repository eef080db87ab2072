//! Locks by name: of an app, or of a blob.
//!
//! Whoever changes an app's row, or tells a node about it, holds the app's lock. Whoever adds or removes a blob that
//! several rows may name holds the blob's lock from the look at the rows until the blob is there or gone. An app's
//! lock is taken before a blob's, never after.
//!
//! Within a controller they are mutexes. Controllers that share a PostgreSQL hold an advisory lock of it besides, all
//! of them in one session of their own, so that a controller that dies gives up its locks at once. When that session
//! breaks, its locks are lost while their holders go on; for that case `store::update_app` writes an app only as it
//! was read.

use crate::{api::ApiError, store};
use sha2::{Digest, Sha256};
use sqlx::{AnyConnection, Connection};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::{
    sync::{OwnedMutexGuard, mpsc, oneshot},
    time::{Instant, sleep, timeout, timeout_at},
};

/// Pauses between two tries to get what another controller holds: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// All locks.
#[derive(Debug)]
pub(crate) struct Locks {
    local: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    /// When other controllers may use the same rows.
    session: Option<mpsc::UnboundedSender<Command>>,
    /// How long a lock is waited for.
    patience: Duration,
}

/// A lock that is held, until this is dropped.
#[derive(Debug)]
#[must_use = "a lock is held as long as this lives"]
pub(crate) struct Held {
    shared: Option<(mpsc::UnboundedSender<Command>, Unlock)>,
    _local: OwnedMutexGuard<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Before the mutex is free: the next holder here asks after this, and finds it done.
        if let Some((session, unlock)) = self.shared.take() {
            let _ = session.send(Command::Unlock(unlock));
        }
    }
}

/// A key, and the session in which it was locked.
#[derive(Debug, Clone, Copy)]
struct Unlock {
    key: i64,
    era: u64,
}

#[derive(Debug)]
enum Command {
    /// Answered with the era, or with none when another session has the lock.
    Try(i64, oneshot::Sender<store::Result<Option<u64>>>),
    Unlock(Unlock),
}

impl Locks {
    /// Locks of one controller, or of all that share a database.
    pub(crate) fn new(shared: Option<store::Shared>, patience: Duration) -> Self {
        let session = shared.map(|shared| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(Session { shared, connection: None, era: 0 }.run(receiver));
            sender
        });
        Self { local: Mutex::default(), session, patience }
    }

    /// An app's lock.
    pub(crate) async fn app(&self, guid: &str) -> Result<Held, ApiError> {
        self.named(format!("app {guid}"), "the app").await
    }

    /// A blob's lock, by what names it: a package's guid, or a digest.
    pub(crate) async fn blob(&self, name: &str) -> Result<Held, ApiError> {
        self.named(format!("blob {name}"), "a file of it").await
    }

    /// The lock of what is made once.
    pub(crate) async fn first_rows(&self) -> Result<Held, ApiError> {
        self.named("first rows".to_owned(), "the first rows").await
    }

    async fn named(&self, name: String, what: &str) -> Result<Held, ApiError> {
        let deadline = Instant::now() + self.patience;
        let busy = || ApiError::busy(what, self.patience);
        let local = self.local(&name).lock_owned();
        let local = timeout_at(deadline, local).await.map_err(|_| busy())?;
        let Some(session) = &self.session else { return Ok(Held { shared: None, _local: local }) };
        let key = key(&name);
        let mut pause = PAUSES.0;
        loop {
            let (answer, era) = oneshot::channel();
            // The session's task ends with the last sender, and this is one.
            let gone = |_| sqlx::Error::WorkerCrashed;
            session.send(Command::Try(key, answer)).map_err(|_| sqlx::Error::WorkerCrashed)?;
            if let Some(era) = era.await.map_err(gone)?? {
                let shared = Some((session.clone(), Unlock { key, era }));
                return Ok(Held { shared, _local: local });
            }
            if Instant::now() >= deadline {
                return Err(busy());
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn local(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.local.lock().expect("no holder of this lock panics");
        locks.retain(|_, lock| lock.strong_count() > 0);
        match locks.get(name).and_then(Weak::upgrade) {
            Some(lock) => lock,
            None => {
                let lock = Arc::default();
                locks.insert(name.to_owned(), Arc::downgrade(&lock));
                lock
            }
        }
    }
}

/// PostgreSQL's advisory locks have numbers: two names with one number only wait for each other.
fn key(name: &str) -> i64 {
    let digest = Sha256::digest(name.as_bytes());
    i64::from_be_bytes(std::array::from_fn(|index| digest[index]))
}

/// The session that holds this controller's advisory locks.
struct Session {
    shared: store::Shared,
    connection: Option<AnyConnection>,
    /// Counts the connections: what was locked in an older one is lost already.
    era: u64,
}

impl Session {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Try(key, answer) if !answer.is_closed() => {
                    let got = self.try_lock(key).await;
                    let locked = matches!(got, Ok(Some(_)));
                    if answer.send(got).is_err() && locked {
                        // Whoever asked has gone meanwhile.
                        self.unlock(key).await;
                    }
                }
                Command::Try(..) => {}
                Command::Unlock(Unlock { key, era }) if era == self.era => self.unlock(key).await,
                Command::Unlock(_) => {}
            }
        }
        if let Some(connection) = self.connection {
            let _ = connection.close().await;
        }
    }

    async fn try_lock(&mut self, key: i64) -> store::Result<Option<u64>> {
        let was_connected = self.connection.is_some();
        match self.ask("SELECT pg_try_advisory_lock($1)", key).await {
            // The server may just have been restarted: a new connection tells.
            Err(_) if was_connected => {
                self.ask("SELECT pg_try_advisory_lock($1)", key).await.map(|got| got.then_some(self.era))
            }
            answer => answer.map(|got| got.then_some(self.era)),
        }
    }

    async fn unlock(&mut self, key: i64) {
        if self.connection.is_some()
            && let Err(error) = self.ask("SELECT pg_advisory_unlock($1)", key).await
        {
            tracing::warn!(%error, "lost the session that holds locks: they are free now");
        }
    }

    /// Asks within the time that a request waits for the database. A connection that fails is given up.
    async fn ask(&mut self, words: &'static str, key: i64) -> store::Result<bool> {
        let patience = self.shared.patience;
        let asked = timeout(patience, async {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                None => {
                    let connection = self.shared.connect().await?;
                    self.era += 1;
                    self.connection.insert(connection)
                }
            };
            sqlx::query_scalar(words).bind(key).fetch_one(connection).await
        });
        let answer = asked.await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_not_for_ever() {
        let locks = Locks::new(None, Duration::from_millis(50));
        let held = locks.app("a").await.unwrap();
        let other = locks.app("b").await.unwrap();
        let refused = locks.app("a").await.unwrap_err();
        assert!(refused.detail().contains("try again") || refused.detail().contains("Try again"));
        drop((held, other));
        let _held = locks.app("a").await.unwrap();
        assert_ne!(key("app a"), key("app b"));
    }
}

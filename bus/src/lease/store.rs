//! The key of a lease in JetStream's key-value store.

use super::{LeaseConfig, contender::Entry};
use crate::Error;
use async_nats::jetstream::{
    self, Context, ErrorCode,
    context::AccountErrorKind,
    kv::{self, Operation, UpdateErrorKind},
    stream,
};
use cupola_protocol::lease::{BUCKET, Holder, Leased};
use std::time::Duration;

/// How long the bucket may take to be made or found.
const ATTACH: Duration = Duration::from_secs(5);

/// A bucket forgets what nobody has renewed for so many terms.
const FORGET_TERMS: u32 = 20;

/// Why the store did not do what it was asked to; in words, for people.
pub(super) type Trouble = String;

/// What became of a write.
pub(super) enum Written {
    /// It is there, with this revision.
    As(u64),
    /// Another revision was there.
    Refused,
}

/// The key of one lease.
pub(super) struct Store {
    jetstream: Context,
    leased: Leased,
    config: LeaseConfig,
    answer: Duration,
    /// The bucket, once it is known to be there.
    bucket: Option<kv::Store>,
}

impl Store {
    pub(super) fn new(
        client: async_nats::Client,
        leased: Leased,
        config: LeaseConfig,
        answer: Duration,
    ) -> Self {
        Self { jetstream: jetstream::new(client), leased, config, answer, bucket: None }
    }

    /// Which connection is used: another one may lead to another store.
    pub(super) fn connection(&self) -> (String, u64) {
        let server = self.jetstream.client().server_info();
        (server.server_id, server.client_id)
    }

    /// Finds out whether the server has JetStream at all. A server that does not answer in time may have it.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        let asked = tokio::time::timeout(ATTACH, self.jetstream.query_account()).await;
        let Ok(Err(error)) = asked else { return Ok(()) };
        let never = match error.kind() {
            AccountErrorKind::JetStreamUnavailable => true,
            AccountErrorKind::JetStream(answer) => {
                [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT]
                    .contains(&answer.error_code())
            }
            AccountErrorKind::TimedOut | AccountErrorKind::Other => false,
        };
        if never { Err(Error::NoJetStream) } else { Ok(()) }
    }

    /// What the key shows.
    pub(super) async fn look(&mut self) -> Result<Entry, Trouble> {
        let key = self.leased.key();
        let bucket = self.bucket().await?;
        let entry = match tokio::time::timeout(self.answer, bucket.entry(key)).await {
            Ok(Ok(entry)) => entry,
            Ok(Err(error)) => return Err(self.failed("read", &error)),
            Err(_) => return Err(self.silent("read")),
        };
        let Some(entry) = entry else { return Ok(Entry::Absent) };
        let revision = entry.revision;
        match (entry.operation, serde_json::from_slice::<Holder>(&entry.value)) {
            (Operation::Delete | Operation::Purge, _) => Ok(Entry::Released { revision }),
            (Operation::Put, Ok(holder)) => Ok(Entry::Held { revision, by: holder.uuid }),
            // Somebody wrote into the bucket by hand: it is a holder like another, and expires like one.
            (Operation::Put, Err(_)) => Ok(Entry::Held { revision, by: "(unreadable)".to_owned() }),
        }
    }

    /// Writes a holder in place of a revision.
    pub(super) async fn claim(&mut self, holder: &Holder, replaces: u64) -> Result<Written, Trouble> {
        let key = self.leased.key();
        let value = serde_json::to_vec(holder).map_err(|error| error.to_string())?;
        let bucket = self.bucket().await?;
        match tokio::time::timeout(self.answer, bucket.update(key, value.into(), replaces)).await {
            Ok(Ok(revision)) => Ok(Written::As(revision)),
            Ok(Err(error)) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(Written::Refused),
            Ok(Err(error)) => Err(self.failed("write", &error)),
            Err(_) => Err(self.silent("write")),
        }
    }

    /// Deletes a revision of ours.
    pub(super) async fn release(&mut self, revision: u64) -> Result<(), Trouble> {
        let key = self.leased.key();
        let bucket = self.bucket().await?;
        match tokio::time::timeout(self.answer, bucket.delete_expect_revision(key, Some(revision))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed("give up", &error)),
            Err(_) => Err(self.silent("give up")),
        }
    }

    /// The bucket; made where there is none, and set right where another configuration made it.
    async fn bucket(&mut self) -> Result<kv::Store, Trouble> {
        if let Some(bucket) = &self.bucket {
            return Ok(bucket.clone());
        }
        // The stream of a bucket, made as such: the client's own way to a bucket reads figures of the account that
        // servers before 2.10 do not give.
        let wanted = stream::Config {
            name: format!("KV_{BUCKET}"),
            description: Some("Who of several components acts".to_owned()),
            subjects: vec![format!("$KV.{BUCKET}.>")],
            max_messages_per_subject: 1,
            max_age: self.config.term * FORGET_TERMS,
            num_replicas: self.config.replicas,
            discard: stream::DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..stream::Config::default()
        };
        let replicas = self.config.replicas;
        let attach = async {
            self.jetstream.create_or_update_stream(wanted).await.map_err(|error| chain(&error))?;
            self.jetstream.get_key_value(BUCKET).await.map_err(|error| chain(&error))
        };
        match tokio::time::timeout(ATTACH, attach).await {
            Ok(Ok(bucket)) => Ok(self.bucket.insert(bucket).clone()),
            Ok(Err(error)) => {
                Err(format!("cannot have the bucket {BUCKET} with {replicas} replicas in JetStream: {error}"))
            }
            Err(_) => Err(format!(
                "JetStream does not answer: does the cluster have a quorum? ({BUCKET}, {replicas} replicas)"
            )),
        }
    }

    fn failed(&mut self, what: &str, error: &(dyn std::error::Error + 'static)) -> Trouble {
        // It may be gone: the next use finds out, and makes it.
        self.bucket = None;
        format!("cannot {what} the lease {} in JetStream: {}", self.leased.key(), chain(error))
    }

    fn silent(&mut self, what: &str) -> Trouble {
        self.bucket = None;
        format!(
            "cannot {what} the lease {} in JetStream: no answer within {:?}; does the cluster have a quorum?",
            self.leased.key(),
            self.answer
        )
    }
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}

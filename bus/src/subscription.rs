//! Streams of typed messages.

use crate::{Bus, Error};
use async_nats::{StatusCode, Subscriber};
use cupola_protocol::{Message, Request, Subject};
use futures::{Stream, StreamExt};
use std::{
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// A typed stream of messages; ends only when the connection is closed for good.
pub struct Subscription<M> {
    pub(crate) inner: Subscriber,
    pub(crate) bus: Bus,
    pub(crate) message: PhantomData<fn() -> M>,
}

/// One message with, perhaps, an address for answers.
#[derive(Debug)]
pub struct Incoming<M> {
    /// The message.
    pub message: M,
    reply: Option<async_nats::Subject>,
    bus: Bus,
}

impl<M> std::fmt::Debug for Subscription<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

impl<M: Message> Subscription<M> {
    /// The next message; `None` when the connection is closed for good.
    pub async fn next(&mut self) -> Option<Incoming<M>> {
        StreamExt::next(self).await
    }
}

impl<M: Message> Stream for Subscription<M> {
    type Item = Incoming<M>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let Poll::Ready(next) = this.inner.poll_next_unpin(cx) else { return Poll::Pending };
            let Some(raw) = next else { return Poll::Ready(None) };
            // Historic senders of messages without content send nothing at all.
            let payload: &[u8] = if raw.payload.is_empty() { b"{}" } else { &raw.payload };
            match serde_json::from_slice(payload) {
                Ok(message) => {
                    return Poll::Ready(Some(Incoming { message, reply: raw.reply, bus: this.bus.clone() }));
                }
                Err(error) => {
                    tracing::warn!(subject = %raw.subject, %error, "dropped a message that is not of its type");
                }
            }
        }
    }
}

impl<M> Incoming<M> {
    /// Whether the sender waits for an answer.
    pub fn wants_reply(&self) -> bool {
        self.reply.is_some()
    }

    /// Answers with any message; does nothing when nobody waits.
    pub async fn respond<R: Message>(&self, reply: &R) -> Result<(), Error> {
        match &self.reply {
            Some(inbox) => self.bus.publish_inbox(inbox.clone(), reply).await,
            None => Ok(()),
        }
    }
}

impl<M: Request> Incoming<M> {
    /// Answers a request with a reply of its type; may be called several times where the conversation says so.
    pub async fn reply(&self, reply: &M::Reply) -> Result<(), Error> {
        self.respond(reply).await
    }
}

/// The answers to one request, as they come.
pub struct Replies<R> {
    pub(crate) inner: Subscriber,
    pub(crate) subject: Subject,
    pub(crate) reply: PhantomData<fn() -> R>,
}

impl<R: Message> Replies<R> {
    /// The next answer, waited for until `deadline`.
    ///
    /// # Errors
    /// [`Error::Timeout`] at the deadline, [`Error::NoResponders`] when nobody listens, [`Error::Reply`] for an
    /// answer that is not one.
    pub async fn next(&mut self, deadline: Instant) -> Result<R, Error> {
        let begun = Instant::now();
        let subject = || self.subject.clone();
        match tokio::time::timeout_at(deadline, StreamExt::next(&mut self.inner)).await {
            Err(_) => {
                Err(Error::Timeout { subject: subject(), timeout: deadline.saturating_duration_since(begun) })
            }
            Ok(None) => Err(Error::Closed),
            Ok(Some(raw)) if raw.status == Some(StatusCode::NO_RESPONDERS) => {
                Err(Error::NoResponders { subject: subject() })
            }
            Ok(Some(raw)) => serde_json::from_slice(&raw.payload)
                .map_err(|source| Error::Reply { subject: subject(), source }),
        }
    }

    /// All answers that come within `window`, or until `enough` says so; answers that are not of their type
    /// are left out.
    pub async fn collect(mut self, window: Duration, mut enough: impl FnMut(&[R]) -> bool) -> Vec<R> {
        let deadline = Instant::now() + window;
        let mut replies = Vec::new();
        loop {
            match self.next(deadline).await {
                Ok(reply) => replies.push(reply),
                Err(Error::Reply { subject, source }) => {
                    tracing::warn!(%subject, error = %source, "dropped an answer that is not of its type");
                }
                Err(_) => return replies,
            }
            if enough(&replies) {
                return replies;
            }
        }
    }
}

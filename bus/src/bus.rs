//! The handle.

use crate::{Error, Replies, Subscription};
use async_nats::{Client, ConnectOptions, Event as ClientEvent, ServerAddr};
use cupola_protocol::{Event, Message, Request, Subject};
use serde::{Deserialize, Serialize};
use std::{marker::PhantomData, net::IpAddr, path::PathBuf, time::Duration};
use tokio::sync::watch;

/// How the bus is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses of one server or of a cluster's members, as `nats://host:port`.
    pub servers: Vec<String>,
    /// User name; none for a server without authorization.
    pub user: Option<String>,
    /// File that holds the password, and nothing else.
    pub password_file: Option<PathBuf>,
    /// Seconds until the first connection is given up. Later losses are retried for ever.
    pub connect_timeout_seconds: u64,
    /// Seconds between two pings; two that go unanswered mean a lost connection. Short: a server whose host died says
    /// no goodbye, and until it is missed this process hears nothing.
    pub ping_interval_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".to_owned()],
            user: None,
            password_file: None,
            connect_timeout_seconds: 10,
            ping_interval_seconds: 2,
        }
    }
}

/// The longest pause between two tries to reconnect.
const MAX_RECONNECT_PAUSE: Duration = Duration::from_secs(2);

/// How long one server of several may take: one whose host is lost must not keep us from the next.
const SERVER_LIMIT: Duration = Duration::from_secs(2);

/// A handle to the bus; clones share one connection.
#[derive(Clone)]
pub struct Bus {
    client: Client,
    connected: watch::Receiver<bool>,
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("connected", &*self.connected.borrow()).finish_non_exhaustive()
    }
}

impl Bus {
    /// Connects; `name` is what the server's monitoring shows.
    ///
    /// # Errors
    /// When no server can be reached within the configured time, when it refuses the credentials, or when the
    /// configuration cannot be used.
    pub async fn connect(config: &Config, name: &str) -> Result<Self, Error> {
        let addresses = config
            .servers
            .iter()
            .map(|address| {
                address
                    .parse::<ServerAddr>()
                    .map_err(|source| Error::Address { address: address.clone(), source })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (events, connected) = watch::channel(true);
        let mut options = ConnectOptions::new()
            .name(name)
            .ping_interval(Duration::from_secs(config.ping_interval_seconds))
            .connection_timeout(Duration::from_secs(config.connect_timeout_seconds).min(SERVER_LIMIT))
            .reconnect_delay_callback(|attempts| {
                MAX_RECONNECT_PAUSE.min(Duration::from_millis(50 * attempts.min(1000) as u64))
            })
            .event_callback(move |event| {
                let events = events.clone();
                async move {
                    match event {
                        ClientEvent::Connected => drop(events.send_replace(true)),
                        ClientEvent::Disconnected | ClientEvent::Closed => drop(events.send_replace(false)),
                        other => tracing::warn!(event = %other, "news from the NATS client"),
                    }
                }
            });
        if let Some(user) = &config.user {
            let password = match &config.password_file {
                Some(path) => std::fs::read_to_string(path)
                    .map_err(|source| Error::Password { path: path.clone(), source })?
                    .trim_end()
                    .to_owned(),
                None => String::new(),
            };
            options = options.user_and_password(user.clone(), password);
        }
        let client = options
            .connect(&addresses[..])
            .await
            .map_err(|source| Error::Connect { servers: config.servers.join(", "), source })?;
        Ok(Self { client, connected })
    }

    /// Whether there is a connection now, and news of it.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Our address as the server sees it; none before it has said so.
    pub fn own_address(&self) -> Option<IpAddr> {
        self.client.server_info().client_ip.parse().ok()
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Publishes a message on its fixed subject.
    pub async fn publish<E: Event>(&self, event: &E) -> Result<(), Error> {
        self.publish_to(&Subject::of::<E>(), event).await
    }

    /// Publishes a message on a subject that is made from an id.
    pub async fn publish_to<M: Message>(&self, subject: &Subject, message: &M) -> Result<(), Error> {
        let payload = encode(subject, message)?;
        self.client
            .publish(subject.as_str().to_owned(), payload.into())
            .await
            .map_err(|source| Error::Publish { subject: subject.clone(), source })
    }

    pub(crate) async fn publish_inbox<M: Message>(
        &self,
        inbox: async_nats::Subject,
        message: &M,
    ) -> Result<(), Error> {
        // An inbox is a subject that NATS made; it is only named here for the error.
        let subject = Subject::inbox(inbox.as_str());
        let payload = encode(&subject, message)?;
        self.client.publish(inbox, payload.into()).await.map_err(|source| Error::Publish { subject, source })
    }

    /// Subscribes to the fixed subject of an event type.
    pub async fn subscribe<E: Event>(&self) -> Result<Subscription<E>, Error> {
        self.subscribe_to(&Subject::of::<E>()).await
    }

    /// Subscribes to a subject.
    pub async fn subscribe_to<M: Message>(&self, subject: &Subject) -> Result<Subscription<M>, Error> {
        let inner = self
            .client
            .subscribe(subject.as_str().to_owned())
            .await
            .map_err(|source| Error::Subscribe { subject: subject.clone(), source })?;
        Ok(Subscription { inner, bus: self.clone(), message: PhantomData })
    }

    /// Subscribes to an event type as one of a group, of which one member gets each message.
    pub async fn subscribe_group<E: Event>(&self, group: &str) -> Result<Subscription<E>, Error> {
        let subject = Subject::of::<E>();
        let inner = self
            .client
            .queue_subscribe(E::SUBJECT, group.to_owned())
            .await
            .map_err(|source| Error::Subscribe { subject, source })?;
        Ok(Subscription { inner, bus: self.clone(), message: PhantomData })
    }

    /// Asks, and waits for the first answer.
    ///
    /// # Errors
    /// [`Error::NoResponders`] at once when nobody listens, [`Error::Timeout`] when nobody answers.
    pub async fn request<R: Request>(
        &self,
        subject: &Subject,
        request: &R,
        timeout: Duration,
    ) -> Result<R::Reply, Error> {
        let deadline = tokio::time::Instant::now() + timeout;
        self.request_replies(subject, request).await?.next(deadline).await
    }

    /// Asks, and gives the answers as they come: several agents may answer, or one several times.
    pub async fn request_replies<R: Request>(
        &self,
        subject: &Subject,
        request: &R,
    ) -> Result<Replies<R::Reply>, Error> {
        let inbox = self.client.new_inbox();
        let inner = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|source| Error::Subscribe { subject: subject.clone(), source })?;
        let payload = encode(subject, request)?;
        self.client
            .publish_with_reply(subject.as_str().to_owned(), inbox, payload.into())
            .await
            .map_err(|source| Error::Publish { subject: subject.clone(), source })?;
        Ok(Replies { inner, subject: subject.clone(), reply: PhantomData })
    }

    /// Waits until everything that was published has been written to the connection. The server may not have read it
    /// yet: who comes by another connection can still be quicker.
    pub async fn flush(&self) -> Result<(), Error> {
        self.client.flush().await.map_err(|_| Error::Closed)
    }
}

fn encode<M: Message>(subject: &Subject, message: &M) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(message).map_err(|source| Error::Encode { subject: subject.clone(), source })
}

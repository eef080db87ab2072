//! Listening, and stopping with grace.

use crate::{
    Config, Error,
    figures::{self, Figures},
    proxy::{Shared, access, connection, relay},
    routes::{
        feed::{Feed, Watched},
        table::Table,
    },
};
use cupola_bus::Bus;
use cupola_status::{Identity, Page, Questions};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The pause after an accept that failed: out of descriptors, most often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A router that listens.
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    shared: Arc<Shared>,
    feed: Feed,
    writer: Option<access::Writer>,
    publisher: Option<relay::Publisher>,
    page: Page,
    questions: Questions,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// Listens, reads the saved table and subscribes to routes; requests are served by [`Server::run`].
///
/// # Errors
/// [`Error::PortTaken`] when another program listens there; others when the configuration, the data folder, the
/// access log or the bus cannot be used.
pub async fn bind(config: Config, bus: Bus) -> Result<Server, Error> {
    config.check()?;
    std::fs::create_dir_all(&config.data_dir)
        .map_err(|source| Error::DataDir { path: config.data_dir.clone(), source })?;
    let listener =
        TcpListener::bind(config.listen).await.map_err(|source| not_listening(config.listen, source))?;
    let addr = listener.local_addr().map_err(|source| not_listening(config.listen, source))?;
    let (writer, file) = match &config.access_log {
        Some(path) => access::Writer::open(path).map(|(writer, lines)| (Some(writer), Some(lines)))?,
        None => (None, None),
    };
    let (publisher, relay) = match config.app_logs {
        true => {
            let (publisher, relay) = relay::channel(bus.clone(), config.app_log_lines_per_second);
            (Some(publisher), Some(relay))
        }
        false => (None, None),
    };
    let hosts = match config.advertised_hosts.is_empty() {
        true => vec![addr.ip().to_string()],
        false => config.advertised_hosts.clone(),
    };
    let table = Arc::new(Table::default());
    let feed = Feed::bind(&config, bus, table.clone(), hosts).await?;
    let access = access::Log::new(file, relay);
    let identity = Identity {
        name: "router",
        kind: "Router",
        index: config.index,
        id: feed.id().to_string(),
        historic: figures::historic,
    };
    let (page, questions) =
        Page::bind(&config.status, identity, &config, feed.bus()).await.map_err(Error::Status)?;
    let figures = Arc::new(page.figures(Figures::new));
    let shared = Arc::new(Shared { config, table, access, figures, draining: CancellationToken::new() });
    Ok(Server { listener, addr, shared, feed, writer, publisher, page, questions })
}

fn not_listening(listen: SocketAddr, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::AddrInUse => Error::PortTaken { listen, port: listen.port(), source },
        _ => Error::Listen { listen, source },
    }
}

impl Server {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where its status page is.
    pub fn status_addr(&self) -> SocketAddr {
        self.page.addr()
    }

    /// Serves until `shutdown`; then takes no further request, lets those in progress finish within the
    /// configured time, and ends.
    ///
    /// # Errors
    /// When the bus is closed for good.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { listener, shared, feed, writer, publisher, page, questions, .. } = self;
        let _status = page.serve();
        let config = &shared.config;
        let helpers = TaskTracker::new();
        let helpers_end = CancellationToken::new();
        if let Some(writer) = writer {
            helpers.spawn(writer.run(helpers_end.clone()));
        }
        if let Some(publisher) = publisher {
            helpers.spawn(publisher.run(helpers_end.clone()));
        }
        let feed_end = CancellationToken::new();
        let watched =
            Watched { questions, figures: shared.figures.clone(), draining: shared.draining.clone() };
        let mut feed = tokio::spawn(feed.run(watched, feed_end.clone()));
        let connections = TaskTracker::new();
        let cut = CancellationToken::new();
        let room = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
        let mut feed_ended = None;
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                ended = &mut feed => {
                    feed_ended = Some(ended);
                    break;
                }
                accepted = accept(&listener, &room) => accepted,
            };
            let Some((stream, peer, permit)) = accepted else { continue };
            let (shared, cut) = (shared.clone(), cut.clone());
            let open = shared.figures.connected();
            connections.spawn(async move {
                tokio::select! {
                    () = connection::serve(&shared, stream, peer) => {}
                    () = cut.cancelled() => {}
                }
                drop((open, permit));
            });
        }
        drop(listener);
        shared.draining.cancel();
        connections.close();
        if tokio::time::timeout(Duration::from_secs(config.drain_seconds), connections.wait()).await.is_err()
        {
            tracing::warn!(connections = connections.len(), "closing connections that did not end in time");
            cut.cancel();
            connections.wait().await;
        }
        feed_end.cancel();
        let ended = match feed_ended {
            Some(ended) => ended,
            None => feed.await,
        };
        helpers_end.cancel();
        helpers.close();
        helpers.wait().await;
        match ended {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// Waits for room, then for a client.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, permit)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

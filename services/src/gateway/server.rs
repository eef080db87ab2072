//! The component: binds everything that can fail, and runs it.

use super::{
    Config, Error,
    broker::Broker,
    config::seconds,
    figures::{self, Figures},
    http::{Door, router},
    record::Instances,
    registration,
};
use crate::{address, files, secret};
use axum::{
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use cupola_bus::{Bus, Subscription};
use cupola_protocol::services::{Announce, CheckOrphan, Discover, Engine, NodeHandles, RegisterBroker};
use cupola_status::{Identity, Page, Questions};
use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll, select_all},
};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// How long operations under way may take when the gateway ends. The next gateway takes them up.
const DRAIN: Duration = Duration::from_secs(10);

/// A gateway that can answer.
pub struct Server {
    broker: Arc<Broker>,
    listener: TcpListener,
    address: SocketAddr,
    door: Door,
    registration: RegisterBroker,
    bus: Bus,
    said: SelectAll<BoxStream<'static, Said>>,
    page: Page,
    questions: Questions,
}

/// What nodes say.
enum Said {
    Announce(Engine, Announce),
    Handles(Engine, NodeHandles),
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Checks the configuration, reads what an earlier gateway has written, makes the password at the first start, listens
/// and subscribes. Neither controller nor nodes need be there yet.
///
/// # Errors
/// [`Error::Config`] for a key that cannot be used, [`Error::File`] and [`Error::Record`] for the data directory,
/// [`Error::Listen`] for the address, [`Error::Bus`] when the bus refuses.
pub async fn bind(config: Config, bus: Bus) -> Result<Server, Error> {
    config.validate()?;
    let home = config.data_dir.clone();
    files::make_directory(&home).map_err(Error::file("make", &home))?;
    let id_file = home.join("id");
    let id =
        files::load_or_make(&id_file, secret::password).map_err(Error::file("read or write", &id_file))?;
    let password_file = config.password_file.clone().unwrap_or_else(|| home.join("password"));
    let password = files::load_or_make(&password_file, secret::password)
        .map_err(Error::file("read or write", &password_file))?;
    let instances = Instances::open(home.join("instances"))?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| Error::Listen { address: config.listen, source })?;
    let address = listener.local_addr().map_err(|source| Error::Listen { address: config.listen, source })?;
    let mut said = Vec::new();
    for engine in Engine::ALL {
        let announces: Subscription<Announce> =
            bus.subscribe_to(&engine.announce()).await.map_err(Error::Bus)?;
        let handles: Subscription<NodeHandles> =
            bus.subscribe_to(&engine.node_handles()).await.map_err(Error::Bus)?;
        said.push(announces.map(move |said| Said::Announce(engine, said.message)).boxed());
        said.push(handles.map(move |said| Said::Handles(engine, said.message)).boxed());
    }
    bus.flush().await.map_err(Error::Bus)?;
    let registration = RegisterBroker {
        name: config.broker_name.clone(),
        url: config.url.clone().unwrap_or_else(|| url(address)),
        username: config.username.clone(),
        password: password.clone(),
    };
    let door = Door::new(&config.username, &password);
    // Not the id itself: who knows it could foretell the names that this gateway gives.
    let identity = Identity {
        name: "service_gateway",
        kind: "Services-Provisioner",
        index: config.index,
        id: secret::digest(&["status", &id], 32),
        historic: figures::historic,
    };
    let (page, questions) =
        Page::bind(&config.status, identity, &config, &bus).await.map_err(Error::Status)?;
    let figures = page.figures(Figures::new);
    let broker = Arc::new(Broker::new(config, &id, bus.clone(), instances, figures));
    let said = select_all(said);
    Ok(Server { broker, listener, address, door, registration, bus, said, page, questions })
}

/// Counts each answer.
async fn count(State(broker): State<Arc<Broker>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    broker.figures.request(response.status().as_u16(), begun.elapsed());
    response
}

/// Where others reach an address that we listen on.
fn url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified()
        && let Some(own) = address::advertised(None)
    {
        address.set_ip(own.into());
    }
    format!("http://{address}")
}

impl Server {
    /// Where it answers.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where its status page is.
    pub fn status_addr(&self) -> SocketAddr {
        self.page.addr()
    }

    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Server { broker, listener, door, registration, bus, mut said, page, mut questions, .. } = self;
        let _status = page.serve();
        let path = broker.config.data_dir.clone();
        broker.resume().map_err(Error::file("write in", path))?;
        let every = seconds(broker.config.register_seconds);
        let registered = tokio::spawn(registration::keep(bus.clone(), registration, every, shutdown.clone()));
        let app = router(broker.clone(), door).layer(from_fn_with_state(broker.clone(), count));
        let serve = axum::serve(listener, app).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let mut serve = std::pin::pin!(serve.into_future());
        let mut discover = interval(seconds(broker.config.discover_seconds));
        let mut check = interval(seconds(broker.config.orphan_check_seconds));
        for tick in [&mut discover, &mut check] {
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let mut served = false;
        let result = loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                ended = &mut serve => {
                    served = true;
                    break ended.map_err(Error::Serve);
                }
                next = said.next() => match next {
                    Some(Said::Announce(engine, announce)) => broker.heard(engine, announce),
                    Some(Said::Handles(engine, handles)) => {
                        let broker = broker.clone();
                        tokio::spawn(async move { broker.look(engine, handles).await });
                    }
                    None => break Err(Error::BusClosed),
                },
                question = questions.next() => {
                    broker.show();
                    question.answer(None);
                }
                _ = discover.tick() => {
                    broker.forget_silent();
                    for engine in Engine::ALL {
                        warn_unless(bus.publish_to(&engine.discover(), &Discover {}).await);
                    }
                }
                _ = check.tick() => {
                    for engine in Engine::ALL {
                        warn_unless(bus.publish_to(&engine.check_orphan(), &CheckOrphan {}).await);
                    }
                }
            }
        };
        if !served && timeout(DRAIN, &mut serve).await.is_err() {
            tracing::warn!("operations go on; the next gateway takes them up");
        }
        broker.tasks.close();
        let _ = timeout(DRAIN, broker.tasks.wait()).await;
        registered.abort();
        result
    }
}

fn warn_unless(result: Result<(), cupola_bus::Error>) {
    if let Err(error) = result {
        tracing::warn!(error = &error as &dyn std::error::Error, "cannot ask the nodes");
    }
}

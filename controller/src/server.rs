//! Binding and running.

use crate::{
    Config, Error, announce, api,
    auth::{Signer, Tokens, hash_password},
    blobs::Blobs,
    context::{Context, Shared},
    figures::{self, Figures},
    files,
    instances::Standings,
    locks::Locks,
    logs::Logs,
    nodes::{Nodes, Stagers},
    secrets,
    services::{self, Services},
    store,
};
use axum::Router;
use cupola_bus::{Bus, Subscription};
use cupola_protocol::{
    InstanceId,
    controller::{BulkCredentials, BulkCredentialsRequest},
    dea, droplet, health, logs,
    logs::LogLine,
    services::RegisterBroker,
    staging,
};
use cupola_status::{Identity, Page, Questions};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Passwords that are checked at a time: who logs in waits, who serves is not slowed.
const PASSWORDS_AT_ONCE: usize = 2;

/// A controller that listens, and serves once it is run.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    context: Shared,
    router: Router,
    subscriptions: Subscriptions,
    page: Page,
    questions: Questions,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("internal_url", &self.internal_url).finish_non_exhaustive()
    }
}

/// Everything that the controller hears. Made before it answers HTTP, so that nothing is missed.
struct Subscriptions {
    nodes: Subscription<dea::Advertise>,
    gone: Subscription<dea::Shutdown>,
    stagers: Subscription<staging::Advertise>,
    logs: Subscription<LogLine>,
    starts: Subscription<health::StartInstance>,
    stops: Subscription<health::StopInstance>,
    exits: Subscription<droplet::Exited>,
    bulk: Subscription<BulkCredentialsRequest>,
    gateways: Subscription<RegisterBroker>,
}

impl std::fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriptions").finish_non_exhaustive()
    }
}

/// Opens the data, makes what the first start needs, recovers from a death, and listens.
///
/// # Errors
/// When the configuration is wrong, the data cannot be used, the address is taken or the bus refuses.
pub async fn bind(config: Config, bus: Bus) -> Result<Server, Error> {
    config.validate()?;
    let data = config.data_dir.clone();
    let incoming = data.join("incoming");
    // What was being received when the controller died is nothing.
    if incoming.exists() {
        fs::remove_dir_all(&incoming).map_err(|source| Error::File {
            action: "empty the directory",
            path: incoming.clone(),
            source,
        })?;
    }
    for dir in [&data, &incoming] {
        secrets::private_dir(dir)?;
    }
    let (pool, shared) = store::open(&config).await?;
    let alone = shared.is_none();
    let locks = Locks::new(shared, Duration::from_secs(config.lock_wait_seconds));
    let blobs = Blobs::open(&config).await?;
    let token_secret = secrets::shared(&pool, "token.key", &data.join("token.key")).await?;
    let url_secret = secrets::shared(&pool, "url.key", &data.join("url.key")).await?;
    let bulk_password = secrets::shared(&pool, "bulk-password", &data.join("bulk-password")).await?;
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| Error::Listen { address: config.listen, source })?;
    let address = listener.local_addr().map_err(|source| Error::Listen { address: config.listen, source })?;
    let internal_url = match &config.internal_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://{}", reachable(&config, address)),
    };
    let identity = Identity {
        name: "controller",
        kind: "CloudController",
        index: config.index,
        id: InstanceId::generate().to_string(),
        historic: figures::historic,
    };
    let (page, questions) =
        Page::bind(&config.status, identity, &config, &bus).await.map_err(Error::Status)?;
    let context = Arc::new(Context {
        id: store::new_guid(),
        blobs,
        figures: page.figures(Figures::new),
        nodes: Nodes::default(),
        stagers: Stagers::default(),
        logs: Logs::new(config.log_lines),
        standings: Standings::default(),
        tokens: Tokens::new(&token_secret, &config.domain, config.access_token_seconds),
        signer: Signer::new(&url_secret, config.signed_url_seconds),
        files: files::client(&config)?,
        bulk: BulkCredentials {
            user: "bulk".to_owned(),
            password: bulk_password,
            url: Some(internal_url.clone()),
        },
        routes_changed: Notify::new(),
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        begun: Instant::now(),
        locks,
        services: Services::new(&config.services),
        checking: Semaphore::new(PASSWORDS_AT_ONCE),
        incoming,
        internal_url,
        pool,
        bus,
        config,
    });
    seed(&context).await?;
    let subscriptions = subscribe(&context.bus).await.map_err(Error::Bus)?;
    let failed = |error: api::ApiError| prepare("recovering from the last run", error.detail());
    if alone {
        context.take_over_all().await.map_err(failed)?;
    }
    if context.config.blobs.is_none() {
        context.sweep().await.map_err(failed)?;
    }
    let router = api::router(context.clone());
    Ok(Server { listener, address, context, router, subscriptions, page, questions })
}

fn prepare(what: &str, why: impl std::fmt::Display) -> Error {
    Error::Prepare { what: format!("{what}: {why}") }
}

/// The address under which others on this network reach the API.
fn reachable(config: &Config, address: SocketAddr) -> SocketAddr {
    let ip = match config.advertise_host {
        Some(ip) => ip,
        None if address.ip().is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        None => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

/// Makes what the first start needs: domain, organization, space, administrator. One controller at a time, and each
/// looks first; what a death left half done is gone on with.
async fn seed(context: &Context) -> Result<(), Error> {
    let (config, pool) = (&context.config, &context.pool);
    let failed = |error: sqlx::Error| prepare("making the first rows", error);
    let _lock =
        context.locks.first_rows().await.map_err(|error| prepare("making the first rows", error.detail()))?;
    let domains = store::domains(pool).await.map_err(failed)?;
    if !domains.iter().any(|domain| domain.name == config.domain) {
        store::insert_domain(pool, &config.domain).await.map_err(failed)?;
    }
    if store::has_users(pool).await.map_err(failed)? {
        return Ok(());
    }
    let organization = match store::organization_named(pool, &config.organization).await.map_err(failed)? {
        Some(organization) => organization.guid,
        None => store::insert_organization(pool, &config.organization).await.map_err(failed)?,
    };
    if let Err(error) = store::insert_space(pool, &config.space, &organization).await
        && !store::is_duplicate(&error)
    {
        return Err(failed(error));
    }
    if let Some(parent) = config.admin_password_path().parent() {
        secrets::private_dir(parent)?;
    }
    // The file first: an administrator whose password nobody knows could not be made again.
    let password = secrets::write_new(&config.admin_password_path())?;
    let hash = tokio::task::spawn_blocking(move || hash_password(&password))
        .await
        .map_err(|error| prepare("hashing a password", error))?
        .map_err(|error| prepare("hashing a password", error))?;
    store::insert_user(pool, &config.admin_user, &hash, true).await.map_err(failed)?;
    tracing::info!(user = config.admin_user, file = %config.admin_password_path().display(), "made the administrator");
    Ok(())
}

async fn subscribe(bus: &Bus) -> Result<Subscriptions, cupola_bus::Error> {
    let subscriptions = Subscriptions {
        nodes: bus.subscribe().await?,
        gone: bus.subscribe().await?,
        stagers: bus.subscribe().await?,
        logs: bus.subscribe_to(&logs::all()).await?,
        starts: bus.subscribe_group(health::CONTROLLER_QUEUE).await?,
        stops: bus.subscribe_group(health::CONTROLLER_QUEUE).await?,
        exits: bus.subscribe_group(health::CONTROLLER_QUEUE).await?,
        bulk: bus.subscribe_group(health::CONTROLLER_QUEUE).await?,
        gateways: bus.subscribe_group(health::CONTROLLER_QUEUE).await?,
    };
    bus.flush().await?;
    // Whoever is there already speaks now rather than in a few seconds.
    bus.publish(&dea::Locate {}).await?;
    bus.publish(&staging::Locate {}).await?;
    Ok(subscriptions)
}

impl Server {
    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where its status page is.
    pub fn status_addr(&self) -> SocketAddr {
        self.page.addr()
    }

    /// Serves until `shutdown`; then lets open requests end, for a while.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { listener, address, context, router, subscriptions, page, questions } = self;
        let _status = page.serve();
        let stop = context.shutdown.clone();
        // Also when this future is dropped: no task goes on without its server.
        let _stop = stop.clone().drop_guard();
        context.tasks.spawn(announce::register(context.clone(), reachable(&context.config, address)));
        context.tasks.spawn(announce::tell_routes(context.clone()));
        context.tasks.spawn({
            let context = context.clone();
            async move { context.forget_now_and_then().await }
        });
        context.tasks.spawn(figures::answer(context.clone(), questions));
        context.tasks.spawn(context.clone().keep_leases());
        if context.config.blobs.is_some() {
            // Such a store may hold much: nobody waits for the look at all of it.
            let context = context.clone();
            context.tasks.clone().spawn(async move {
                tokio::select! {
                    () = context.shutdown.cancelled() => {}
                    swept = context.sweep() => if let Err(error) = swept {
                        tracing::warn!(error = error.detail(), "cannot look for blobs that nothing names");
                    }
                }
            });
        }
        context.tasks.spawn(services::work(context.clone()));
        context.tasks.spawn(hear(context.clone(), subscriptions));
        tracing::info!(%address, "the controller serves");
        let serve = axum::serve(listener, router).with_graceful_shutdown({
            let stop = stop.clone();
            async move { stop.cancelled().await }
        });
        let grace = Duration::from_secs(context.config.shutdown_seconds);
        let served = tokio::select! {
            served = async { serve.await } => served,
            // Connections that stay open are cut when their time is over.
            () = async {
                shutdown.cancelled().await;
                stop.cancel();
                tokio::time::sleep(grace).await;
            } => Ok(()),
        };
        stop.cancel();
        context.tasks.close();
        if tokio::time::timeout(grace, context.tasks.wait()).await.is_err() {
            tracing::warn!("left work behind at shutdown: it is taken up or undone at the next start");
        }
        if let Err(error) = context.bus.flush().await {
            tracing::warn!(%error, "could not say goodbye on the bus");
        }
        if let Err(error) = store::release(&context.pool, &context.id).await {
            tracing::warn!(%error, "could not give up the leases: they lapse by themselves");
        }
        context.pool.close().await;
        served.map_err(Error::Serve)
    }
}

/// Takes in everything from the bus, until shutdown. What takes time runs in its own task, so that a slow
/// database never lets advertisements grow old unread.
async fn hear(context: Shared, mut from: Subscriptions) {
    loop {
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            Some(ad) = from.nodes.next() => context.nodes.advertise(ad.message),
            Some(news) = from.gone.next() => context.nodes.gone(&news.message.id),
            Some(ad) = from.stagers.next() => context.stagers.advertise(ad.message),
            Some(line) = from.logs.next() => context.logs.push(line.message),
            Some(wish) = from.starts.next() => {
                let context = context.clone();
                context.tasks.clone().spawn(async move { context.start_wished(&wish.message).await });
            }
            Some(wish) = from.stops.next() => {
                let context = context.clone();
                context.tasks.clone().spawn(async move { context.stop_wished(&wish.message).await });
            }
            Some(news) = from.exits.next() => {
                let context = context.clone();
                context.tasks.clone().spawn(async move { context.exited(&news.message).await });
            }
            Some(question) = from.bulk.next() => {
                if let Err(error) = question.reply(&context.bulk).await {
                    tracing::warn!(%error, "could not give the bulk credentials");
                }
            }
            Some(gateway) = from.gateways.next() => {
                context.tasks.clone().spawn(services::take_gateway(context.clone(), gateway));
            }
            else => return,
        }
    }
}

//! `cupola run`: roles in this process. Each is bound first (everything that can fail early fails here), then
//! all run until a signal, or until one of them fails.

use crate::config::{Config, Overrides};
use anyhow::{Context, Result, bail};
use cupola_bus::Bus;
use nix::{
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::geteuid,
};
use std::{fmt::Write as _, fs, future::Future, io::IsTerminal, net::SocketAddr, path::Path, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// How long the roles get to end after a signal: instances get ten seconds each, all at once.
const GRACE: Duration = Duration::from_secs(50);

/// Flags of `cupola run`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    overrides: Overrides,
    /// Every role
    #[arg(long, conflicts_with = "roles")]
    all: bool,
    /// The roles to run
    #[arg(value_enum, required_unless_present = "all")]
    roles: Vec<Role>,
}

/// What can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// The HTTP API and the desired state
    Controller,
    /// The way in for HTTP
    Router,
    /// The node agent: runs instances
    Dea,
    /// Turns source into droplets
    Stager,
    /// Keeps the wanted number of instances alive
    HealthManager,
    /// The service broker of the platform's own PostgreSQL and Redis
    ServiceGateway,
    /// Runs service instances
    ServiceNode,
}

/// In the order of their start: the router serves before there is anything to route to, what keeps instances takes
/// them up before the controller waits for its database, and the health manager judges only what is there.
const ALL: [Role; 7] = [
    Role::Router,
    Role::Stager,
    Role::Dea,
    Role::ServiceNode,
    Role::Controller,
    Role::ServiceGateway,
    Role::HealthManager,
];

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    if geteuid().is_root() {
        bail!(
            "the roles need no privilege and refuse it: run them as the user cupola (`cupola up` does so by itself)"
        );
    }
    if arguments.all {
        // Under `cupola up`: when the supervisor dies, so does this process, and the next `up` finds no stranger.
        set_pdeathsig(Signal::SIGTERM).context("cannot tie this process to its supervisor")?;
    }
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| EnvFilter::new("info,access=off,async_nats=warn")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let config = Config::load(&arguments.overrides)?;
    let marker = arguments.all.then(|| config.platform.ready_marker());
    let roles = if arguments.all { ALL.to_vec() } else { arguments.roles };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(config, &roles, marker.as_deref()));
    // A blocking task that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

type Runs = JoinSet<(&'static str, Result<()>)>;

async fn serve(config: Config, roles: &[Role], marker: Option<&Path>) -> Result<()> {
    reachable(&config, roles)?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot receive SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot receive SIGINT")?;
    let bus = Bus::connect(&config.bus, "cupola").await?;
    let shutdown = CancellationToken::new();
    let mut runs = Runs::new();
    let said = bind(config, roles, &bus, &shutdown, &mut runs).await?;
    tracing::info!("ready\n{}", said.trim_end());
    if let Some(marker) = marker {
        fs::write(marker, said).with_context(|| format!("cannot write {}", marker.display()))?;
    }
    let first = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = runs.join_next() => ended,
    };
    shutdown.cancel();
    let mut failure = first.map(what_ended);
    let drained = timeout(GRACE, async {
        while let Some(ended) = runs.join_next().await {
            if let Ok((name, Err(error))) = ended {
                tracing::error!(role = name, error = format!("{error:#}"), "a role ended badly");
            }
        }
    });
    if drained.await.is_err() {
        failure
            .get_or_insert_with(|| anyhow::anyhow!("the roles have not ended within {} s", GRACE.as_secs()));
    }
    let _ = bus.flush().await;
    if let Some(marker) = marker {
        let _ = fs::remove_file(marker);
    }
    failure.map_or(Ok(()), Err)
}

/// On several hosts, a role that others call has to say an address that they reach: loopback would lead each of them
/// to itself.
fn reachable(config: &Config, roles: &[Role]) -> Result<()> {
    let (platform, bus) = (&config.platform, &config.bus);
    let local =
        |server: &String| ["127.", "localhost", "[::1]"].iter().any(|own| host_of(server).starts_with(own));
    if bus.servers.iter().all(local) || platform.reachable_address().is_some() {
        return Ok(());
    }
    let called = |role: &&Role| matches!(role, Role::Controller | Role::Router | Role::Dea);
    let told = |role: &Role| match role {
        Role::Dea => config.dea.host.is_some(),
        Role::Controller => config.controller.advertise_host.is_some(),
        _ => !config.router.advertised_hosts.is_empty(),
    };
    if roles.iter().filter(called).all(told) {
        return Ok(());
    }
    bail!(
        "the NATS servers ({}) are on other hosts, and those could not reach this one: set `address`, above the sections of the configuration, to the address that they reach it by",
        bus.servers.join(", ")
    )
}

/// The host of `nats://host:port`.
fn host_of(server: &str) -> &str {
    server.split_once("://").map_or(server, |(_, rest)| rest)
}

fn what_ended(ended: Result<(&'static str, Result<()>), tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok((name, Ok(()))) => anyhow::anyhow!("{name} ended though nobody asked it to"),
        Ok((name, Err(error))) => error.context(format!("{name} failed")),
        Err(error) => anyhow::Error::new(error).context("a role broke down"),
    }
}

/// Binds the roles in order and starts them; gives back a line for each.
async fn bind(
    config: Config,
    roles: &[Role],
    bus: &Bus,
    shutdown: &CancellationToken,
    runs: &mut Runs,
) -> Result<String> {
    let mut said = String::new();
    let api = format!("http://api.{}:{}", config.platform.domain, config.platform.router_port);
    for role in ALL.into_iter().filter(|role| roles.contains(role)) {
        match role {
            Role::Router => {
                let server = router::bind(config.router.clone(), bus.clone())
                    .await
                    .context("the router cannot start")?;
                let _ = writeln!(said, "{:<15} listens on http://{}", "router", server.addr());
                tell_status(&mut said, "router", server.status_addr());
                spawn(runs, "router", server.run(shutdown.clone()));
            }
            Role::Controller => {
                let server = controller::bind(config.controller.clone(), bus.clone())
                    .await
                    .context("the controller cannot start")?;
                let _ =
                    writeln!(said, "{:<15} listens on http://{} and as {api}", "controller", server.addr());
                tell_status(&mut said, "controller", server.status_addr());
                spawn(runs, "controller", server.run(shutdown.clone()));
            }
            Role::Stager => {
                let server = stager::bind(config.stager.clone(), bus.clone())
                    .await
                    .context("the stager cannot start")?;
                tell_status(&mut said, "stager", server.status_addr());
                spawn(runs, "stager", server.run(shutdown.clone()));
            }
            Role::Dea => {
                let server = dea::bind(config.dea.clone(), bus.clone())
                    .await
                    .context("the node agent cannot start")?;
                tell_status(&mut said, "dea", server.status_addr());
                spawn(runs, "dea", server.run(shutdown.clone()));
            }
            Role::HealthManager => {
                let server = health_manager::bind(config.health_manager.clone(), bus.clone())
                    .await
                    .context("the health manager cannot start")?;
                tell_status(&mut said, "health-manager", server.status_addr());
                spawn(runs, "health-manager", server.run(shutdown.clone()));
            }
            Role::ServiceGateway => {
                let server = services::gateway::bind(config.service_gateway.clone(), bus.clone())
                    .await
                    .context("the service gateway cannot start")?;
                let _ = writeln!(said, "{:<15} listens on http://{}", "service-gateway", server.addr());
                tell_status(&mut said, "service-gateway", server.status_addr());
                spawn(runs, "service-gateway", server.run(shutdown.clone()));
            }
            Role::ServiceNode => {
                let server = services::node::bind(config.service_node.clone(), bus.clone())
                    .await
                    .context("the service node cannot start")?;
                tell_status(&mut said, "service-node", server.status_addr());
                spawn(runs, "service-node", server.run(shutdown.clone()));
            }
        }
    }
    Ok(said)
}

/// Where a role shows how it is. `cupola status` gives its password.
fn tell_status(said: &mut String, name: &str, address: SocketAddr) {
    let _ = writeln!(said, "{name:<15} status on http://{address}/healthz");
}

fn spawn<E: Into<anyhow::Error>>(
    runs: &mut Runs,
    name: &'static str,
    run: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    runs.spawn(async move { (name, run.await.map_err(Into::into)) });
}

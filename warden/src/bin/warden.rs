//! The warden daemon: makes and ends containers for those who may open its socket.

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use warden::daemon::{Config, Error, bind};

/// The container engine of a node: the only part of Cupola that runs as root. Containers outlive it; started again, it
/// takes them over.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Configuration file (TOML); every key has a default
    #[arg(long)]
    config: Option<PathBuf>,
    /// Unix socket to listen on
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Directory of the platform's data
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// User who may use the socket besides root
    #[arg(long, value_name = "USER")]
    socket_owner: Option<String>,
    /// The static warden-init program
    #[arg(long)]
    init: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("warden: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warden: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), Error> {
    let mut config = match &arguments.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    config.socket = arguments.socket.unwrap_or(config.socket);
    config.data_dir = arguments.data_dir.unwrap_or(config.data_dir);
    config.socket_owner = arguments.socket_owner.or(config.socket_owner);
    config.init = arguments.init.or(config.init);

    let shutdown = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let failed = Error::io("listen for signals", std::path::Path::new("SIGTERM, SIGINT"));
        let (mut signals, shutdown) = (signal(kind).map_err(failed)?, shutdown.clone());
        tokio::spawn(async move {
            signals.recv().await;
            shutdown.cancel();
        });
    }
    let socket = config.socket.clone();
    let server = bind(config).await?;
    tracing::info!(socket = %socket.display(), "warden ready");
    server.run(shutdown).await
}

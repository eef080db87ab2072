//! The warden: the daemon that makes and ends containers for those who may open its socket, and the operator's commands.

use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use warden::cli;
use warden::daemon::{Config, Error, bind};

/// The container engine of a node: the only part of Cupola that runs as root. Containers outlive it; started again, it
/// takes them over. Without a command it serves; the other commands are clients of the one that does.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
struct Arguments {
    /// Unix socket: to listen on (`serve`), or of the daemon to talk to [else WARDEN_SOCKET, else /run/cupola/warden.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

/// How the daemon is started.
#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
struct Serve {
    /// Configuration file (TOML); every key has a default
    #[arg(long)]
    config: Option<PathBuf>,
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

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the socket: what happens without a command too
    Serve(Serve),
    #[command(flatten)]
    Client(Box<cli::Command>),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let socket = arguments.socket;
    match (arguments.command, arguments.serve) {
        (None, serve) => daemon(serve, socket),
        // Written before the command or after it, they mean the same.
        (Some(Command::Serve(after)), before) => daemon(before.or(after), socket),
        (Some(Command::Client(command)), before) if before == Serve::default() => {
            cli::run(*command, &cli::socket(socket.as_deref()))
        }
        (Some(Command::Client(_)), _) => {
            let why = "--config, --data-dir, --socket-owner and --init are for `warden serve`";
            let error = Arguments::command().error(clap::error::ErrorKind::ArgumentConflict, why);
            refuse(&error)
        }
    }
}

/// Prints help, or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.use_stderr() {
        true => ExitCode::from(cli::status::FAILED),
        false => ExitCode::SUCCESS,
    }
}

impl Serve {
    fn or(self, other: Serve) -> Serve {
        Serve {
            config: self.config.or(other.config),
            data_dir: self.data_dir.or(other.data_dir),
            socket_owner: self.socket_owner.or(other.socket_owner),
            init: self.init.or(other.init),
        }
    }
}

fn daemon(arguments: Serve, socket: Option<PathBuf>) -> ExitCode {
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
    match runtime.block_on(serve(arguments, socket)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warden: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Serve, socket: Option<PathBuf>) -> Result<(), Error> {
    let mut config = match &arguments.config {
        Some(path) => Config::load(path)?,
        None => Config::default(),
    };
    config.socket = socket.unwrap_or(config.socket);
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

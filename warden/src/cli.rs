//! The operator's command line: every verb of the socket, for people and scripts. One file each.
//!
//! What goes wrong is said on standard error: what was tried, on what, why, and what to do. The exit status is that of
//! the job where one was run, and else one of [`error::status`].

mod copy;
mod create;
mod destroy;
mod error;
mod info;
mod inspect;
mod job;
mod limit;
mod list;
mod net_in;
mod net_out;
mod output;
mod parse;
mod ping;
mod properties;
mod relay;
mod run;
mod shell;
mod signal;
mod stats;
mod stdio;
mod stop;
mod terminal;
mod view;

#[cfg(test)]
mod tests;

pub(crate) use error::{Doing, job_status};
pub use error::{Error, status};
pub(crate) use job::{Forwarded, direct};
pub(crate) use relay::relayed;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use warden_client::Client;

/// Where the daemon listens, unless it is told otherwise.
pub const SOCKET: &str = "/run/cupola/warden.sock";

/// Names the socket for every operator's command.
pub const SOCKET_VARIABLE: &str = "WARDEN_SOCKET";

/// How long a command waits for a daemon that does not answer: it may be being restarted.
const PATIENCE: Duration = Duration::from_secs(1);

/// The operator's commands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a container and print its handle; it lives until it is destroyed
    Create(create::Arguments),
    /// Run a program in a container, or in one made for it alone
    Run(Box<run::Arguments>),
    /// Open a shell in a container, on this terminal
    Shell(shell::Arguments),
    /// The containers
    #[command(visible_alias = "ls")]
    List(list::Arguments),
    /// How a container is
    Info(info::Arguments),
    /// What a container was made of, as an OCI runtime specification
    Inspect(inspect::Arguments),
    /// What containers use, live
    Stats(stats::Arguments),
    /// End the processes of containers, and keep the containers
    Stop(stop::Arguments),
    /// End containers with all that belongs to them
    Destroy(destroy::Arguments),
    /// Set limits of a container, and show all
    Limit(limit::Arguments),
    /// Lead a port of the host into a container
    NetIn(net_in::Arguments),
    /// Let a container reach a destination
    NetOut(net_out::Arguments),
    /// Copy files of the host into a container
    CopyIn(copy::In),
    /// Copy files of a container to the host
    CopyOut(copy::Out),
    /// Send a signal to a job
    Signal(signal::Arguments),
    /// Show, set or remove the properties of a container
    Properties(properties::Arguments),
    /// Ask whether the daemon answers
    Ping(ping::Arguments),
}

/// The socket that a command talks to: the one that is named, or `WARDEN_SOCKET`, or the default.
pub fn socket(named: Option<&Path>) -> PathBuf {
    let variable = || std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    named.map(Path::to_owned).or_else(variable).unwrap_or_else(|| PathBuf::from(SOCKET))
}

/// Carries a command out and gives the program's exit status.
pub fn run(command: Command, socket: &Path) -> ExitCode {
    let client = Client::new(socket).with_patience(PATIENCE);
    finish("warden", blocking(carry_out(command, client)).and_then(|result| result))
}

/// Runs a command's work to its end.
pub(crate) fn blocking<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    // Two threads: a terminal that takes no output must not hold up what is typed.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|source| Error::system("start", source))?;
    let done = runtime.block_on(work);
    // A thread may wait for input that never comes.
    runtime.shutdown_background();
    Ok(done)
}

/// Prints the error, if it is one, and gives the exit status.
pub(crate) fn finish(program: &str, result: Result<u8, Error>) -> ExitCode {
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{program}: {}", error.chain());
            ExitCode::from(error.status())
        }
    }
}

async fn carry_out(command: Command, client: Client) -> Result<u8, Error> {
    match command {
        Command::Create(arguments) => create::run(arguments, &client).await,
        Command::Run(arguments) => return run::run(*arguments, &client).await,
        Command::Shell(arguments) => return shell::run(arguments, &client).await,
        Command::List(arguments) => list::run(arguments, &client).await,
        Command::Info(arguments) => info::run(arguments, &client).await,
        Command::Inspect(arguments) => inspect::run(arguments, &client).await,
        Command::Stats(arguments) => stats::run(arguments, &client).await,
        Command::Stop(arguments) => stop::run(arguments, &client).await,
        Command::Destroy(arguments) => destroy::run(arguments, &client).await,
        Command::Limit(arguments) => limit::run(arguments, &client).await,
        Command::NetIn(arguments) => net_in::run(arguments, &client).await,
        Command::NetOut(arguments) => net_out::run(arguments, &client).await,
        Command::CopyIn(arguments) => copy::copy_in(arguments, &client).await,
        Command::CopyOut(arguments) => copy::copy_out(arguments, &client).await,
        Command::Signal(arguments) => signal::run(arguments, &client).await,
        Command::Properties(arguments) => properties::run(arguments, &client).await,
        Command::Ping(arguments) => ping::run(arguments, &client).await,
    }
    .map(|()| status::SUCCESS)
}

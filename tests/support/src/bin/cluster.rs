//! `cluster`: a platform on several hosts, which are network namespaces of this machine.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::ExitCode,
};
use testkit::cluster::{Cluster, boot, losses};

/// A platform on several hosts, which are network namespaces of this machine (needs root).
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the hosts, boot them, and leave them running
    Up {
        /// Where the hosts' disks are kept
        directory: PathBuf,
        /// Where the stacks are
        #[arg(long, env = "CUPOLA_CACHE")]
        cache: PathBuf,
    },
    /// End the hosts and remove all of it
    Down {
        /// Where the hosts' disks are kept
        directory: PathBuf,
    },
    /// The hosts, and what runs on each
    Status {
        /// Where the hosts' disks are kept
        directory: PathBuf,
    },
    /// A shell on a host, or a command
    Enter {
        /// Where the hosts' disks are kept
        directory: PathBuf,
        /// The host
        host: String,
        /// The command
        #[arg(trailing_var_arg = true)]
        command: Vec<String>,
    },
    /// Cut a host's power
    Crash {
        /// Where the hosts' disks are kept
        directory: PathBuf,
        /// The host
        host: String,
    },
    /// Switch a host on again
    SwitchOn {
        /// Where the hosts' disks are kept
        directory: PathBuf,
        /// The host
        host: String,
    },
    /// Bring a cluster up, lose one thing after the other with requests running, and tell what that did
    Test {
        /// Where the stacks are
        #[arg(long, env = "CUPOLA_CACHE")]
        cache: PathBuf,
        /// Only these losses
        #[arg(long, num_args = 1..)]
        only: Vec<String>,
        /// Leave the cluster running when a loss is not survived
        #[arg(long)]
        keep: bool,
    },
    /// Process 1 of a host
    #[command(hide = true)]
    Boot {
        /// The host's name
        name: String,
        /// Its disk
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    if let Command::Boot { name, directory } = &command {
        return boot::run(name, directory);
    }
    testkit::require_root();
    match command {
        Command::Up { directory, cache } => {
            let cluster = start(&directory, &cache);
            if cluster.is_err() {
                Cluster::at(&directory).down()?;
            }
            cluster.map(drop)
        }
        Command::Down { directory } => Cluster::at(&directory).down(),
        Command::Status { directory } => {
            print!("{}", Cluster::at(&directory).status());
            Ok(())
        }
        Command::Enter { directory, host, command } => {
            let cluster = Cluster::at(&directory);
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let words = if words.is_empty() { vec!["bash"] } else { words };
            Err(cluster.host(&host)?.command(&words)?.exec()).context("cannot run nsenter")
        }
        Command::Crash { directory, host } => Cluster::at(&directory).host(&host)?.crash(),
        Command::SwitchOn { directory, host } => Cluster::at(&directory).host(&host)?.boot(),
        Command::Test { cache, only, keep } => {
            let directory = tempfile::Builder::new().prefix("cupola-cluster-").tempdir()?.keep();
            losses::test(&directory, &only, keep, || start(&directory, &cache))
        }
        Command::Boot { .. } => Ok(()),
    }
}

fn start(directory: &Path, cache: &Path) -> Result<Cluster> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let programs = own.parent().context("a program is in a directory")?;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/cluster");
    Cluster::up(directory, programs, &cache.join("stacks"), &examples)
}

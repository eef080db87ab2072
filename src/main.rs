//! `cupola`: the one binary for people. `up` runs the whole platform on this machine; each role also runs
//! alone; the rest are the developer's commands.

mod buildpacks;
mod config;
mod defaults;
mod down;
mod leftovers;
mod preflight;
mod prepare;
mod process;
mod roles;
mod secrets;
mod stack;
mod status;
mod supervisor;
mod up;

use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};

/// An open Platform-as-a-Service: push source, get a running app.
#[derive(Parser)]
#[command(name = "cupola", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole platform on this machine (as root)
    Up(up::Arguments),
    /// End the platform that `cupola up` started with this data directory
    Down(down::Arguments),
    /// Build, list, show and delete stacks: the base images that apps are staged and run on
    #[command(subcommand)]
    Stack(stack::Command),
    /// Make the directories, buildpacks and warden's configuration that the roles of this host need (as root)
    Prepare(prepare::Arguments),
    /// Run some roles, or one, in this process: for several machines, under a service manager
    Run(roles::Arguments),
    /// Ask every component of the platform where it is, how long it runs, and whether it is well
    Status(status::Arguments),
    /// Read a configuration file, say what is wrong with it, and print it with every default
    Config {
        /// The file; /etc/cupola/cupola.toml when it exists, else defaults alone
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Where data is kept
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    #[command(flatten)]
    Developer(cli::Command),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Up(arguments) => up::run(arguments),
        Command::Down(arguments) => down::run(arguments),
        Command::Stack(command) => stack::run(command),
        Command::Prepare(arguments) => prepare::run(arguments),
        Command::Run(arguments) => roles::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Config { config, data_dir } => config::print(config.as_deref(), data_dir.as_deref()),
        Command::Developer(command) => return cli::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cupola: {error:#}");
            ExitCode::FAILURE
        }
    }
}

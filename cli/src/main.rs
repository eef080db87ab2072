//! The developer's commands alone: for machines that run no platform, and for this crate's tests.

use clap::Parser;
use std::process::ExitCode;

/// Push source, get a running app.
#[derive(Parser)]
#[command(name = "cupola-cli", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: cli::Command,
}

fn main() -> ExitCode {
    cli::run(Arguments::parse().command)
}

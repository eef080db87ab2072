//! `vm-run`: the privileged tests of the workspace, in a virtual machine with pure cgroup v2.

use clap::Parser;
use std::{process::ExitCode, time::Duration};
use testkit::vm::{self, Options};

/// Runs the privileged tests of the workspace in a virtual machine with pure cgroup v2 (needs root).
#[derive(Parser)]
struct Arguments {
    /// Test binaries to run, by name; without this all that can run there.
    #[arg(long, num_args = 1..)]
    filter: Vec<String>,
    /// Runs a command line in the guest instead of the tests, for debugging.
    #[arg(long)]
    shell: Option<String>,
    /// Shows the output of every test, not only of those that fail.
    #[arg(long, short)]
    verbose: bool,
    /// Makes the base image again, with the archive's packages of today.
    #[arg(long)]
    rebuild: bool,
    /// Seconds that one test may take.
    #[arg(long, default_value_t = 300)]
    test_timeout: u64,
    /// Seconds that the machine may take, boot included.
    #[arg(long, default_value_t = 1200)]
    time_limit: u64,
    /// Memory of the guest in MiB.
    #[arg(long, default_value_t = 3072)]
    memory: u32,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        filter: arguments.filter,
        shell: arguments.shell,
        verbose: arguments.verbose,
        rebuild: arguments.rebuild,
        test_timeout: Duration::from_secs(arguments.test_timeout),
        time_limit: Duration::from_secs(arguments.time_limit),
        memory_mib: arguments.memory,
    };
    match vm::run(&options) {
        Ok(verdict) => {
            println!("vm: {verdict}");
            if verdict.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("vm-run: {error:#}");
            ExitCode::from(2)
        }
    }
}

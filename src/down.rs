//! `cupola down`: ends the platform that `up` started.

use crate::{
    config::{Config, Overrides},
    leftovers,
    process::Record,
};
use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// How long the supervisor gets: it ends every app, then warden, then NATS.
const LIMIT: Duration = Duration::from_secs(120);

/// Flags of `cupola down`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    overrides: Overrides,
    /// End nothing: succeed when the platform runs, fail when it does not
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let platform = Config::load(&arguments.overrides)?.platform;
    let path = platform.process_record();
    let record = Record::read(&path)?;
    if arguments.check {
        let runs = record.is_some_and(|record| record.supervisor.is_alive());
        return if runs {
            Ok(())
        } else {
            bail!("nothing runs with the data directory {}", platform.data_dir.display())
        };
    }
    let Some(record) = record else {
        println!("nothing runs with the data directory {}", platform.data_dir.display());
        return Ok(());
    };
    let begun = Instant::now();
    if record.supervisor.is_alive() {
        record.supervisor.signal(Signal::SIGTERM);
        if !record.supervisor.wait_gone(LIMIT) {
            bail!(
                "the platform (pid {}) has not ended within {} s; its log is {}",
                record.supervisor.pid,
                LIMIT.as_secs(),
                platform.log_file().display()
            );
        }
    } else {
        leftovers::end(&path)?;
    }
    println!(
        "the platform has ended ({:.1} s); its data stays in {}",
        begun.elapsed().as_secs_f64(),
        platform.data_dir.display()
    );
    Ok(())
}

//! `cupola prepare`: what the roles and warden of this host find when they start. On several hosts, where a service
//! manager runs them, it does what `cupola up` does before it starts them.

use crate::{
    config::{Config, Overrides},
    preflight, up,
};
use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use std::fs::{self, File};

/// Flags of `cupola prepare`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    overrides: Overrides,
}

/// Runs the command. It can be run again, also while roles run.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    if !geteuid().is_root() {
        bail!("`cupola prepare` makes directories for the roles' user: run it as root (sudo cupola prepare)");
    }
    let config = Config::load(&arguments.overrides)?;
    if config.owns_bus() {
        bail!(
            "the configuration names no NATS server: on several hosts they stand in [bus], as `servers` (on one machine alone, `cupola up` does it all)"
        );
    }
    let user = preflight::user(&config.platform.user)?;
    let directory = &config.platform.data_dir;
    let failed = || format!("cannot lock {}", directory.display());
    fs::create_dir_all(directory).with_context(failed)?;
    // Several roles of a host start at once, and each of them prepares it.
    let lock = File::open(directory).with_context(failed)?;
    lock.lock().with_context(failed)?;
    up::prepare(&config, &user)
}

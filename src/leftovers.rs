//! What an earlier `cupola up` left when it was killed: its children, by pid and start time.

use crate::process::{Process, Record};
use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use std::{fs, path::Path, time::Duration};

/// How long a leftover child gets to end by itself.
const TERM_LIMIT: Duration = Duration::from_secs(20);

/// Ends the children of a dead supervisor; an error when it is not dead at all.
pub(crate) fn end(record: &Path) -> Result<()> {
    let Some(old) = Record::read(record)? else { return Ok(()) };
    if old.supervisor.is_alive() && old.supervisor.pid != std::process::id() as i32 {
        bail!(
            "the platform with this data directory already runs (pid {}); end it with `cupola down`, or give another --data-dir",
            old.supervisor.pid
        );
    }
    for child in old.children.iter().filter(|child| child.is_alive()) {
        eprintln!("ending {} (pid {}), left by a run that was killed", child.name, child.pid);
        stop(child, TERM_LIMIT);
    }
    let _ = fs::remove_file(record);
    Ok(())
}

/// TERM, wait, KILL.
pub(crate) fn stop(process: &Process, limit: Duration) {
    process.signal(Signal::SIGTERM);
    if !process.wait_gone(limit) {
        process.signal(Signal::SIGKILL);
        process.wait_gone(Duration::from_secs(5));
    }
}

//! Processes by pid *and* start time, so that a number which the kernel has given to somebody else in the
//! meantime is never signalled.

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// A process that was alive when this was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// What it is, for people.
    pub name: String,
    /// Its pid.
    pub pid: i32,
    /// When the kernel started it, in clock ticks since boot: field 22 of /proc/PID/stat, see proc(5).
    pub start_time: u64,
}

impl Process {
    /// Looks a live process up.
    pub(crate) fn find(name: &str, pid: i32) -> Option<Self> {
        Some(Self { name: name.to_owned(), pid, start_time: start_time(pid)? })
    }

    /// Whether it still lives. A zombie does not.
    pub(crate) fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// Sends a signal, if it is still the same process.
    pub(crate) fn signal(&self, signal: Signal) {
        if self.is_alive() {
            // It may end between the look and the signal; then there is nothing left to do.
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Waits until it is gone; false when it still lives after `limit`.
    pub(crate) fn wait_gone(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }
}

/// Start time of a process that is neither gone nor a zombie.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name may hold blanks and parentheses: what follows the last one is regular.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        // State was field 3; start time is field 22.
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// What one run of `cupola up` has started, on disk so that `cupola down` and the next `up` know it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The supervisor.
    pub supervisor: Process,
    /// Its children.
    pub children: Vec<Process>,
}

impl Record {
    /// Reads the record; none when there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map(Some).with_context(|| {
                format!("{} is damaged; end the processes by hand and delete it", path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the record, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let new = path.with_extension("new");
        let text = toml::to_string(self).context("cannot write the process record as TOML")?;
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_and_no_other() {
        let own = Process::find("own", std::process::id() as i32).expect("this process lives");
        assert!(own.is_alive());
        let other = Process { start_time: own.start_time + 1, ..own };
        assert!(!other.is_alive(), "another start time is another process");
    }

    #[test]
    fn an_ended_child_is_gone_even_before_it_is_reaped() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::find("sleep", child.id() as i32).expect("the child lives");
        process.signal(Signal::SIGKILL);
        assert!(process.wait_gone(Duration::from_secs(5)));
        child.wait().unwrap();
    }
}

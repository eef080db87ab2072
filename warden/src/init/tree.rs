//! Which processes belong to a job: those of its session, and the descendants of its first process.

use crate::sys::process;
use std::collections::{BTreeMap, BTreeSet};

/// Rounds of killing, each finding what was forked during the one before.
const ROUNDS: usize = 20;

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: i32,
    session: i32,
}

/// Sends a signal to all processes of the job whose first process is `leader`.
pub(super) fn signal(leader: i32, signal: i32) {
    for pid in members(leader, &processes()) {
        let _ = process::signal(pid, signal);
    }
}

/// Kills the job, until nothing of it is found.
pub(super) fn destroy(leader: i32) {
    for _ in 0..ROUNDS {
        let found = members(leader, &processes());
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = process::signal(pid, libc::SIGKILL);
        }
    }
}

fn members(leader: i32, processes: &BTreeMap<i32, Process>) -> BTreeSet<i32> {
    let mut found: BTreeSet<i32> = processes
        .iter()
        .filter(|(pid, process)| **pid == leader || process.session == leader)
        .map(|(pid, _)| *pid)
        .collect();
    loop {
        let more: Vec<i32> = processes
            .iter()
            .filter(|(pid, process)| !found.contains(pid) && found.contains(&process.parent))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

/// The processes that run; those that have ended and wait for their parent are left out.
fn processes() -> BTreeMap<i32, Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return BTreeMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parse(&String::from_utf8_lossy(&bytes))?))
    })
    .collect()
}

/// Reads proc_pid_stat(5): `pid (name) state ppid pgrp session …`. The name may hold anything, parentheses too.
fn parse(stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Process { parent, session })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_are_read_whatever_the_name() {
        assert_eq!(parse("7 (a) b) S 3 7 5 0 -1 4194304"), Some(Process { parent: 3, session: 5 }));
        assert_eq!(parse("7 (a) Z 3 7 5 0"), None);
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn a_job_is_its_session_and_its_descendants() {
        let process = |parent, session| Process { parent, session };
        let all = BTreeMap::from([
            (1, process(0, 1)),
            (10, process(1, 10)),
            (11, process(10, 10)),
            (12, process(11, 12)), // a session of its own, but a descendant
            (13, process(1, 10)),  // its parent has ended, but in the session
            (20, process(1, 20)),
        ]);
        assert_eq!(members(10, &all), BTreeSet::from([10, 11, 12, 13]));
    }
}

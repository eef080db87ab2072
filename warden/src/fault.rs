//! Fault points: places at which a test ends the process, to prove that nothing is lost or left behind whatever dies
//! between two steps. Only in builds for development and tests (or with the feature `faults`); elsewhere a point is an
//! empty function.
//!
//! `WARDEN_FAULT` in the daemon's environment names what shall happen; the spawner inherits it:
//!
//! | value | meaning |
//! |---|---|
//! | `create.link` | the process that comes to this point kills itself there |
//! | `create.link:3` | the third time that it comes there |
//! | `/path` | the file has one of the above, and is looked at at every point: so a running daemon can be told; no file, no fault |
//! | `/path` whose file has `trace /other` | nothing dies; the name of each point that is passed is appended to `/other` |
//!
//! Every point is in [`POINTS`]; `tests/faults.rs` holds the two together.

/// Which process comes to a point, and so which one dies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The daemon.
    Daemon,
    /// The spawner. The daemon starts another.
    Spawner,
    /// The first process of a container, before it is the init.
    First,
}

/// Every fault point, by the process that comes to it and in the order of a container's life.
#[rustfmt::skip]
pub const POINTS: &[(&str, Who)] = &[
    ("recover.begun", Who::Daemon),
    ("recover.read", Who::Daemon),
    ("recover.claimed", Who::Daemon),
    ("recover.adopted", Who::Daemon),
    ("recover.rules", Who::Daemon),
    ("recover.destroyed", Who::Daemon),
    ("recover.done", Who::Daemon),
    ("create.done", Who::Daemon),
    ("create.reserved", Who::Daemon),
    ("create.recorded", Who::Daemon),
    ("create.directory", Who::Daemon),
    ("create.cgroup", Who::Daemon),
    ("create.disk", Who::Daemon),
    ("create.link", Who::Daemon),
    ("create.rules", Who::Daemon),
    ("create.spawned", Who::Daemon),
    ("create.limited", Who::Daemon),
    ("create.connected", Who::Daemon),
    ("spawner.built", Who::Spawner),
    ("spawner.begun", Who::Spawner),
    ("spawner.depot", Who::Spawner),
    ("spawner.cloned", Who::Spawner),
    ("spawner.namespace", Who::Spawner),
    ("first.begun", Who::First),
    ("first.entered", Who::First),
    ("first.root", Who::First),
    ("first.furnished", Who::First),
    ("first.moved", Who::First),
    ("first.mapped", Who::First),
    ("first.powerless", Who::First),
    ("spawn.numbered", Who::Daemon),
    ("spawn.known", Who::Daemon),
    ("spawn.done", Who::Daemon),
    ("net_in.recorded", Who::Daemon),
    ("net_in.done", Who::Daemon),
    ("net_out.recorded", Who::Daemon),
    ("net_out.done", Who::Daemon),
    ("copy_in.begun", Who::Daemon),
    ("copy_in.written", Who::Daemon),
    ("copy_out.begun", Who::Daemon),
    ("copy_out.read", Who::Daemon),
    ("limit.begun", Who::Daemon),
    ("limit.set", Who::Daemon),
    ("stop.recorded", Who::Daemon),
    ("stop.done", Who::Daemon),
    ("stop.asked", Who::Daemon),
    ("stop.killed", Who::Daemon),
    ("destroy.begun", Who::Daemon),
    ("destroy.ended", Who::Daemon),
    ("destroy.rules", Who::Daemon),
    ("destroy.link", Who::Daemon),
    ("destroy.cgroup", Who::Daemon),
    ("destroy.disk", Who::Daemon),
    ("destroy.directory", Who::Daemon),
    ("destroy.done", Who::Daemon),
    ("destroy.init", Who::Daemon),
    ("journal.write", Who::Daemon),
    ("journal.written", Who::Daemon),
    ("journal.renamed", Who::Daemon),
];

/// A place where a test may end this process. `name` must be in [`POINTS`].
#[cfg(not(any(debug_assertions, feature = "faults")))]
#[inline(always)]
pub fn point(_name: &str) {}

#[cfg(any(debug_assertions, feature = "faults"))]
pub use armed::point;

/// The variable that names the fault.
#[cfg(any(debug_assertions, feature = "faults"))]
const VARIABLE: &str = "WARDEN_FAULT";

/// What the spawner inherits of the daemon's environment: the fault.
#[cfg(any(debug_assertions, feature = "faults"))]
pub(crate) fn environment() -> Option<(&'static str, String)> {
    std::env::var(VARIABLE).ok().map(|value| (VARIABLE, value))
}

/// What the spawner inherits of the daemon's environment: nothing.
#[cfg(not(any(debug_assertions, feature = "faults")))]
pub(crate) fn environment() -> Option<(&'static str, String)> {
    None
}

#[cfg(any(debug_assertions, feature = "faults"))]
mod armed {
    use super::VARIABLE;
    use crate::sys::process;
    use std::fs::File;
    use std::io::Write;
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// What the variable or its file says.
    #[derive(Debug, Default)]
    struct Plan {
        /// The words that it was read from.
        text: String,
        /// The point, and how many times it is still passed before the process dies at it.
        fatal: Option<(String, u32)>,
        /// Where names go.
        trace: Option<File>,
    }

    impl Plan {
        fn read(text: &str) -> Plan {
            let mut plan = Plan { text: text.to_owned(), ..Plan::default() };
            match text.split_once(' ') {
                Some(("trace", path)) => plan.trace = File::options().append(true).open(path).ok(),
                _ if text.is_empty() => (),
                _ => {
                    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
                    plan.fatal = Some((name.to_owned(), nth.parse().unwrap_or(1)));
                }
            }
            plan
        }
    }

    /// A place where a test may end this process. `name` must be in [`super::POINTS`].
    pub fn point(name: &str) {
        static VALUE: OnceLock<Option<String>> = OnceLock::new();
        static PLAN: Mutex<Option<Plan>> = Mutex::new(None);
        let Some(value) = VALUE.get_or_init(|| std::env::var(VARIABLE).ok()) else { return };
        let mut plan = PLAN.lock().unwrap_or_else(PoisonError::into_inner);
        // A container's first process no longer sees the file; it goes on with what the spawner knew.
        let first = std::process::id() == 1;
        if plan.is_none() || (value.starts_with('/') && !first) {
            let text = match value.starts_with('/') {
                true => std::fs::read_to_string(value).unwrap_or_default(),
                false => value.clone(),
            };
            if plan.as_ref().is_none_or(|plan| plan.text != text.trim()) {
                *plan = Some(Plan::read(text.trim()));
            }
        }
        let Some(plan) = plan.as_mut() else { return };
        if let Some(trace) = &mut plan.trace {
            let _ = trace.write_all(format!("{name}\n").as_bytes());
        }
        if let Some((fatal, left)) = &mut plan.fatal
            && fatal == name
        {
            *left = left.saturating_sub(1);
            if *left == 0 {
                die(first);
            }
        }
    }

    /// Ends the process as SIGKILL does: no destructor runs, and no buffer is written.
    fn die(first: bool) -> ! {
        if !first {
            let _ = process::signal(std::process::id() as i32, libc::SIGKILL);
        }
        // The first process of a pid namespace cannot kill itself.
        process::exit_now(137)
    }
}

//! What the kernel and the disk hold, before and after: the proof that nothing leaked.
//!
//! - [`Inventory`]: a list of things, and how often each is there
//! - [`Scope`]: what it looks at beyond what is always looked at
//! - `kernel`: mounts, cgroups, links, rules, loop devices
//! - `processes`: namespaces, processes, descriptors

mod kernel;
mod processes;

use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// Time that the kernel gets to finish what it does in the background: a network namespace, its links and a
/// dying cgroup go away some time after the last process.
const SETTLE: Duration = Duration::from_secs(10);

/// How often it is looked again until then.
const PAUSE: Duration = Duration::from_millis(20);

/// What an inventory looks at beyond what is always looked at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Cgroups of every hierarchy are listed if a directory on their path begins with one of these.
    pub cgroup_prefixes: Vec<String>,
    /// Every file below these is listed (name and kind, not content). One that does not exist is empty.
    pub directories: Vec<PathBuf>,
    /// Processes are listed, by their words, if one of these is part of their program's path.
    pub programs: Vec<String>,
    /// What this process has open is listed.
    pub descriptors_of: Option<u32>,
    /// Names are listed as this makes them, where not every difference between two names is one: names that are
    /// chosen anew each time, say.
    pub rename: Option<fn(&str) -> String>,
}

/// A list of everything of the machine that a test may leave behind: mounts of this mount namespace, network
/// links, namespaces, nftables rules, loop devices in use, and what the [`Scope`] adds.
#[derive(Clone)]
pub struct Inventory {
    scope: Scope,
    /// Each thing as a line of text, and how often it is there: two equal mounts are two things.
    things: BTreeMap<String, usize>,
}

impl Inventory {
    /// Takes stock. Panics if something cannot be read: an inventory with holes proves nothing.
    pub fn take(scope: Scope) -> Self {
        let mut inventory = Self { scope, things: BTreeMap::new() };
        inventory.read().unwrap_or_else(|error| panic!("the inventory failed: {error:#}"));
        inventory
    }

    /// Takes stock again, until there is no difference any more or the kernel had time enough to clean up; then
    /// panics with what is there and was not, and what was there and is not.
    #[track_caller]
    pub fn assert_no_difference(&self) {
        if let Err(difference) = self.settle(self.scope.clone()) {
            panic!("the machine is not as it was before (+ is new, - is gone):\n{difference}");
        }
    }

    /// The same with another scope, where what is looked at has another name or number by now; gives the difference
    /// as text.
    pub fn settle(&self, scope: Scope) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let difference = self.difference(&Self::take(scope.clone()));
            if difference.is_empty() {
                return Ok(());
            }
            if began.elapsed() > SETTLE {
                return Err(difference.join("\n"));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Lines `+ thing` for what only `later` has, `- thing` for what it lacks.
    pub fn difference(&self, later: &Self) -> Vec<String> {
        let only = |sign: char, a: &Self, b: &Self| -> Vec<String> {
            a.things
                .iter()
                .filter(|(thing, count)| *count > b.things.get(*thing).unwrap_or(&0))
                .map(|(thing, _)| format!("{sign} {thing}"))
                .collect()
        };
        [only('+', later, self), only('-', self, later)].concat()
    }

    /// How many things are listed.
    pub fn count(&self) -> usize {
        self.things.values().sum()
    }

    fn add(&mut self, kind: &str, thing: impl fmt::Display) {
        let thing = thing.to_string();
        let thing = self.scope.rename.map_or(thing.clone(), |rename| rename(&thing));
        *self.things.entry(format!("{kind} {thing}")).or_default() += 1;
    }

    fn read(&mut self) -> Result<()> {
        self.read_mounts()?;
        for link in names(Path::new("/sys/class/net"))? {
            self.add("link", link);
        }
        self.read_rules()?;
        self.read_loop_devices()?;
        self.read_processes()?;
        for directory in self.scope.directories.clone() {
            if directory.exists() {
                self.read_files(&directory)?;
            }
        }
        Ok(())
    }

    fn read_files(&mut self, directory: &Path) -> Result<()> {
        for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
            let entry = entry.with_context(|| format!("list {}", directory.display()))?;
            let kind = entry.file_type().with_context(|| format!("look at {}", entry.path().display()))?;
            self.add(if kind.is_dir() { "directory" } else { "file" }, entry.path().display());
            if kind.is_dir() {
                self.read_files(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Names in a directory.
fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_counts_equal_things() {
        let of = |things: &[(&str, usize)]| Inventory {
            scope: Scope::default(),
            things: things.iter().map(|(thing, count)| ((*thing).to_owned(), *count)).collect(),
        };
        let before = of(&[("link lo", 1), ("mount /a", 1), ("mount /b", 1)]);
        let after = of(&[("link lo", 1), ("mount /a", 2), ("link w-1", 1)]);
        assert_eq!(before.difference(&after), ["+ link w-1", "+ mount /a", "- mount /b"]);
    }
}

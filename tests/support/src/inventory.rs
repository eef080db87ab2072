//! What the kernel and the disk hold, before and after: the proof that nothing leaked.

use anyhow::{Context, Result, anyhow};
use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// Time that the kernel gets to finish what it does in the background: a network namespace, its links and a
/// dying cgroup go away some time after the last process.
const SETTLE: Duration = Duration::from_secs(10);

/// What an inventory looks at beyond what is always looked at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Cgroups of every hierarchy are listed if a directory on their path begins with one of these.
    pub cgroup_prefixes: Vec<String>,
    /// Every file below these is listed (name and kind, not content). One that does not exist is empty.
    pub directories: Vec<PathBuf>,
}

/// A list of everything of the machine that a test may leave behind: mounts of this mount namespace, network
/// links, network namespaces, nftables rules, loop devices in use, and what the [`Scope`] adds.
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
        crate::eventually_blocking(SETTLE, || {
            let difference = self.difference(&Self::take(self.scope.clone()));
            if difference.is_empty() {
                Ok(())
            } else {
                Err(format!(
                    "the machine is not as it was before (+ is new, - is gone):\n{}",
                    difference.join("\n")
                ))
            }
        });
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

    fn add(&mut self, kind: &str, thing: impl fmt::Display) {
        *self.things.entry(format!("{kind} {thing}")).or_default() += 1;
    }

    fn read(&mut self) -> Result<()> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
        for mount in mounts.lines().filter_map(Mount::parse) {
            self.add("mount", &mount);
            if mount.kind.starts_with("cgroup") {
                self.read_cgroups(Path::new(mount.point))?;
            }
        }
        for link in names(Path::new("/sys/class/net"))? {
            self.add("link", link);
        }
        self.read_network_namespaces()?;
        self.read_rules()?;
        for device in names(Path::new("/sys/block"))? {
            // The file is there only while something is attached.
            if let Ok(file) = fs::read_to_string(format!("/sys/block/{device}/loop/backing_file")) {
                self.add("loop device", format!("{device} of {}", file.trim_end()));
            }
        }
        for directory in self.scope.directories.clone() {
            if directory.exists() {
                self.read_files(&directory)?;
            }
        }
        Ok(())
    }

    fn read_cgroups(&mut self, directory: &Path) -> Result<()> {
        for name in directories(directory) {
            let path = directory.join(name);
            let ours = path.components().any(|component| {
                let component = component.as_os_str().as_bytes();
                self.scope.cgroup_prefixes.iter().any(|prefix| component.starts_with(prefix.as_bytes()))
            });
            if ours {
                self.add("cgroup", path.display());
            }
            self.read_cgroups(&path)?;
        }
        Ok(())
    }

    /// Namespaces that have a name, and those that a process lives in.
    fn read_network_namespaces(&mut self) -> Result<()> {
        for directory in ["/run/netns", "/var/run/netns"].map(Path::new) {
            for name in if directory.exists() { names(directory)? } else { Vec::new() } {
                self.add("named network namespace", format!("{}/{name}", directory.display()));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for process in
            names(Path::new("/proc"))?.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        {
            // A process may end while we look at it.
            if let Ok(namespace) = fs::read_link(format!("/proc/{process}/ns/net"))
                && seen.insert(namespace.clone())
            {
                self.add("network namespace", namespace.display());
            }
        }
        Ok(())
    }

    /// Every line of the rule set, with the table and chain or set that it is in; `-s` leaves counters out.
    fn read_rules(&mut self) -> Result<()> {
        let output = Command::new("nft").args(["-s", "list", "ruleset"]).output();
        let output = output.context("start nft (apt-get install nftables)")?;
        if !output.status.success() {
            return Err(anyhow!("nft: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
        }
        let mut path: Vec<String> = Vec::new();
        for line in String::from_utf8_lossy(&output.stdout).lines().map(str::trim) {
            if let Some(opened) = line.strip_suffix(" {") {
                path.push(opened.to_owned());
                self.add("nftables", path.join(" / "));
            } else if line == "}" {
                path.pop();
            } else if !line.is_empty() {
                self.add("nftables", format!("{} / {line}", path.join(" / ")));
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

/// A line of /proc/self/mountinfo without its numbers, which differ from one inventory to the next (proc(5)).
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    options: &'a str,
    kind: &'a str,
    source: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Self {
            root: before.next()?,
            point: before.next()?,
            options: before.next()?,
            kind: after.next()?,
            source: after.next()?,
        })
    }
}

impl fmt::Display for Mount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { root, point, options, kind, source } = self;
        write!(f, "{point}: {kind} of {source} {root} ({options})")
    }
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect())
}

/// Directories in a directory; none if it is gone, as a cgroup may be by now.
fn directories(directory: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_without_its_numbers() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        assert_eq!(Mount::parse(line).unwrap().to_string(), "/mnt2: ext3 of /dev/root /mnt1 (rw,noatime)");
    }

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

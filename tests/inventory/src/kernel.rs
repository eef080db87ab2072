//! What the kernel holds for anybody: mounts, cgroups, rules, loop devices.

use crate::{Inventory, names};
use anyhow::{Context, Result, anyhow};
use std::{ffi::OsString, fmt, fs, os::unix::ffi::OsStrExt, path::Path, process::Command};

impl Inventory {
    pub(crate) fn read_mounts(&mut self) -> Result<()> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
        for mount in mounts.lines().filter_map(Mount::parse) {
            self.add("mount", &mount);
            if mount.kind.starts_with("cgroup") {
                self.read_cgroups(Path::new(mount.point))?;
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

    /// Every line of the rule set, with the table and chain or set that it is in; `-s` leaves counters out. The
    /// elements of a set are things of their own: their order and their lines are nft's.
    pub(crate) fn read_rules(&mut self) -> Result<()> {
        let output = Command::new("nft").args(["-s", "list", "ruleset"]).output();
        let output = output.context("start nft (apt-get install nftables)")?;
        if !output.status.success() {
            return Err(anyhow!("nft: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut path: Vec<String> = Vec::new();
        let mut elements = false;
        for line in text.lines().map(str::trim) {
            let (begins, rest) = match line.strip_prefix("elements = {") {
                Some(rest) => (true, rest),
                None => (false, line),
            };
            if begins || elements {
                elements = !rest.ends_with('}');
                for element in rest.trim_end_matches('}').split(',').map(str::trim) {
                    if !element.is_empty() {
                        self.add("nftables", format!("{} / element {element}", path.join(" / ")));
                    }
                }
            } else if let Some(opened) = line.strip_suffix(" {") {
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

    pub(crate) fn read_loop_devices(&mut self) -> Result<()> {
        for device in names(Path::new("/sys/block"))? {
            // The file is there only while something is attached. Which of the devices it is, is chance.
            if let Ok(file) = fs::read_to_string(format!("/sys/block/{device}/loop/backing_file")) {
                self.add("loop device", format!("of {}", file.trim_end()));
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

/// Directories in a directory; none if it is gone, as a cgroup may be by now.
fn directories(directory: &Path) -> Vec<OsString> {
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
}

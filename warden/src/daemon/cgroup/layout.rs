//! Where our groups are on this host.

use super::{Group, Homes, devices, make, write};
use crate::daemon::Error;
use crate::wire::CgroupView;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Controllers that we use. Nothing is limited by cpuset, but Java takes a v1 host for no container's without it.
const V1: [&str; 8] = ["memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio"];
const V2: [&str; 4] = ["memory", "cpu", "pids", "io"];
/// Hierarchies of v1 that a container sees its group in.
const SHOWN: [&str; 5] = ["memory", "cpu", "cpuacct", "cpuset", "pids"];
/// Those of v2 that there must be: without them nothing is limited.
const NEEDED: [&str; 2] = ["memory", "pids"];

/// The platform's group in every hierarchy.
#[derive(Debug)]
pub(crate) struct Layout {
    v2: bool,
    parents: Vec<PathBuf>,
    /// For each of them, the controllers of its hierarchy; nothing for v2.
    names: Vec<String>,
    homes: Homes,
    /// v2: the leaf that the daemon had to move to.
    leaf: Option<PathBuf>,
}

impl Layout {
    /// Finds the hierarchies and makes the platform's group under the daemon's own in each.
    pub(crate) fn prepare(name: &str) -> Result<Self, Error> {
        let mounts = read("/proc/self/mountinfo")?;
        let own = read("/proc/self/cgroup")?;
        let (v2, (parents, names), leaf): (bool, (Vec<PathBuf>, Vec<String>), _) =
            match v1_parents(&mounts, &own, name) {
                parents if parents.is_empty() => {
                    let (parent, leaf) = v2_parent(&mounts, &own, name)?;
                    (true, (vec![parent], vec![String::new()]), leaf)
                }
                parents => (false, parents.into_iter().unzip(), None),
            };
        for parent in &parents {
            make(parent, "make the platform's cgroup")?;
        }
        if let (true, Some(parent)) = (v2, parents.first()) {
            enable(parent)?;
            devices::close_v2(parent)?;
        }
        if let (false, Some(parent)) = (v2, parents.iter().find(|dir| dir.join("devices.deny").exists())) {
            devices::close_v1(parent)?;
        }
        if let (false, Some(parent)) = (v2, parents.iter().find(|dir| dir.join("cpuset.cpus").exists())) {
            open_cpuset(parent)?;
        }
        let homes = Homes::find(v2, &parents);
        tracing::info!(version = if v2 { 2 } else { 1 }, directories = ?parents, "cgroups");
        Ok(Layout { v2, homes, parents, names, leaf })
    }

    /// Whether this is cgroup v2.
    pub(crate) fn is_v2(&self) -> bool {
        self.v2
    }

    /// The groups of a container in these directories, whether they exist or not. An earlier daemon may have been started
    /// elsewhere and have put them elsewhere.
    pub(crate) fn group(&self, id: &str, directories: Vec<PathBuf>) -> Group {
        let homes = match directories == self.directories(id) {
            true => self.homes,
            false => Homes::find(self.v2, &directories),
        };
        Group::new(self.v2, directories, homes)
    }

    /// What of its cgroups a container sees: where runtimes look for memory and processor.
    pub(crate) fn views(&self, id: &str) -> Vec<CgroupView> {
        let shown = |name: &str| self.v2 || name.split(',').any(|name| SHOWN.contains(&name));
        let all = self.names.iter().zip(&self.parents).filter(|(name, _)| shown(name));
        all.map(|(name, parent)| CgroupView { name: name.clone(), source: parent.join(id) }).collect()
    }

    /// The directories of a container.
    pub(crate) fn directories(&self, id: &str) -> Vec<PathBuf> {
        self.parents.iter().map(|parent| parent.join(id)).collect()
    }

    /// Groups of containers that nobody knows of: empties and removes them.
    pub(crate) fn sweep(&self, known: impl Fn(&Path) -> bool) -> Result<(), Error> {
        for parent in &self.parents {
            for entry in fs::read_dir(parent).map_err(Error::io("list cgroups", parent))?.flatten() {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !known(&path) {
                    let group = Group::new(self.v2, vec![path], Homes::default());
                    group.kill(None, crate::daemon::END_TIMEOUT);
                    group.remove(crate::daemon::END_TIMEOUT)?;
                }
            }
        }
        Ok(())
    }

    /// Removes the platform's group, which has no container any more.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        Group::new(self.v2, self.parents.clone(), Homes::default()).remove(crate::daemon::END_TIMEOUT)?;
        let Some((leaf, own)) = self.leaf.as_ref().and_then(|leaf| Some((leaf, leaf.parent()?))) else {
            return Ok(());
        };
        // Back to where the daemon was started, which must hand down no controllers for that. The spawner ends a
        // moment after the daemon: it goes back too.
        for controller in V2 {
            let _ = write(own, "cgroup.subtree_control", &format!("-{controller}"));
        }
        let group = Group::new(true, vec![leaf.clone()], Homes::default());
        for process in group.processes() {
            write(own, "cgroup.procs", &process.to_string())?;
        }
        group.remove(crate::daemon::END_TIMEOUT)
    }
}

fn read(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::io("read", Path::new(path)))
}

/// The mount points of cgroup filesystems of a type: root of the mount, mount point, super options.
fn mounts_of<'a>(mounts: &'a str, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
    mounts.lines().filter_map(move |line| {
        let (left, right) = line.split_once(" - ")?;
        let (left, right): (Vec<&str>, Vec<&str>) = (left.split(' ').collect(), right.split(' ').collect());
        (right.first() == Some(&kind)).then_some((*left.get(3)?, *left.get(4)?, *right.get(2)?))
    })
}

/// A group's directory below a mount point whose root may itself be a group (in a container).
fn below(point: &str, root: &str, group: &str) -> PathBuf {
    let relative = group.strip_prefix(root.trim_end_matches('/')).unwrap_or(group);
    Path::new(point).join(relative.trim_start_matches('/'))
}

/// The platform's group in each hierarchy of v1, and the controllers of that.
fn v1_parents(mounts: &str, own: &str, name: &str) -> Vec<(PathBuf, String)> {
    let mut parents = Vec::new();
    for (root, point, options) in mounts_of(mounts, "cgroup") {
        let controllers: Vec<&str> = options.split(',').filter(|option| V1.contains(option)).collect();
        let group = own.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (names, group) = (parts.next()?, parts.next()?);
            controllers
                .iter()
                .any(|controller| names.split(',').any(|name| name == *controller))
                .then_some(group)
        });
        if let Some(group) = group {
            parents.push((below(point, root, group).join(name), controllers.join(",")));
        }
    }
    parents.sort();
    parents.dedup();
    parents
}

/// A new group of v1's cpuset takes no processes before it has processors and memory nodes: the platform's gets all that
/// the daemon's has, and each group in it the same when it is made.
fn open_cpuset(parent: &Path) -> Result<(), Error> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let from = parent.parent().unwrap_or(parent).join(file);
        let all = fs::read_to_string(&from).map_err(Error::io("read", &from))?;
        write(parent, file, all.trim())?;
    }
    write(parent, "cgroup.clone_children", "1")
}

fn v2_parent(mounts: &str, own: &str, name: &str) -> Result<(PathBuf, Option<PathBuf>), Error> {
    let (root, point, _) = mounts_of(mounts, "cgroup2")
        .next()
        .ok_or_else(|| Error::Cgroups("none are mounted; mount cgroup2 on /sys/fs/cgroup".to_owned()))?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let leaf = format!("{name}-daemon");
    let mut own = below(point, root, group);
    let mut moved = None;
    if own.ends_with(&leaf) {
        moved = Some(own.clone());
        own.pop();
    }
    if enable(&own).is_ok() {
        return Ok((own.join(name), moved));
    }
    // A group with processes cannot hand controllers to groups below it, unless it is the root.
    let processes = Group::new(true, vec![own.clone()], Homes::default()).processes();
    let divisible =
        available(&own).is_ok_and(|controllers| NEEDED.iter().all(|name| controllers.contains(*name)));
    if divisible && processes == [std::process::id() as i32] {
        // A service's own group: the daemon moves to a leaf of it.
        let leaf = own.join(leaf);
        make(&leaf, "make the daemon's cgroup")?;
        write(&leaf, "cgroup.procs", "0")?;
        enable(&own)?;
        return Ok((own.join(name), Some(leaf)));
    }
    // A login session's, say, with shells in it: the top it is, where container engines without systemd go too.
    let top = PathBuf::from(point);
    enable(&top).map_err(|error| {
        let why = "has other processes, so it cannot be divided, and neither can the top";
        let what_to_do = "start the warden in a cgroup of its own (systemd: Delegate=yes)";
        Error::Cgroups(format!("{} {why}: {what_to_do} ({})", own.display(), error.chain()))
    })?;
    Ok((top.join(name), None))
}

/// Hands the controllers of a v2 group to the groups below it.
fn enable(directory: &Path) -> Result<(), Error> {
    let available = available(directory)?;
    if let Some(missing) = NEEDED.iter().find(|name| !available.contains(**name)) {
        let why = format!("controller {missing} is not available in {}", directory.display());
        return Err(Error::Cgroups(why));
    }
    for controller in V2.iter().filter(|name| available.contains(**name)) {
        write(directory, "cgroup.subtree_control", &format!("+{controller}"))?;
    }
    Ok(())
}

/// Controllers that a v2 group has to hand down.
fn available(directory: &Path) -> Result<BTreeSet<String>, Error> {
    let path = directory.join("cgroup.controllers");
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 20 0:5 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 20 0:6 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 20 0:7 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 20 0:8 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 20 0:9 /inside /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
";

    #[test]
    fn hybrid_hosts_use_their_v1_hierarchies() {
        let own = "9:name=systemd:/\n4:memory:/api/x\n3:cpu,cpuacct:/\n2:pids:/inside/a\n0::/\n";
        let paths = ["cpu,cpuacct/cupola-x", "memory/api/x/cupola-x", "pids/a/cupola-x"];
        let expected: Vec<PathBuf> =
            paths.iter().map(|path| Path::new("/sys/fs/cgroup").join(path)).collect();
        let (found, names): (Vec<PathBuf>, Vec<String>) =
            v1_parents(HYBRID, own, "cupola-x").into_iter().unzip();
        assert_eq!(found, expected);
        assert_eq!(names, ["cpu,cpuacct", "memory", "pids"]);
    }

    #[test]
    fn pure_v2_hosts_have_no_v1_parents() {
        let mounts = "30 20 0:5 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        assert!(v1_parents(mounts, "0::/\n", "cupola-x").is_empty());
        assert_eq!(mounts_of(mounts, "cgroup2").next(), Some(("/", "/sys/fs/cgroup", "rw,nsdelegate")));
    }
}

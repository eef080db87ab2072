//! The end of a cluster: what was made is removed, whatever state it is in.

use super::{host::Host, network};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long the kernel gets to let go of what ended processes held.
const LIMIT: Duration = Duration::from_secs(20);

/// Ends every host and removes namespaces, links, cgroups and the directory.
pub(crate) fn everything(directory: &Path, hosts: &[Host]) -> Result<()> {
    for host in hosts {
        let _ = host.end();
    }
    for name in network::namespaces()? {
        // Of a host that did not answer: what lives in our namespaces is ours.
        for pid in network::ip(&format!("netns pids {name}"))?.split_whitespace() {
            if let Ok(pid) = pid.parse() {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
            }
        }
        network::ip(&format!("netns del {name}"))?;
    }
    // Its other end went with the switch, but the kernel takes its time.
    let _ = network::ip(&format!("link del {}", network::CABLE));
    for host in hosts {
        remove_cgroups(host)?;
    }
    eventually("let go of its loop devices", || !holds_loop_devices(directory))?;
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(())
}

/// A host that died leaves its wardens' cgroups: on a real one they end with the kernel.
pub(crate) fn remove_cgroups(host: &Host) -> Result<()> {
    let name = format!("cupola-{}", host.machine.instance());
    let mut found = Vec::new();
    find(Path::new("/sys/fs/cgroup"), &name, 4, &mut found);
    for group in found {
        eventually(&format!("empty {}", group.display()), || remove_tree(&group))?;
    }
    Ok(())
}

fn find(folder: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() == name {
                found.push(entry.path());
            } else if depth > 0 {
                find(&entry.path(), name, depth - 1, found);
            }
        }
    }
}

/// Removes a group with its inner ones; false while a process is still dying in one.
fn remove_tree(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

fn holds_loop_devices(directory: &Path) -> bool {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let mut files =
        devices.filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
    files.any(|file| Path::new(file.trim_end()).starts_with(directory))
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        anyhow::ensure!(Instant::now() < deadline, "the kernel does not {what} within {LIMIT:?}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

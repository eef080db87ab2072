//! The switch: a bridge in a namespace of its own, with a cable to each host and one to this machine. No host has a way
//! out: nothing leaves the machine.

use super::plan::{Machine, OPERATOR, PREFIX};
use anyhow::{Context, Result, bail};
use std::process::Command;

/// What the names of our network namespaces begin with.
pub(crate) const NAMESPACES: &str = "cupola-";
/// Namespace of the switch.
pub(crate) const SWITCH: &str = "cupola-switch";
/// This machine's end of its cable.
pub(crate) const CABLE: &str = "cupola0";

/// Runs `ip`.
pub(crate) fn ip(arguments: &str) -> Result<String> {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .context("cannot run ip (Debian package iproute2)")?;
    if !output.status.success() {
        bail!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes the switch and this machine's cable.
pub(crate) fn make_switch() -> Result<()> {
    for line in [
        format!("netns add {SWITCH}"),
        format!("-n {SWITCH} link set lo up"),
        format!("-n {SWITCH} link add switch type bridge"),
        format!("-n {SWITCH} link set switch up"),
        format!("link add {CABLE} type veth peer name operator netns {SWITCH}"),
        format!("-n {SWITCH} link set operator master switch up"),
        format!("addr add {OPERATOR}/{PREFIX} dev {CABLE}"),
        format!("link set {CABLE} up"),
    ] {
        ip(&line)?;
    }
    Ok(())
}

/// Makes a host's network namespace, and plugs its cable in.
pub(crate) fn add(machine: &Machine) -> Result<()> {
    let (space, name) = (machine.namespace(), machine.name);
    for line in [
        format!("netns add {space}"),
        format!("-n {space} link set lo up"),
        format!("-n {SWITCH} link add {name} type veth peer name eth0 netns {space}"),
        format!("-n {SWITCH} link set {name} master switch up"),
        format!("-n {space} addr add {}/{PREFIX} dev eth0", machine.address),
        format!("-n {space} link set eth0 up"),
    ] {
        ip(&line)?;
    }
    Ok(())
}

/// Pulls a host's cable: who speaks to it hears nothing any more, not even that it is gone.
pub(crate) fn unplug(machine: &Machine) -> Result<()> {
    ip(&format!("-n {SWITCH} link set {} down", machine.name)).map(drop)
}

/// Removes a host's network namespace, which no process is in any more, and its cable.
pub(crate) fn remove(machine: &Machine) -> Result<()> {
    ip(&format!("netns del {}", machine.namespace()))?;
    // The kernel takes namespaces apart in the background; the name must be free for the next boot.
    let _ = ip(&format!("-n {SWITCH} link del {}", machine.name));
    Ok(())
}

/// Our network namespaces, by name.
pub(crate) fn namespaces() -> Result<Vec<String>> {
    let list = ip("netns list")?;
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names.filter(|name| name.starts_with(NAMESPACES)).map(str::to_owned).collect())
}

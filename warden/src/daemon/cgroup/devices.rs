//! The devices that containers may use. The list is set on the platform's group, and holds for every group in it: no
//! container costs anything, and none is ever without it.

use super::write;
use crate::daemon::Error;
use crate::sys::bpf::{self, Device};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;

/// null, zero, full, random, urandom, tty, ptmx, and every terminal (Documentation/admin-guide/devices.txt).
const ALLOWED: [Device; 8] = [
    Device { major: 1, minor: Some(3) },
    Device { major: 1, minor: Some(5) },
    Device { major: 1, minor: Some(7) },
    Device { major: 1, minor: Some(8) },
    Device { major: 1, minor: Some(9) },
    Device { major: 5, minor: Some(0) },
    Device { major: 5, minor: Some(2) },
    Device { major: 136, minor: None },
];

/// Closes every device but these to the groups in the platform's group of the devices hierarchy (cgroup v1).
pub(super) fn close_v1(parent: &Path) -> Result<(), Error> {
    let path = parent.join("devices.list");
    let list = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    // An earlier daemon has done it: with groups in it, it can only be undone with them.
    if !list.lines().any(|line| line.starts_with("a ")) {
        return Ok(());
    }
    write(parent, "devices.deny", "a")?;
    for Device { major, minor } in ALLOWED {
        let minor = minor.map_or("*".to_owned(), |minor| minor.to_string());
        // The spawner makes their nodes in the container's group.
        write(parent, "devices.allow", &format!("c {major}:{minor} rwm"))?;
    }
    Ok(())
}

/// The same by a program (cgroup v2). A kernel without it has the mounts without devices as its wall.
pub(super) fn close_v2(parent: &Path) -> Result<(), Error> {
    let directory = File::open(parent).map_err(Error::io("open the platform's cgroup", parent))?;
    if let Err(error) = bpf::allow_devices(directory.as_fd(), &ALLOWED) {
        tracing::warn!(%error, "no device filter: containers are kept from devices by their mounts alone");
    }
    Ok(())
}

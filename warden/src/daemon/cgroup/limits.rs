//! Limits of a group.

use super::{Group, read_number, write};
use crate::daemon::Error;
use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use std::path::Path;

/// The memory limit of a group that has none, as cgroup v1 reads it.
pub(crate) const UNLIMITED: u64 = 9_223_372_036_854_771_712;

/// Devices that a container may use: null, zero, full, random, urandom, tty, ptmx, pts.
const DEVICES: [&str; 8] = ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2", "136:*"];

/// v1's shares and v2's weight of an ordinary group, and their range, which systemd and runc map in the same way.
const WEIGHTS: (u64, u64) = (1, 10_000);
const SHARES: (u64, u64) = (2, 262_144);

impl Group {
    /// The limits that every container has from its first moment.
    pub(crate) fn set_base_limits(&self, processes: u64) -> Result<(), Error> {
        if let Some(dir) = self.with("pids.max") {
            let controller = PidController::new(dir.to_owned(), dir.to_owned(), self.v2);
            let value = MaxValue::Value(i64::try_from(processes).unwrap_or(i64::MAX));
            controller.set_pid_max(value).map_err(|error| refused("pids.max", dir, &error))?;
        }
        Ok(())
    }

    /// Closes every device but the harmless ones (cgroup v1; on v2 the mounts without devices are the wall). Only once
    /// the container is built: building it opens its loop device.
    pub(crate) fn restrict_devices(&self) -> Result<(), Error> {
        if let (false, Some(dir)) = (self.v2, self.with("devices.deny")) {
            write(dir, "devices.deny", "a")?;
            for device in DEVICES {
                write(dir, "devices.allow", &format!("c {device} rw"))?;
            }
        }
        Ok(())
    }

    /// Limits memory, and memory and swap together, to the same number of bytes.
    pub(crate) fn limit_memory(&self, bytes: u64) -> Result<(), Error> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.v2 {
            let Some(dir) = self.with("memory.max") else { return Err(missing("memory")) };
            let controller = MemController::new(dir.to_owned(), dir.to_owned(), true);
            controller.set_limit(bytes).map_err(|error| refused("memory.max", dir, &error))?;
            // v2 counts swap apart: none of it keeps the sum at the limit.
            if dir.join("memory.swap.max").exists() {
                write(dir, "memory.swap.max", "0")?;
            }
            return Ok(());
        }
        let Some(dir) = self.with("memory.limit_in_bytes") else { return Err(missing("memory")) };
        let controller = MemController::new(dir.to_owned(), dir.to_owned(), false);
        let memory =
            || controller.set_limit(bytes).map_err(|error| refused("memory.limit_in_bytes", dir, &error));
        if !dir.join("memory.memsw.limit_in_bytes").exists() {
            return memory();
        }
        let both = || {
            controller
                .set_memswap_limit(bytes)
                .map_err(|error| refused("memory.memsw.limit_in_bytes", dir, &error))
        };
        // The sum may never be below its part: growing begins with the sum, shrinking with the part.
        match read_number(dir, "memory.memsw.limit_in_bytes").is_some_and(|now| now < bytes as u64) {
            true => both().and_then(|()| memory()),
            false => memory().and_then(|()| both()),
        }
    }

    /// The memory limit in bytes.
    pub(crate) fn memory_limit(&self) -> u64 {
        let file = if self.v2 { "memory.max" } else { "memory.limit_in_bytes" };
        self.with(file).and_then(|dir| read_number(dir, file)).unwrap_or(UNLIMITED)
    }

    /// Sets the share of the processor, in cgroup v1's shares.
    pub(crate) fn limit_cpu(&self, shares: u64) -> Result<(), Error> {
        let (file, value) = match self.v2 {
            true => ("cpu.weight", weight(shares)),
            false => ("cpu.shares", shares.clamp(SHARES.0, SHARES.1)),
        };
        let Some(dir) = self.with(file) else { return Err(missing("cpu")) };
        let controller = CpuController::new(dir.to_owned(), dir.to_owned(), self.v2);
        controller.set_shares(value).map_err(|error| refused(file, dir, &error))
    }
}

/// v2's weight of a number of shares.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(SHARES.0, SHARES.1);
    WEIGHTS.0 + (shares - SHARES.0) * (WEIGHTS.1 - WEIGHTS.0) / (SHARES.1 - SHARES.0)
}

fn missing(controller: &str) -> Error {
    Error::Cgroups(format!("the {controller} controller is not available on this host"))
}

fn refused(file: &str, dir: &Path, error: &dyn std::error::Error) -> Error {
    let mut text = format!("cannot write {}: {error}", dir.join(file).display());
    if let Some(cause) = error.source() {
        text.push_str(&format!(": {cause}"));
    }
    Error::Cgroups(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_weights_cover_the_same_range() {
        assert_eq!(
            [weight(0), weight(2), weight(1024), weight(262_144), weight(u64::MAX)],
            [1, 1, 39, 10_000, 10_000]
        );
    }
}

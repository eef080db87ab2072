//! Limits of a group. Each function writes what it is given; what a container shall have is decided elsewhere.

use super::{Controller, Group, read_number, write};
use crate::daemon::Error;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The memory limit of a group that has none, as cgroup v1 reads it.
pub(crate) const UNLIMITED: u64 = 9_223_372_036_854_771_712;

/// v1's shares and v2's weight of an ordinary group, and their range, which systemd and runc map in the same way.
const WEIGHTS: (u64, u64) = (1, 10_000);
const SHARES: (u64, u64) = (2, 262_144);

/// The most that the weight of the BFQ scheduler can be (Documentation/block/bfq-iosched.rst).
const MOST_BFQ: u64 = 1_000;

/// A hard limit of processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Processor {
    /// Microseconds per period; `None` for no limit.
    pub(crate) quota: Option<u64>,
    /// Microseconds.
    pub(crate) period: u64,
    /// Microseconds that unused quota may add to a period.
    pub(crate) burst: u64,
}

/// Rates of access to one block device, per second; `None` for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Rates {
    pub(crate) read_bytes: Option<u64>,
    pub(crate) write_bytes: Option<u64>,
    pub(crate) read_operations: Option<u64>,
    pub(crate) write_operations: Option<u64>,
}

impl Group {
    /// Limits memory, and memory and swap together, to the same number of bytes.
    pub(crate) fn set_memory(&self, bytes: Option<u64>) -> Result<(), Error> {
        let dir = self.needed(Controller::Memory)?;
        if self.v2 {
            // v2 counts swap apart: none of it keeps the sum at the limit.
            if dir.join("memory.swap.max").exists() {
                write(dir, "memory.swap.max", if bytes.is_some() { "0" } else { "max" })?;
            }
            return write(dir, "memory.max", &or_max(bytes));
        }
        let (part, sum) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
        let value = bytes.map_or("-1".to_owned(), |bytes| bytes.to_string());
        // A kernel without accounting of swap has no limit of the sum.
        let Some(now) = read_number(dir, sum) else { return write(dir, part, &value) };
        // The sum may never be below its part: growing begins with the sum, shrinking with the part.
        let order = if now < bytes.unwrap_or(UNLIMITED) { [sum, part] } else { [part, sum] };
        let before = read_number(dir, order[0]);
        write(dir, order[0], &value)?;
        write(dir, order[1], &value).inspect_err(|_| {
            if let Some(before) = before {
                let _ = write(dir, order[0], &before.to_string());
            }
        })
    }

    /// Slows the group down above a number of bytes (cgroup v2).
    pub(crate) fn set_memory_high(&self, bytes: Option<u64>) -> Result<(), Error> {
        match self.v2 {
            true => write(self.needed(Controller::Memory)?, "memory.high", &or_max(bytes)),
            false => {
                Err(Error::Cgroups("memory_high_bytes needs cgroup v2, and this host has v1".to_owned()))
            }
        }
    }

    /// The memory limit in bytes.
    pub(crate) fn memory_limit(&self) -> u64 {
        let file = if self.v2 { "memory.max" } else { "memory.limit_in_bytes" };
        self.home(Controller::Memory).and_then(|dir| read_number(dir, file)).unwrap_or(UNLIMITED)
    }

    /// Sets the share of the processor, in cgroup v1's shares.
    pub(crate) fn set_shares(&self, shares: u64) -> Result<(), Error> {
        let (file, value) = match self.v2 {
            true => ("cpu.weight", weight(shares)),
            false => ("cpu.shares", shares.clamp(SHARES.0, SHARES.1)),
        };
        write(self.needed(Controller::Cpu)?, file, &value.to_string())
    }

    /// Limits processor time.
    pub(crate) fn set_processor(&self, limit: &Processor) -> Result<(), Error> {
        let dir = self.needed(Controller::Cpu)?;
        let burst = if self.v2 { "cpu.max.burst" } else { "cpu.cfs_burst_us" };
        let bursts = dir.join(burst).exists();
        if limit.burst > 0 && !bursts {
            return Err(Error::Cgroups("cpu_burst_us needs Linux 5.14 or later".to_owned()));
        }
        // A burst may not be above the quota: none while that changes.
        if bursts {
            write(dir, burst, "0")?;
        }
        match self.v2 {
            true => write(dir, "cpu.max", &format!("{} {}", or_max(limit.quota), limit.period))?,
            false => {
                let quota = limit.quota.map_or("-1".to_owned(), |quota| quota.to_string());
                // Without a quota any period is allowed, with one not every pair on the way from one to the other.
                write(dir, "cpu.cfs_quota_us", "-1")?;
                write(dir, "cpu.cfs_period_us", &limit.period.to_string())?;
                write(dir, "cpu.cfs_quota_us", &quota)?;
            }
        }
        match limit.burst {
            0 => Ok(()),
            us => write(dir, burst, &us.to_string()),
        }
    }

    /// Limits processes and threads.
    pub(crate) fn set_pids(&self, count: u64) -> Result<(), Error> {
        write(self.needed(Controller::Pids)?, "pids.max", &count.to_string())
    }

    /// Sets the weight of disk access, 1 to 10,000.
    pub(crate) fn set_io_weight(&self, weight: u64) -> Result<(), Error> {
        let dir = self.needed(Controller::Io)?;
        // Which of them there is depends on the kernel; BFQ's is 100 for an ordinary group too, but ends at 1000.
        let files = ["io.weight", "io.bfq.weight", "blkio.bfq.weight", "blkio.weight"];
        let bfq = |file: &str| if file == "io.weight" { weight } else { weight.min(MOST_BFQ) };
        match files.into_iter().find(|file| dir.join(file).exists()) {
            Some(file) => write(dir, file, &bfq(file).to_string()),
            None => Err(Error::Cgroups(
                "io_weight needs a kernel with CONFIG_BLK_CGROUP_IOCOST or a disk with the BFQ scheduler"
                    .to_owned(),
            )),
        }
    }

    /// Limits the rates of a device, `major:minor`.
    pub(crate) fn set_rates(&self, device: &str, rates: &Rates) -> Result<(), Error> {
        let dir = self.needed(Controller::Io)?;
        if self.v2 {
            let line = format!(
                "{device} rbps={} wbps={} riops={} wiops={}",
                or_max(rates.read_bytes),
                or_max(rates.write_bytes),
                or_max(rates.read_operations),
                or_max(rates.write_operations)
            );
            return write(dir, "io.max", &line);
        }
        let files = [
            ("blkio.throttle.read_bps_device", rates.read_bytes),
            ("blkio.throttle.write_bps_device", rates.write_bytes),
            ("blkio.throttle.read_iops_device", rates.read_operations),
            ("blkio.throttle.write_iops_device", rates.write_operations),
        ];
        let set = |(file, rate): (&str, Option<u64>)| {
            // 0 is no limit.
            write(dir, file, &format!("{device} {}", rate.unwrap_or(0)))
        };
        files.into_iter().try_for_each(set)
    }

    /// Where out-of-memory is told of: on v1 the files `memory.oom_control` and `cgroup.event_control`, on v2
    /// `memory.events` alone.
    pub(crate) fn memory_directory(&self) -> Option<&Path> {
        self.home(Controller::Memory)
    }
}

fn or_max(value: Option<u64>) -> String {
    value.map_or("max".to_owned(), |value| value.to_string())
}

/// v2's weight of a number of shares.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(SHARES.0, SHARES.1);
    WEIGHTS.0 + (shares - SHARES.0) * (WEIGHTS.1 - WEIGHTS.0) / (SHARES.1 - SHARES.0)
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

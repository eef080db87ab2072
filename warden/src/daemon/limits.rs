//! Limits: set when a value is given, read in any case.

mod values;

pub(crate) use values::Limits;

use super::cgroup::UNLIMITED;
use super::container::Container;
use super::disk::Usage;
use super::engine::Engine;
use super::record::Phase;
use super::{Error, lock};
use cupola_protocol::warden as wire;
use cupola_protocol::warden::{
    LimitCpuRequest, LimitCpuResponse, LimitDiskRequest, LimitDiskResponse, LimitMemoryRequest,
    LimitMemoryResponse, LimitRequest, LimitResponse,
};
use values::{Change, SHARES};

/// Processes and threads of a group that has no limit of them.
const NO_PIDS: u64 = 4_194_304;

impl Engine {
    /// Memory and swap together.
    pub(crate) fn limit_memory(&self, request: &LimitMemoryRequest) -> Result<LimitMemoryResponse, Error> {
        let wanted = wire::Limits { memory_bytes: request.limit_in_bytes, ..Default::default() };
        let container = self.find(&request.handle)?;
        self.change_limits(&container, &wanted)?;
        Ok(LimitMemoryResponse { limit_in_bytes: Some(container.group.memory_limit()) })
    }

    /// Share of the processor.
    pub(crate) fn limit_cpu(&self, request: &LimitCpuRequest) -> Result<LimitCpuResponse, Error> {
        // The historic server leaves it to the kernel, which takes the nearest that it knows.
        let shares = request.limit_in_shares.map(|shares| shares.clamp(SHARES.0, SHARES.1));
        let container = self.find(&request.handle)?;
        self.change_limits(&container, &wire::Limits { cpu_shares: shares, ..Default::default() })?;
        Ok(LimitCpuResponse { limit_in_shares: Some(container.record().limits.shares()) })
    }

    /// Disk.
    pub(crate) fn limit_disk(&self, request: &LimitDiskRequest) -> Result<LimitDiskResponse, Error> {
        let container = self.find(&request.handle)?;
        let (disk_bytes, disk_inodes) = wanted_disk(request);
        self.change_limits(&container, &wire::Limits { disk_bytes, disk_inodes, ..Default::default() })?;
        let now = current(&container);
        let (bytes, blocks, inodes) =
            (now.disk_bytes, now.disk_bytes.map(|bytes| bytes >> 10), now.disk_inodes);
        Ok(LimitDiskResponse {
            block_limit: blocks,
            block: blocks,
            block_soft: blocks,
            block_hard: blocks,
            inode_limit: inodes,
            inode: inodes,
            inode_soft: inodes,
            inode_hard: inodes,
            byte_limit: bytes,
            byte: bytes,
            byte_soft: bytes,
            byte_hard: bytes,
        })
    }

    /// Any limits at once.
    pub(crate) fn limit(&self, request: &LimitRequest) -> Result<LimitResponse, Error> {
        let container = self.find(&request.handle)?;
        self.change_limits(&container, &request.limits.clone().unwrap_or_default())?;
        Ok(LimitResponse { limits: current(&container) })
    }

    /// Sets what is given: all of it, or nothing.
    fn change_limits(&self, container: &Container, wanted: &wire::Limits) -> Result<(), Error> {
        let _turn = lock(&container.turn);
        container.require(&[Phase::Active, Phase::Stopped], "active, stopped")?;
        let before = container.record().limits.clone();
        let after = self.checked_limits(&before, wanted)?;
        if before == after {
            return Ok(());
        }
        self.tell_kernel(container, &before, &after)?;
        container.change(&self.journal, |record| record.limits = after.clone()).inspect_err(|_| {
            let _ = self.tell_kernel(container, &after, &before);
        })
    }

    /// Limits with what a request gives.
    pub(crate) fn checked_limits(&self, before: &Limits, wanted: &wire::Limits) -> Result<Limits, Error> {
        if wanted.bandwidth_rate.is_some() || wanted.bandwidth_burst.is_some() {
            return Err(Error::Invalid(
                "bandwidth_rate: network rates are not limited by this server".to_owned(),
            ));
        }
        before.with(wanted, &self.config).map_err(Error::Invalid)
    }

    /// Tells the kernel the limits of a container that is being made; those of its disk it has already.
    pub(crate) fn set_limits(&self, container: &Container) -> Result<(), Error> {
        let limits = container.record().limits.clone();
        let disk =
            Limits { disk_bytes: limits.disk_bytes, disk_inodes: limits.disk_inodes, ..Limits::default() };
        self.tell_kernel(container, &disk, &limits)
    }

    /// Tells the kernel everything again of a container that was taken over. What is refused is no reason to end it.
    pub(crate) fn restore_limits(&self, container: &Container) {
        let limits = container.record().limits.clone();
        for change in Limits::default().changes(&limits) {
            if let Err(error) = self.tell(container, &change) {
                let handle = &container.handle;
                tracing::warn!(handle, ?change, error = error.chain(), "limit not set again");
            }
        }
    }

    /// Gets the kernel from some limits to others, or back to the first if it refuses one.
    fn tell_kernel(&self, container: &Container, before: &Limits, after: &Limits) -> Result<(), Error> {
        let (there, back) = (before.changes(after), after.changes(before));
        for (number, change) in there.iter().enumerate() {
            if let Err(error) = self.tell(container, change) {
                for undo in back.iter().take(number + 1).rev() {
                    if let Err(error) = self.tell(container, undo) {
                        let handle = &container.handle;
                        tracing::warn!(handle, ?undo, error = error.chain(), "limit not set back");
                    }
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn tell(&self, container: &Container, change: &Change) -> Result<(), Error> {
        let group = &container.group;
        match change {
            Change::Memory(bytes) => group.set_memory(*bytes),
            Change::MemoryHigh(bytes) => group.set_memory_high(*bytes),
            Change::Shares(shares) => group.set_shares(*shares),
            Change::Processor(limit) => group.set_processor(limit),
            Change::Pids(count) => group.set_pids(count.unwrap_or(NO_PIDS)),
            Change::IoWeight(weight) => group.set_io_weight(*weight),
            Change::Rates(device, rates) => group.set_rates(device, rates),
            Change::Disk { bytes, inodes } => {
                let (record, missing) = (container.record().clone(), || {
                    Error::Invalid("disk: it has no writable layer".to_owned())
                });
                let disk = record.disk.ok_or_else(missing)?;
                disk.limit(&container.directory, container.init_pid(), *bytes, *inodes)
            }
        }
    }
}

/// The limits that hold.
pub(crate) fn current(container: &Container) -> wire::Limits {
    let record = container.record().clone();
    let mut limits = record.limits.to_wire();
    // As the kernel has rounded it.
    limits.memory_bytes = Some(container.group.memory_limit()).filter(|bytes| *bytes < UNLIMITED);
    match record.disk {
        None => (limits.disk_bytes, limits.disk_inodes) = (None, None),
        Some(disk) if disk.counts_inodes() => (),
        Some(_) => {
            let usage = record.init.and_then(|init| Usage::of(init.pid));
            limits.disk_inodes = usage.map(|usage| usage.inodes);
        }
    }
    limits
}

/// Blocks win over bytes; of the names of each, the one written first in the protocol. Soft limits have no effect.
fn wanted_disk(request: &LimitDiskRequest) -> (Option<u64>, Option<u64>) {
    let blocks = request.block_limit.or(request.block).or(request.block_hard);
    let bytes = request.byte_limit.or(request.byte).or(request.byte_hard);
    let inodes = request.inode_limit.or(request.inode).or(request.inode_hard);
    (blocks.map(|blocks| blocks.saturating_mul(1 << 10)).or(bytes), inodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_win_over_bytes_and_every_name_counts() {
        let request = |change: fn(&mut LimitDiskRequest)| {
            let mut request = LimitDiskRequest::default();
            change(&mut request);
            wanted_disk(&request)
        };
        assert_eq!(request(|_| ()), (None, None));
        assert_eq!(request(|r| r.byte_hard = Some(5)), (Some(5), None));
        assert_eq!(request(|r| (r.byte, r.block_hard) = (Some(5), Some(2))), (Some(2048), None));
        assert_eq!(request(|r| (r.block_limit, r.block) = (Some(1), Some(2))), (Some(1024), None));
        assert_eq!(request(|r| r.byte_soft = Some(5)), (None, None));
        assert_eq!(request(|r| (r.inode_hard, r.inode) = (Some(1), Some(2))), (None, Some(2)));
        assert_eq!(request(|r| r.inode_limit = Some(3)), (None, Some(3)));
    }
}

//! Limits: set when a value is given, read in any case.

use super::cgroup::UNLIMITED;
use super::disk::{self, Usage};
use super::engine::Engine;
use super::record::Phase;
use super::{Error, lock};
use cupola_protocol::warden::{
    LimitCpuRequest, LimitCpuResponse, LimitDiskRequest, LimitDiskResponse, LimitMemoryRequest,
    LimitMemoryResponse,
};

/// The share of a container that was never given one.
const DEFAULT_SHARES: u64 = 1_024;

/// The least share that the kernel knows.
const LEAST_SHARES: u64 = 2;

impl Engine {
    /// Memory and swap together.
    pub(crate) fn limit_memory(&self, request: &LimitMemoryRequest) -> Result<LimitMemoryResponse, Error> {
        let container = self.find(&request.handle)?;
        let _turn = lock(&container.turn);
        container.require(&[Phase::Active, Phase::Stopped], "active, stopped")?;
        if let Some(bytes) = request.limit_in_bytes {
            let bytes = bytes.min(UNLIMITED);
            container.group.limit_memory(bytes)?;
            container.change(&self.journal, |record| record.memory_bytes = Some(bytes))?;
        }
        Ok(LimitMemoryResponse { limit_in_bytes: Some(container.group.memory_limit()) })
    }

    /// Share of the processor.
    pub(crate) fn limit_cpu(&self, request: &LimitCpuRequest) -> Result<LimitCpuResponse, Error> {
        let container = self.find(&request.handle)?;
        let _turn = lock(&container.turn);
        container.require(&[Phase::Active, Phase::Stopped], "active, stopped")?;
        if let Some(shares) = request.limit_in_shares {
            let shares = shares.max(LEAST_SHARES);
            container.group.limit_cpu(shares)?;
            container.change(&self.journal, |record| record.cpu_shares = Some(shares))?;
        }
        Ok(LimitCpuResponse { limit_in_shares: container.record().cpu_shares.or(Some(DEFAULT_SHARES)) })
    }

    /// Disk. The number of files is fixed when a container is made: it is only read.
    pub(crate) fn limit_disk(&self, request: &LimitDiskRequest) -> Result<LimitDiskResponse, Error> {
        let container = self.find(&request.handle)?;
        let _turn = lock(&container.turn);
        container.require(&[Phase::Active, Phase::Stopped], "active, stopped")?;
        if let Some(bytes) = wanted_bytes(request) {
            if container.record().read_only {
                return Err(Error::Invalid(
                    "a container without a writable layer has no disk limit".to_owned(),
                ));
            }
            self.check_disk(bytes)?;
            let pid =
                container.init_pid().ok_or_else(|| Error::Left("the container has no init".to_owned()))?;
            disk::limit(&container.directory.join(disk::IMAGE), pid, bytes)?;
            container.change(&self.journal, |record| record.disk_bytes = bytes)?;
        }
        let bytes = container.record().disk_bytes;
        let inodes = container.init_pid().and_then(Usage::of).map(|usage| usage.inodes);
        let (blocks, bytes) = (Some(bytes >> 10), Some(bytes));
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

    /// Refuses a disk limit that the container's filesystem could never hold.
    pub(crate) fn check_disk(&self, bytes: u64) -> Result<(), Error> {
        match bytes > self.config.disk.max_bytes {
            true => Err(Error::Invalid(format!(
                "a disk limit of {bytes} bytes is above the largest, {} bytes; raise `disk.max_bytes`",
                self.config.disk.max_bytes
            ))),
            false => Ok(()),
        }
    }
}

/// Blocks win over bytes; of the names of each, the one written first in the protocol. Soft limits have no effect.
fn wanted_bytes(request: &LimitDiskRequest) -> Option<u64> {
    let blocks = request.block_limit.or(request.block).or(request.block_hard);
    let bytes = request.byte_limit.or(request.byte).or(request.byte_hard);
    blocks.map(|blocks| blocks.saturating_mul(1 << 10)).or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_win_over_bytes_and_every_name_counts() {
        let request = |change: fn(&mut LimitDiskRequest)| {
            let mut request = LimitDiskRequest::default();
            change(&mut request);
            wanted_bytes(&request)
        };
        assert_eq!(request(|_| ()), None);
        assert_eq!(request(|r| r.byte_hard = Some(5)), Some(5));
        assert_eq!(request(|r| (r.byte, r.block_hard) = (Some(5), Some(2))), Some(2048));
        assert_eq!(request(|r| (r.block_limit, r.block) = (Some(1), Some(2))), Some(1024));
        assert_eq!(request(|r| r.byte_soft = Some(5)), None);
    }
}

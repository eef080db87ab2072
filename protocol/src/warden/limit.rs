//! Limits of a container: set when a value is given, and read in any case.

use prost::Message;

/// Sets or reads the memory limit.
#[derive(Clone, PartialEq, Message)]
pub struct LimitMemoryRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// Bytes of memory and swap together; only read when missing.
    #[prost(uint64, optional, tag = "2")]
    pub limit_in_bytes: Option<u64>,
}

/// The memory limit.
#[derive(Clone, PartialEq, Message)]
pub struct LimitMemoryResponse {
    /// Bytes; 9223372036854771712 when there is no limit.
    #[prost(uint64, optional, tag = "1")]
    pub limit_in_bytes: Option<u64>,
}

/// Sets or reads the disk limit. `*_limit`, the bare name and `*_hard` mean the same; blocks (of 1 KiB) win over
/// bytes; soft limits are accepted and have no effect.
#[derive(Clone, PartialEq, Message)]
pub struct LimitDiskRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// 1 KiB blocks.
    #[prost(uint64, optional, tag = "10")]
    pub block_limit: Option<u64>,
    /// 1 KiB blocks.
    #[prost(uint64, optional, tag = "11")]
    pub block: Option<u64>,
    /// 1 KiB blocks.
    #[prost(uint64, optional, tag = "12")]
    pub block_soft: Option<u64>,
    /// 1 KiB blocks.
    #[prost(uint64, optional, tag = "13")]
    pub block_hard: Option<u64>,
    /// Files and directories.
    #[prost(uint64, optional, tag = "20")]
    pub inode_limit: Option<u64>,
    /// Files and directories.
    #[prost(uint64, optional, tag = "21")]
    pub inode: Option<u64>,
    /// Files and directories.
    #[prost(uint64, optional, tag = "22")]
    pub inode_soft: Option<u64>,
    /// Files and directories.
    #[prost(uint64, optional, tag = "23")]
    pub inode_hard: Option<u64>,
    /// Bytes.
    #[prost(uint64, optional, tag = "30")]
    pub byte_limit: Option<u64>,
    /// Bytes.
    #[prost(uint64, optional, tag = "31")]
    pub byte: Option<u64>,
    /// Bytes.
    #[prost(uint64, optional, tag = "32")]
    pub byte_soft: Option<u64>,
    /// Bytes.
    #[prost(uint64, optional, tag = "33")]
    pub byte_hard: Option<u64>,
}

/// The disk limit, in every one of its names.
#[derive(Clone, PartialEq, Message)]
pub struct LimitDiskResponse {
    /// 1 KiB blocks.
    #[prost(uint64, optional, tag = "10")]
    pub block_limit: Option<u64>,
    /// 1 KiB blocks.
    #[prost(uint64, optional, tag = "11")]
    pub block: Option<u64>,
    /// 1 KiB blocks.
    #[prost(uint64, optional, tag = "12")]
    pub block_soft: Option<u64>,
    /// 1 KiB blocks.
    #[prost(uint64, optional, tag = "13")]
    pub block_hard: Option<u64>,
    /// Files and directories.
    #[prost(uint64, optional, tag = "20")]
    pub inode_limit: Option<u64>,
    /// Files and directories.
    #[prost(uint64, optional, tag = "21")]
    pub inode: Option<u64>,
    /// Files and directories.
    #[prost(uint64, optional, tag = "22")]
    pub inode_soft: Option<u64>,
    /// Files and directories.
    #[prost(uint64, optional, tag = "23")]
    pub inode_hard: Option<u64>,
    /// Bytes.
    #[prost(uint64, optional, tag = "30")]
    pub byte_limit: Option<u64>,
    /// Bytes.
    #[prost(uint64, optional, tag = "31")]
    pub byte: Option<u64>,
    /// Bytes.
    #[prost(uint64, optional, tag = "32")]
    pub byte_soft: Option<u64>,
    /// Bytes.
    #[prost(uint64, optional, tag = "33")]
    pub byte_hard: Option<u64>,
}

/// Sets the network rates.
#[derive(Clone, PartialEq, Message)]
pub struct LimitBandwidthRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// Bytes per second.
    #[prost(uint64, required, tag = "2")]
    pub rate: u64,
    /// Bytes that may be sent at once.
    #[prost(uint64, required, tag = "3")]
    pub burst: u64,
}

/// The network rates.
#[derive(Clone, PartialEq, Message)]
pub struct LimitBandwidthResponse {
    /// Bytes per second.
    #[prost(uint64, required, tag = "1")]
    pub rate: u64,
    /// Bytes that may be sent at once.
    #[prost(uint64, required, tag = "2")]
    pub burst: u64,
}

/// Sets or reads the share of the processor.
#[derive(Clone, PartialEq, Message)]
pub struct LimitCpuRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// Weight against other containers, 2 or more (1024 is usual); only read when missing.
    #[prost(uint64, optional, tag = "2")]
    pub limit_in_shares: Option<u64>,
}

/// The share of the processor.
#[derive(Clone, PartialEq, Message)]
pub struct LimitCpuResponse {
    /// Weight against other containers.
    #[prost(uint64, optional, tag = "1")]
    pub limit_in_shares: Option<u64>,
}

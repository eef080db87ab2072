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

/// Ours: every limit of a container. As a request, what is missing stays as it is; as an answer, what is missing has no
/// limit or cannot be limited on this host.
#[derive(Clone, PartialEq, Message)]
pub struct Limits {
    /// Bytes of memory and swap together.
    #[prost(uint64, optional, tag = "1")]
    pub memory_bytes: Option<u64>,
    /// Bytes of memory above which the kernel slows the container down and takes back what it can (cgroup v2 alone).
    #[prost(uint64, optional, tag = "2")]
    pub memory_high_bytes: Option<u64>,
    /// Weight of the processor against other containers, in cgroup v1's shares, 2 to 262144.
    #[prost(uint64, optional, tag = "3")]
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time per period, all processors together; 0 for no limit.
    #[prost(uint64, optional, tag = "4")]
    pub cpu_quota_us: Option<u64>,
    /// Length of a period, 1000 to 1000000; 100000 where it was never set.
    #[prost(uint64, optional, tag = "5")]
    pub cpu_period_us: Option<u64>,
    /// Microseconds that unused quota may add to one period.
    #[prost(uint64, optional, tag = "6")]
    pub cpu_burst_us: Option<u64>,
    /// Processes and threads.
    #[prost(uint64, optional, tag = "7")]
    pub pids: Option<u64>,
    /// Weight of disk access against other containers, 1 to 10000; 100 is usual.
    #[prost(uint64, optional, tag = "8")]
    pub io_weight: Option<u64>,
    /// Rates of disk access by device. As a request: these devices get these rates, others keep theirs.
    #[prost(message, repeated, tag = "9")]
    pub io: Vec<IoLimit>,
    /// Bytes of disk.
    #[prost(uint64, optional, tag = "10")]
    pub disk_bytes: Option<u64>,
    /// Files and directories.
    #[prost(uint64, optional, tag = "11")]
    pub disk_inodes: Option<u64>,
    /// Bytes per second of the network, each way; 0 for no limit.
    #[prost(uint64, optional, tag = "12")]
    pub bandwidth_rate: Option<u64>,
    /// Bytes that may go at once.
    #[prost(uint64, optional, tag = "13")]
    pub bandwidth_burst: Option<u64>,
}

/// Rates of access to one block device; 0 for no limit, missing as [`Limits`] says.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct IoLimit {
    /// `major:minor` of the device.
    #[prost(string, required, tag = "1")]
    pub device: String,
    /// Bytes read per second.
    #[prost(uint64, optional, tag = "2")]
    pub read_bytes: Option<u64>,
    /// Bytes written per second.
    #[prost(uint64, optional, tag = "3")]
    pub write_bytes: Option<u64>,
    /// Reads per second.
    #[prost(uint64, optional, tag = "4")]
    pub read_operations: Option<u64>,
    /// Writes per second.
    #[prost(uint64, optional, tag = "5")]
    pub write_operations: Option<u64>,
}

/// Ours: sets any limits at once, and reads them all. Either every given one is set, or none and an error says which
/// cannot be.
#[derive(Clone, PartialEq, Message)]
pub struct LimitRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// What to set; nothing is set when missing.
    #[prost(message, optional, tag = "2")]
    pub limits: Option<Limits>,
}

/// Every limit that holds.
#[derive(Clone, PartialEq, Message)]
pub struct LimitResponse {
    /// The limits.
    #[prost(message, required, tag = "1")]
    pub limits: Limits,
}

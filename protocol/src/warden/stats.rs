//! The figures of an [`InfoResponse`](super::InfoResponse). Missing where the kernel does not tell.

use prost::Message;

/// Memory, in bytes unless said otherwise: the names of cgroup v1's `memory.stat`. On cgroup v2 the figures are
/// those of the same meaning there.
#[derive(Clone, PartialEq, Message)]
pub struct MemoryStat {
    /// Page cache.
    #[prost(uint64, optional, tag = "1")]
    pub cache: Option<u64>,
    /// Anonymous memory.
    #[prost(uint64, optional, tag = "2")]
    pub rss: Option<u64>,
    /// Mapped files.
    #[prost(uint64, optional, tag = "3")]
    pub mapped_file: Option<u64>,
    /// Pages charged, events.
    #[prost(uint64, optional, tag = "4")]
    pub pgpgin: Option<u64>,
    /// Pages uncharged, events.
    #[prost(uint64, optional, tag = "5")]
    pub pgpgout: Option<u64>,
    /// Swap.
    #[prost(uint64, optional, tag = "6")]
    pub swap: Option<u64>,
    /// Page faults, events.
    #[prost(uint64, optional, tag = "7")]
    pub pgfault: Option<u64>,
    /// Page faults that read from disk, events.
    #[prost(uint64, optional, tag = "8")]
    pub pgmajfault: Option<u64>,
    /// Anonymous memory, inactive.
    #[prost(uint64, optional, tag = "9")]
    pub inactive_anon: Option<u64>,
    /// Anonymous memory, active.
    #[prost(uint64, optional, tag = "10")]
    pub active_anon: Option<u64>,
    /// Page cache, inactive.
    #[prost(uint64, optional, tag = "11")]
    pub inactive_file: Option<u64>,
    /// Page cache, active.
    #[prost(uint64, optional, tag = "12")]
    pub active_file: Option<u64>,
    /// Memory that cannot be reclaimed.
    #[prost(uint64, optional, tag = "13")]
    pub unevictable: Option<u64>,
    /// The lowest limit of memory on the way to the root.
    #[prost(uint64, optional, tag = "14")]
    pub hierarchical_memory_limit: Option<u64>,
    /// The lowest limit of memory and swap on the way to the root.
    #[prost(uint64, optional, tag = "15")]
    pub hierarchical_memsw_limit: Option<u64>,
    /// Page cache, with all groups below.
    #[prost(uint64, optional, tag = "16")]
    pub total_cache: Option<u64>,
    /// Anonymous memory, with all groups below.
    #[prost(uint64, optional, tag = "17")]
    pub total_rss: Option<u64>,
    /// Mapped files, with all groups below.
    #[prost(uint64, optional, tag = "18")]
    pub total_mapped_file: Option<u64>,
    /// Pages charged, events, with all groups below.
    #[prost(uint64, optional, tag = "19")]
    pub total_pgpgin: Option<u64>,
    /// Pages uncharged, events, with all groups below.
    #[prost(uint64, optional, tag = "20")]
    pub total_pgpgout: Option<u64>,
    /// Swap, with all groups below.
    #[prost(uint64, optional, tag = "21")]
    pub total_swap: Option<u64>,
    /// Page faults, events, with all groups below.
    #[prost(uint64, optional, tag = "22")]
    pub total_pgfault: Option<u64>,
    /// Page faults that read from disk, events, with all groups below.
    #[prost(uint64, optional, tag = "23")]
    pub total_pgmajfault: Option<u64>,
    /// Anonymous memory, inactive, with all groups below.
    #[prost(uint64, optional, tag = "24")]
    pub total_inactive_anon: Option<u64>,
    /// Anonymous memory, active, with all groups below.
    #[prost(uint64, optional, tag = "25")]
    pub total_active_anon: Option<u64>,
    /// Page cache, inactive, with all groups below.
    #[prost(uint64, optional, tag = "26")]
    pub total_inactive_file: Option<u64>,
    /// Page cache, active, with all groups below.
    #[prost(uint64, optional, tag = "27")]
    pub total_active_file: Option<u64>,
    /// Memory that cannot be reclaimed, with all groups below.
    #[prost(uint64, optional, tag = "28")]
    pub total_unevictable: Option<u64>,
}

/// Processor time.
#[derive(Clone, PartialEq, Message)]
pub struct CpuStat {
    /// Nanoseconds in all.
    #[prost(uint64, optional, tag = "1")]
    pub usage: Option<u64>,
    /// Ticks (1/100 s) in user mode.
    #[prost(uint64, optional, tag = "2")]
    pub user: Option<u64>,
    /// Ticks (1/100 s) in the kernel.
    #[prost(uint64, optional, tag = "3")]
    pub system: Option<u64>,
}

/// Disk.
#[derive(Clone, PartialEq, Message)]
pub struct DiskStat {
    /// Bytes that the container's own files take.
    #[prost(uint64, optional, tag = "1")]
    pub bytes_used: Option<u64>,
    /// Files and directories of its own.
    #[prost(uint64, optional, tag = "2")]
    pub inodes_used: Option<u64>,
}

/// Network rates, in bytes per second and bytes; 4294967295 for no limit.
#[derive(Clone, PartialEq, Message)]
pub struct BandwidthStat {
    /// Rate into the container.
    #[prost(uint64, optional, tag = "1")]
    pub in_rate: Option<u64>,
    /// Burst into the container.
    #[prost(uint64, optional, tag = "2")]
    pub in_burst: Option<u64>,
    /// Rate out of the container.
    #[prost(uint64, optional, tag = "3")]
    pub out_rate: Option<u64>,
    /// Burst out of the container.
    #[prost(uint64, optional, tag = "4")]
    pub out_burst: Option<u64>,
}

/// Ours: what has gone over a container's link, in bytes since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct NetworkStat {
    /// Into the container.
    #[prost(uint64, optional, tag = "1")]
    pub received_bytes: Option<u64>,
    /// Out of the container.
    #[prost(uint64, optional, tag = "2")]
    pub sent_bytes: Option<u64>,
}

/// Ours: how long processes have waited for a resource (Documentation/accounting/psi.rst). Missing where the kernel
/// does not tell by container: cgroup v1, or no CONFIG_PSI.
#[derive(Clone, PartialEq, Message)]
pub struct Pressures {
    /// For a processor.
    #[prost(message, optional, tag = "1")]
    pub cpu: Option<Pressure>,
    /// For memory.
    #[prost(message, optional, tag = "2")]
    pub memory: Option<Pressure>,
    /// For the disk.
    #[prost(message, optional, tag = "3")]
    pub io: Option<Pressure>,
}

/// Shares of time in hundredths of a percent, and sums in microseconds. *Some*: at least one process waited. *Full*: all
/// did at once.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Pressure {
    /// Some, of the last 10 s.
    #[prost(uint32, optional, tag = "1")]
    pub some_10: Option<u32>,
    /// Some, of the last 60 s.
    #[prost(uint32, optional, tag = "2")]
    pub some_60: Option<u32>,
    /// Some, of the last 300 s.
    #[prost(uint32, optional, tag = "3")]
    pub some_300: Option<u32>,
    /// Some, in all, microseconds.
    #[prost(uint64, optional, tag = "4")]
    pub some_total_us: Option<u64>,
    /// Full, of the last 10 s.
    #[prost(uint32, optional, tag = "5")]
    pub full_10: Option<u32>,
    /// Full, of the last 60 s.
    #[prost(uint32, optional, tag = "6")]
    pub full_60: Option<u32>,
    /// Full, of the last 300 s.
    #[prost(uint32, optional, tag = "7")]
    pub full_300: Option<u32>,
    /// Full, in all, microseconds.
    #[prost(uint64, optional, tag = "8")]
    pub full_total_us: Option<u64>,
}

/// Ours: what happened when a container ran out of memory.
#[derive(Clone, PartialEq, Message)]
pub struct OutOfMemory {
    /// The memory limit that it met, bytes.
    #[prost(uint64, optional, tag = "1")]
    pub limit_bytes: Option<u64>,
    /// The most memory that it had, bytes.
    #[prost(uint64, optional, tag = "2")]
    pub peak_bytes: Option<u64>,
    /// The job whose process the kernel killed, when it could be told.
    #[prost(uint32, optional, tag = "3")]
    pub victim_job: Option<u32>,
    /// Name of the killed process's program, when it could be told.
    #[prost(string, optional, tag = "4")]
    pub victim: Option<String>,
    /// Resident memory of the killed process, bytes, when it could be told.
    #[prost(uint64, optional, tag = "5")]
    pub victim_bytes: Option<u64>,
    /// Seconds since the epoch.
    #[prost(uint64, optional, tag = "6")]
    pub at: Option<u64>,
}

//! A container's life: create, stop, destroy, info.

use super::{BandwidthStat, CpuStat, DiskStat, Limits, MemoryStat, NetworkStat, OutOfMemory, Pressures};
use prost::{Enumeration, Message};

/// A grace time that never ends: the container lives until it is destroyed.
pub const GRACE_NEVER: u32 = u32::MAX;

/// How a bind mount may be used from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum BindMode {
    /// Read only.
    Ro = 0,
    /// Read and write.
    Rw = 1,
}

/// A file or directory of the host, seen inside the container.
#[derive(Clone, PartialEq, Message)]
pub struct BindMount {
    /// Path on the host.
    #[prost(string, required, tag = "1")]
    pub src_path: String,
    /// Path inside the container; made when missing.
    #[prost(string, required, tag = "2")]
    pub dst_path: String,
    /// See [`BindMode`].
    #[prost(enumeration = "BindMode", required, tag = "3")]
    pub mode: i32,
    /// Ours: whether the container's ordinary user stands for the owner of the source, so that what it makes there
    /// belongs to that owner on the host, whatever uids the container has. Everybody else of the container, its root
    /// too, is nobody there. The source must belong to the client.
    #[prost(bool, optional, tag = "101")]
    pub owned: Option<bool>,
}

impl BindMount {
    /// A bind mount of a host path, of directory or file.
    pub fn new(src_path: impl Into<String>, dst_path: impl Into<String>, mode: BindMode) -> Self {
        BindMount { src_path: src_path.into(), dst_path: dst_path.into(), mode: mode.into(), owned: None }
    }

    /// A directory of the client's own that outlives the container: see [`BindMount::owned`].
    pub fn volume(src_path: impl Into<String>, dst_path: impl Into<String>) -> Self {
        BindMount { owned: Some(true), ..Self::new(src_path, dst_path, BindMode::Rw) }
    }
}

/// Makes a container.
#[derive(Clone, PartialEq, Message)]
pub struct CreateRequest {
    /// Host paths to show inside.
    #[prost(message, repeated, tag = "1")]
    pub bind_mounts: Vec<BindMount>,
    /// Seconds without a connection that has referred to the container after which it is destroyed; the
    /// server's default when missing, [`GRACE_NEVER`] for never.
    #[prost(uint32, optional, tag = "2")]
    pub grace_time: Option<u32>,
    /// Name by which later requests refer to it, any text; the server makes one when missing.
    #[prost(string, optional, tag = "3")]
    pub handle: Option<String>,
    /// The /30 of the server's pool that it shall have, as `a.b.c.d` or `a.b.c.d/30`; any free one when missing.
    #[prost(string, optional, tag = "4")]
    pub network: Option<String>,
    /// Root filesystem: a directory, or (ours) an EROFS image file; the server's default when missing.
    #[prost(string, optional, tag = "5")]
    pub rootfs: Option<String>,
    /// Ours: bytes of disk that the container may use from its start; the server's default when missing.
    #[prost(uint64, optional, tag = "101")]
    pub disk_bytes: Option<u64>,
    /// Ours: read-only layers laid over `rootfs`, topmost first, each a directory or an EROFS image file. This is
    /// how a droplet's image becomes part of an instance's root.
    #[prost(string, repeated, tag = "102")]
    pub layers: Vec<String>,
    /// Ours: what clients want to know of it again; see [`super::ListRequest::properties`]. A name is given once.
    #[prost(message, repeated, tag = "103")]
    pub properties: Vec<Property>,
    /// Ours: limits that hold from its start. A `disk_bytes` in them wins over [`CreateRequest::disk_bytes`].
    #[prost(message, optional, tag = "104")]
    pub limits: Option<Limits>,
    /// Ours: no way out of its network namespace, which has a loopback link alone: no address of the pool is taken, and
    /// `net_in`, `net_out` and `limit_bandwidth` are refused.
    #[prost(bool, optional, tag = "105")]
    pub no_network: Option<bool>,
    /// Ours: no writable layer. The root is what `rootfs` and `layers` are, and nobody can change it; `/dev/shm`,
    /// `/run` and `/tmp` are in memory.
    #[prost(bool, optional, tag = "106")]
    pub read_only: Option<bool>,
    /// Ours: its host name; its internal name when missing. At most 64 bytes.
    #[prost(string, optional, tag = "107")]
    pub hostname: Option<String>,
}

/// A name and a value that a client keeps with a container.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Property {
    /// At most 256 bytes, not empty.
    #[prost(string, required, tag = "1")]
    pub name: String,
    /// At most 64 KiB.
    #[prost(string, required, tag = "2")]
    pub value: String,
}

/// Ours: sets a property of a container, or removes it where there is no value.
#[derive(Clone, PartialEq, Message)]
pub struct SetPropertyRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// The property's name.
    #[prost(string, required, tag = "2")]
    pub name: String,
    /// Its value; removed when missing. Removing one that is not there is an error.
    #[prost(string, optional, tag = "3")]
    pub value: Option<String>,
}

/// The property is set or removed.
#[derive(Clone, PartialEq, Message)]
pub struct SetPropertyResponse {}

/// Ours: asks what a container was made of.
#[derive(Clone, PartialEq, Message)]
pub struct InspectRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
}

/// What the kernel was told.
#[derive(Clone, PartialEq, Message)]
pub struct InspectResponse {
    /// An OCI runtime specification 1.2 in JSON, with what it has no words for in `annotations`.
    #[prost(string, required, tag = "1")]
    pub spec: String,
}

/// The container is ready.
#[derive(Clone, PartialEq, Message)]
pub struct CreateResponse {
    /// Its handle.
    #[prost(string, required, tag = "1")]
    pub handle: String,
}

/// Ends every process of a container but keeps the container. SIGTERM, up to 10 s, SIGKILL.
#[derive(Clone, PartialEq, Message)]
pub struct StopRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// Answer at once, stop afterwards.
    #[prost(bool, optional, tag = "10", default = "false")]
    pub background: Option<bool>,
    /// SIGKILL at once.
    #[prost(bool, optional, tag = "20", default = "false")]
    pub kill: Option<bool>,
}

/// The container is stopped, or is being stopped in the background.
#[derive(Clone, PartialEq, Message)]
pub struct StopResponse {}

/// Ends a container and everything that belongs to it.
#[derive(Clone, PartialEq, Message)]
pub struct DestroyRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
}

/// Nothing of the container is left.
#[derive(Clone, PartialEq, Message)]
pub struct DestroyResponse {}

/// Asks how a container is.
#[derive(Clone, PartialEq, Message)]
pub struct InfoRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
}

/// How a container is.
#[derive(Clone, PartialEq, Message)]
pub struct InfoResponse {
    /// `born`, `active`, `stopped` or `destroyed`.
    #[prost(string, optional, tag = "10")]
    pub state: Option<String>,
    /// What has happened: `out of memory`, `command exceeded maximum output`, failures in jobs.
    #[prost(string, repeated, tag = "20")]
    pub events: Vec<String>,
    /// Address of the host's end of its link.
    #[prost(string, optional, tag = "30")]
    pub host_ip: Option<String>,
    /// Address of the container.
    #[prost(string, optional, tag = "31")]
    pub container_ip: Option<String>,
    /// The container's directory on the host.
    #[prost(string, optional, tag = "32")]
    pub container_path: Option<String>,
    /// Memory.
    #[prost(message, optional, tag = "40")]
    pub memory_stat: Option<MemoryStat>,
    /// Processor time.
    #[prost(message, optional, tag = "41")]
    pub cpu_stat: Option<CpuStat>,
    /// Disk.
    #[prost(message, optional, tag = "42")]
    pub disk_stat: Option<DiskStat>,
    /// Network rates.
    #[prost(message, optional, tag = "43")]
    pub bandwidth_stat: Option<BandwidthStat>,
    /// Jobs that are running.
    #[prost(uint64, repeated, packed = "false", tag = "44")]
    pub job_ids: Vec<u64>,
    /// Ours: processes that the kernel has killed in it for lack of memory.
    #[prost(uint64, optional, tag = "100")]
    pub oom_kills: Option<u64>,
    /// Ours: processes and threads that it has now.
    #[prost(uint64, optional, tag = "101")]
    pub processes: Option<u64>,
    /// Ours: `hostport:containerport` of every port that is mapped into it.
    #[prost(string, repeated, tag = "102")]
    pub ports: Vec<String>,
    /// Ours: what clients keep with it, by name.
    #[prost(message, repeated, tag = "103")]
    pub properties: Vec<Property>,
    /// Ours: how long its processes wait for what they need.
    #[prost(message, optional, tag = "104")]
    pub pressures: Option<Pressures>,
    /// Ours: set when the kernel has killed one of its processes for lack of memory.
    #[prost(message, optional, tag = "105")]
    pub out_of_memory: Option<OutOfMemory>,
    /// Ours: every limit that holds.
    #[prost(message, optional, tag = "106")]
    pub limits: Option<Limits>,
    /// Ours: seconds since the epoch when it was made.
    #[prost(uint64, optional, tag = "107")]
    pub created_at: Option<u64>,
    /// Ours: what has gone over its link; missing where it has none.
    #[prost(message, optional, tag = "108")]
    pub network_stat: Option<NetworkStat>,
}

//! The warden socket's protocol: frames and protobuf messages.
//!
//! Tags, types and meanings are those of the historic `warden-protocol` gem, so that a historic client works
//! unchanged. What is ours has a tag of 100 or more and is optional: leaving it out gives the historic meaning.
//!
//! - [`frame`]: length-prefixed frames around an [`Envelope`]
//! - [`container`], [`job`], [`network`], [`copy`], [`limit`], [`server`]: one module per group of operations
//! - [`stats`]: the figures of an [`InfoResponse`]
//! - [`Request`]: what ties a request to its type number and its response

pub mod container;
pub mod copy;
pub mod frame;
pub mod job;
pub mod limit;
pub mod network;
pub mod server;
pub mod stats;

mod envelope;

pub use container::{
    BindMode, BindMount, CreateRequest, CreateResponse, DestroyRequest, DestroyResponse, GRACE_NEVER,
    InfoRequest, InfoResponse, InspectRequest, InspectResponse, Property, SetPropertyRequest,
    SetPropertyResponse, StopRequest, StopResponse,
};
pub use copy::{CopyInRequest, CopyInResponse, CopyOutRequest, CopyOutResponse};
pub use envelope::{Envelope, ErrorResponse, Request, Type};
pub use job::{
    InputRequest, InputResponse, LinkRequest, LinkResponse, ResizeRequest, ResizeResponse, ResourceLimits,
    RunRequest, RunResponse, SignalRequest, SignalResponse, SpawnRequest, SpawnResponse, StreamRequest,
    StreamResponse, WindowSize,
};
pub use limit::{
    IoLimit, LimitBandwidthRequest, LimitBandwidthResponse, LimitCpuRequest, LimitCpuResponse,
    LimitDiskRequest, LimitDiskResponse, LimitMemoryRequest, LimitMemoryResponse, LimitRequest,
    LimitResponse, Limits,
};
pub use network::{NetInRequest, NetInResponse, NetOutRequest, NetOutResponse, Protocol};
pub use server::{EchoRequest, EchoResponse, ListRequest, ListResponse, PingRequest, PingResponse};
pub use stats::{
    BandwidthStat, CpuStat, DiskStat, MemoryStat, NetworkStat, OutOfMemory, Pressure, Pressures,
};

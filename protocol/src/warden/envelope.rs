//! What every frame carries: a type number and the encoded message.

use prost::Message;

/// The number of a message on the wire. A response has the number of its request, an error has
/// [`Type::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Type {
    /// [`ErrorResponse`], in place of the response of any request.
    Error = 1,
    /// [`super::CreateRequest`].
    Create = 11,
    /// [`super::StopRequest`].
    Stop = 12,
    /// [`super::DestroyRequest`].
    Destroy = 13,
    /// [`super::InfoRequest`].
    Info = 14,
    /// [`super::SpawnRequest`].
    Spawn = 21,
    /// [`super::LinkRequest`].
    Link = 22,
    /// [`super::RunRequest`].
    Run = 23,
    /// [`super::StreamRequest`].
    Stream = 24,
    /// [`super::NetInRequest`].
    NetIn = 31,
    /// [`super::NetOutRequest`].
    NetOut = 32,
    /// [`super::CopyInRequest`].
    CopyIn = 41,
    /// [`super::CopyOutRequest`].
    CopyOut = 42,
    /// [`super::LimitMemoryRequest`].
    LimitMemory = 51,
    /// [`super::LimitDiskRequest`].
    LimitDisk = 52,
    /// [`super::LimitBandwidthRequest`].
    LimitBandwidth = 53,
    /// [`super::LimitCpuRequest`].
    LimitCpu = 54,
    /// [`super::PingRequest`].
    Ping = 91,
    /// [`super::ListRequest`].
    List = 92,
    /// [`super::EchoRequest`].
    Echo = 93,
    /// Ours: [`super::LimitRequest`].
    Limit = 101,
    /// Ours: [`super::SetPropertyRequest`].
    SetProperty = 102,
    /// Ours: [`super::InspectRequest`].
    Inspect = 103,
    /// Ours: [`super::SignalRequest`].
    Signal = 104,
    /// Ours: [`super::InputRequest`].
    Input = 105,
    /// Ours: [`super::ResizeRequest`].
    Resize = 106,
}

/// The content of one frame. The historic name of this message is `Message`.
#[derive(Clone, PartialEq, Message)]
pub struct Envelope {
    /// Which message `payload` is.
    #[prost(enumeration = "Type", required, tag = "1")]
    pub r#type: i32,
    /// The encoded message.
    #[prost(bytes = "bytes", required, tag = "2")]
    pub payload: bytes::Bytes,
}

impl Envelope {
    /// Wraps an encoded message.
    pub fn new(r#type: Type, message: &impl Message) -> Self {
        Envelope { r#type: r#type.into(), payload: message.encode_to_vec().into() }
    }

    /// The type number as a [`Type`]; the number itself where it is not one of ours.
    pub fn kind(&self) -> Result<Type, i32> {
        Type::try_from(self.r#type).map_err(|_| self.r#type)
    }
}

/// A request: its type number and its response.
pub trait Request: Message + Default {
    /// The number on the wire, of the request and of its response.
    const TYPE: Type;
    /// What the server answers; several times for [`super::StreamRequest`].
    type Response: Message + Default;
}

/// A refused or failed request. The connection stays open.
#[derive(Clone, PartialEq, Message)]
pub struct ErrorResponse {
    /// What failed, on what, and why: for people.
    #[prost(string, optional, tag = "2")]
    pub message: Option<String>,
    /// Where it happened; we send none.
    #[prost(string, repeated, tag = "3")]
    pub backtrace: Vec<String>,
    /// Free text of the historic server; we send none.
    #[prost(string, optional, tag = "4")]
    pub data: Option<String>,
}

/// Ties each request to its type and its response.
macro_rules! requests {
    ($($request:ty => $kind:ident, $response:ty;)*) => {
        $(impl Request for $request {
            const TYPE: Type = Type::$kind;
            type Response = $response;
        })*
    };
}

requests! {
    super::CreateRequest => Create, super::CreateResponse;
    super::StopRequest => Stop, super::StopResponse;
    super::DestroyRequest => Destroy, super::DestroyResponse;
    super::InfoRequest => Info, super::InfoResponse;
    super::SpawnRequest => Spawn, super::SpawnResponse;
    super::LinkRequest => Link, super::LinkResponse;
    super::RunRequest => Run, super::RunResponse;
    super::StreamRequest => Stream, super::StreamResponse;
    super::NetInRequest => NetIn, super::NetInResponse;
    super::NetOutRequest => NetOut, super::NetOutResponse;
    super::CopyInRequest => CopyIn, super::CopyInResponse;
    super::CopyOutRequest => CopyOut, super::CopyOutResponse;
    super::LimitMemoryRequest => LimitMemory, super::LimitMemoryResponse;
    super::LimitDiskRequest => LimitDisk, super::LimitDiskResponse;
    super::LimitBandwidthRequest => LimitBandwidth, super::LimitBandwidthResponse;
    super::LimitCpuRequest => LimitCpu, super::LimitCpuResponse;
    super::PingRequest => Ping, super::PingResponse;
    super::ListRequest => List, super::ListResponse;
    super::EchoRequest => Echo, super::EchoResponse;
    super::LimitRequest => Limit, super::LimitResponse;
    super::SetPropertyRequest => SetProperty, super::SetPropertyResponse;
    super::InspectRequest => Inspect, super::InspectResponse;
    super::SignalRequest => Signal, super::SignalResponse;
    super::InputRequest => Input, super::InputResponse;
    super::ResizeRequest => Resize, super::ResizeResponse;
}

//! The server itself.

use super::Property;
use prost::Message;

/// Asks whether the server is there.
#[derive(Clone, PartialEq, Message)]
pub struct PingRequest {}

/// It is.
#[derive(Clone, PartialEq, Message)]
pub struct PingResponse {}

/// Asks for every container.
#[derive(Clone, PartialEq, Message)]
pub struct ListRequest {
    /// Ours: only containers that have all of these properties with these values.
    #[prost(message, repeated, tag = "100")]
    pub properties: Vec<Property>,
}

/// Every container.
#[derive(Clone, PartialEq, Message)]
pub struct ListResponse {
    /// Their handles, sorted.
    #[prost(string, repeated, tag = "1")]
    pub handles: Vec<String>,
}

/// Asks for its own text.
#[derive(Clone, PartialEq, Message)]
pub struct EchoRequest {
    /// Any text.
    #[prost(string, required, tag = "1")]
    pub message: String,
}

/// The text.
#[derive(Clone, PartialEq, Message)]
pub struct EchoResponse {
    /// As it was sent.
    #[prost(string, required, tag = "1")]
    pub message: String,
}

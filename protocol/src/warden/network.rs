//! A container's network: ports in, destinations out.

use prost::{Enumeration, Message};

/// Which traffic a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Protocol {
    /// TCP: the default.
    Tcp = 0,
    /// UDP.
    Udp = 1,
    /// ICMP.
    Icmp = 2,
    /// Any protocol.
    All = 3,
}

/// Maps a port of the host into a container.
#[derive(Clone, PartialEq, Message)]
pub struct NetInRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// Port inside; the host's port when missing.
    #[prost(uint32, optional, tag = "2")]
    pub container_port: Option<u32>,
    /// Port of the host; one of the server's pool when missing.
    #[prost(uint32, optional, tag = "3")]
    pub host_port: Option<u32>,
}

/// The ports that are mapped.
#[derive(Clone, PartialEq, Message)]
pub struct NetInResponse {
    /// Port of the host.
    #[prost(uint32, required, tag = "1")]
    pub host_port: u32,
    /// Port inside.
    #[prost(uint32, required, tag = "2")]
    pub container_port: u32,
}

/// Lets a container reach a destination. At least one of network, port and range must be given.
#[derive(Clone, PartialEq, Message)]
pub struct NetOutRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// An address, a CIDR network, or `first-last`; any address when missing.
    #[prost(string, optional, tag = "2")]
    pub network: Option<String>,
    /// One port.
    #[prost(uint32, optional, tag = "3")]
    pub port: Option<u32>,
    /// `first:last`; wins over `port`.
    #[prost(string, optional, tag = "4")]
    pub port_range: Option<String>,
    /// See [`Protocol`]; TCP when missing.
    #[prost(enumeration = "Protocol", optional, tag = "5")]
    pub protocol: Option<i32>,
    /// ICMP type; -1 or missing for any.
    #[prost(int32, optional, tag = "6")]
    pub icmp_type: Option<i32>,
    /// ICMP code; -1 or missing for any.
    #[prost(int32, optional, tag = "7")]
    pub icmp_code: Option<i32>,
    /// Log new TCP connections that this rule allows.
    #[prost(bool, optional, tag = "8")]
    pub log: Option<bool>,
}

/// The destination can be reached.
#[derive(Clone, PartialEq, Message)]
pub struct NetOutResponse {}

//! Files between host and container, by rsync's rule: `dir/` is what is in the directory, `dir` is the directory.

use prost::Message;

/// Copies from the host into a container, as its user `vcap`.
#[derive(Clone, PartialEq, Message)]
pub struct CopyInRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// Path on the host.
    #[prost(string, required, tag = "2")]
    pub src_path: String,
    /// Path in the container.
    #[prost(string, required, tag = "3")]
    pub dst_path: String,
}

/// The files are there.
#[derive(Clone, PartialEq, Message)]
pub struct CopyInResponse {}

/// Copies from a container to the host.
#[derive(Clone, PartialEq, Message)]
pub struct CopyOutRequest {
    /// The container.
    #[prost(string, required, tag = "1")]
    pub handle: String,
    /// Path in the container.
    #[prost(string, required, tag = "2")]
    pub src_path: String,
    /// Path on the host.
    #[prost(string, required, tag = "3")]
    pub dst_path: String,
    /// `user:group` of the host that shall own the copies; the server's user when missing.
    #[prost(string, optional, tag = "4")]
    pub owner: Option<String>,
}

/// The files are there.
#[derive(Clone, PartialEq, Message)]
pub struct CopyOutResponse {}

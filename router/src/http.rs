//! HTTP/1.1, strictly: what two parsers could read differently is refused.
//!
//! - [`scan`]: where a head ends, and that its lines end as they must
//! - [`fields`], [`request`], [`response`]: heads, checked
//! - [`chunked`], [`body`]: bodies, decoded piece by piece. Pure
//! - [`wire`]: reading and writing with deadlines, and the pump between two connections

pub(crate) mod body;
pub(crate) mod chunked;
pub(crate) mod fields;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod scan;
pub(crate) mod wire;

//! The HTTP API, the desired state, placement and blobs.

//! Leases: who of several components acts. They are kept in a bucket of JetStream's key-value store, one key for
//! each kind of component; whoever can write its key holds the lease.

use serde::{Deserialize, Serialize};

/// The bucket that holds all leases.
pub const BUCKET: &str = "cupola-leases";

/// What is leased: a key of the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leased {
    /// Being the health manager that asks for starts and stops.
    HealthManager,
}

impl Leased {
    /// The key.
    pub fn key(self) -> &'static str {
        match self {
            Self::HealthManager => "health-manager",
        }
    }
}

/// The value of a key: who holds the lease. The key is deleted when it is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The holder, as in its `vcap.component.announce`: `<index>-<uuid>`.
    pub uuid: String,
}

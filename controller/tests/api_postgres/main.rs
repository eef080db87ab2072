//! The suite of `tests/api` once more, with the rows in a real PostgreSQL.

#[path = "../api/acting.rs"]
mod acting;
#[path = "../api/bits.rs"]
mod bits;
#[path = "../api/broker.rs"]
mod broker;
#[path = "../api/fakes.rs"]
mod fakes;
#[path = "../api/login.rs"]
mod login;
#[path = "../api/orphans.rs"]
mod orphans;
#[path = "../api/platform.rs"]
mod platform;
#[path = "../api/push.rs"]
mod push;
#[path = "../api/recovery.rs"]
mod recovery;
#[path = "../api/refusals.rs"]
mod refusals;
#[path = "../api/services.rs"]
mod services;
#[path = "../api/status.rs"]
mod status;

/// Where the rows are.
const ON_POSTGRES: bool = true;

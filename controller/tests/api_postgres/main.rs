//! The suite of `tests/api` once more, with the rows in a real PostgreSQL; and what only that allows: several
//! controllers.

#[path = "../api/acting.rs"]
mod acting;
#[path = "../api/bits.rs"]
mod bits;
#[path = "../api/broker.rs"]
mod broker;
#[path = "../api/brokers.rs"]
mod brokers;
#[path = "../api/fakes.rs"]
mod fakes;
#[path = "../api/files.rs"]
mod files;
#[path = "../api/login.rs"]
mod login;
#[path = "../api/orphans.rs"]
mod orphans;
#[path = "../api/platform.rs"]
mod platform;
#[path = "../api/push.rs"]
mod push;
#[path = "../api/quotas.rs"]
mod quotas;
#[path = "../api/recovery.rs"]
mod recovery;
#[path = "../api/refusals.rs"]
mod refusals;
#[path = "../api/services.rs"]
mod services;
#[path = "../api/several.rs"]
mod several;
#[path = "../api/status.rs"]
mod status;
#[path = "../api/tenancy/mod.rs"]
mod tenancy;
#[path = "../api/users.rs"]
mod users;

/// Where the rows are.
const ON_POSTGRES: bool = true;

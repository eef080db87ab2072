//! The controller as its clients, nodes and stagers meet it: a real server, a real nats-server, and a stager and
//! nodes that behave; rows in SQLite. The same suite on PostgreSQL: `tests/api_postgres`.

mod acting;
mod bits;
mod broker;
mod brokers;
mod fakes;
mod files;
mod login;
mod orphans;
mod platform;
mod push;
mod quotas;
mod recovery;
mod refusals;
mod services;
mod status;
mod tenancy;
mod users;

/// Where the rows are.
const ON_POSTGRES: bool = false;

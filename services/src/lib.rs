//! Services for apps: PostgreSQL and Redis, each instance in a container of its own.
//!
//! - [`gateway`]: an Open Service Broker. It takes requests over HTTP, chooses a node, and knows what it has given out
//! - [`node`]: runs the servers, each with its own container, memory limit, volume and port; one file per engine
//!
//! The two meet on the bus alone, with the historic messages (`cupola_protocol::services`): there may be any number of
//! nodes, and either side may be restarted at any moment.

mod address;
mod files;
pub mod gateway;
pub mod node;
mod plan;
mod secret;

//! A service gateway: an Open Service Broker whose services run on nodes.
//!
//! - [`Config`], [`Error`], [`bind()`], [`Server`]: the component
//! - `rules`: what a request leads to, given what is known (pure); `nodes`: which node (pure); `orphans`: what nobody
//!   knows (pure)
//! - `record`: what is known of instances and bindings, on disk
//! - `broker`: carries out what the rules say, with the nodes; `http`: the API's endpoints
//! - `catalog`, `registration`: what is offered, and how the controller hears of it

mod broker;
mod catalog;
mod config;
mod error;
mod figures;
mod http;
mod nodes;
mod orphans;
mod record;
mod registration;
mod rules;
mod server;

pub use config::{Config, Plan};
pub use error::Error;
pub use server::{Server, bind};

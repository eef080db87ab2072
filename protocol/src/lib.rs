//! What the components say to each other: messages and their subjects, ids, sizes, the warden socket's
//! messages and the HTTP API's types. Data alone: no I/O, no async runtime, no NATS client.
//!
//! - [`ids`], [`size`]: newtypes, so that an app is never taken for an instance nor megabytes for bytes
//! - [`message`]: what a message on the bus is, and [`Subject`]
//! - [`dea`], [`droplet`], [`staging`], [`router`], [`health`], [`component`], [`logs`], [`controller`]: one
//!   module per conversation; each spells its own subjects, and nobody else spells any
//! - [`services`], [`osb`]: service nodes on the bus, and the Open Service Broker API
//! - [`lease`]: who of several acts, in JetStream's key-value store
//! - [`api`]: the HTTP API's types, shared by the controller and its clients
//! - [`vcap`]: what apps are told of their services
//! - [`warden`]: frames and messages of the warden socket
//!
//! Every message has a golden JSON file in `tests/golden/`: the historic Cloud Foundry components' field names
//! are the contract, our additions are optional fields.

pub mod api;
pub mod component;
pub mod controller;
pub mod dea;
pub mod droplet;
pub mod health;
pub mod ids;
pub mod lease;
pub mod logs;
pub mod message;
pub mod osb;
pub mod router;
pub mod services;
pub mod size;
pub mod staging;
pub mod vcap;
pub mod warden;

pub use ids::{
    AppId, DeaId, InstanceId, OfferingId, PlanId, RouterId, ServiceBindingId, ServiceInstanceId,
    ServiceNodeId, StagerId, TaskId, Version,
};
pub use message::{Event, Message, Request, Subject};
pub use size::{Bytes, Mebibytes};

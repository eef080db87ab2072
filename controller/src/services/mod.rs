//! Service brokers: what is asked of them, and what their answers mean.
//!
//! Everything that is asked of a broker is a row first (an *operation*), and is done by whichever controller claims it,
//! so that nothing is lost with a controller.
//!
//! - `decide`: what to do after an answer; pure, as the specification has it, orphan mitigation included
//! - `catalog`: whether a catalog can be used; pure
//! - `requests`: what is sent for an operation; pure
//! - `client`: HTTP to a broker, with limits of time and size
//! - `begin`: makes operations; `work`: claims them, and carries them out
//! - `manifest`: binds what manifests name; `environment`: what apps get of their bindings; `register`: gateways on the bus

mod begin;
mod catalog;
mod client;
mod config;
mod decide;
mod environment;
mod manifest;
mod register;
mod requests;
mod work;

pub(crate) use begin::{
    Begun, NewBinding, already_bound, broker_name_taken, busy_binding, busy_instance, check_bindable,
    key_taken, name_taken,
};
pub(crate) use client::{Brokers, Call};
pub(crate) use decide::{Answer, Kind, Phase, fetched};
pub(crate) use manifest::PlannedBinding;
pub(crate) use register::{ADMINISTRATOR, check_broker, take_gateway};
pub(crate) use requests::{BrokerChange, InstanceChange, Wish};
pub(crate) use work::work;

pub use config::ServicesConfig;

use tokio::sync::{Notify, Semaphore};

/// What the tasks and requests that have to do with brokers share.
pub(crate) struct Services {
    /// The HTTP client.
    pub brokers: Brokers,
    /// Told when there is a new operation, or when one has ended.
    pub changed: Notify,
    /// One permit per operation that is being carried out.
    pub slots: Semaphore,
}

impl Services {
    pub(crate) fn new(config: &ServicesConfig) -> Self {
        Self {
            brokers: Brokers::new(config),
            changed: Notify::new(),
            slots: Semaphore::new(config.operations_at_once),
        }
    }
}

//! What every instance of this agent shares.

use crate::{
    Config, crashes::Crashes, droplets::Droplets, figures::Figures, files::Directory, instance::Outputs,
    resources::Capacity,
};
use cupola_bus::Bus;
use cupola_protocol::{DeaId, Event, InstanceId, Message, Subject};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use warden_client::Client;

/// How long a message may wait for the bus. Whatever is lost, heartbeats and registrations tell it again.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// What every instance of this agent shares.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) id: DeaId,
    pub(crate) bus: Bus,
    pub(crate) warden: Client,
    pub(crate) stacks: rootfs::Store,
    pub(crate) droplets: Droplets,
    pub(crate) capacity: Capacity,
    pub(crate) figures: Figures,
    /// What is kept of crashed instances.
    pub(crate) crashes: Crashes,
    /// The last output of each instance.
    pub(crate) outputs: Outputs,
    /// Where files are served.
    pub(crate) directory: Directory,
}

impl Node {
    /// Name of an instance's container.
    pub(crate) fn handle(&self, instance: &InstanceId) -> String {
        format!("{}{instance}", self.handle_prefix())
    }

    /// What the names of all our containers begin with, and nobody else's.
    pub(crate) fn handle_prefix(&self) -> String {
        let id: String = self.id.as_str().chars().take(8).collect();
        format!("dea-{id}-")
    }

    /// Publishes an event; a bus that is away is a warning.
    pub(crate) async fn publish<E: Event>(&self, event: &E) {
        self.publish_to(&Subject::of::<E>(), event).await;
    }

    /// The same on a subject that is made from an id.
    pub(crate) async fn publish_to<M: Message>(&self, subject: &Subject, message: &M) {
        match tokio::time::timeout(PUBLISH_TIMEOUT, self.bus.publish_to(subject, message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%subject, error = &error as &dyn std::error::Error, "cannot publish");
            }
            Err(_) => tracing::warn!(%subject, "cannot publish: the bus takes nothing"),
        }
    }
}

/// Now, in seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

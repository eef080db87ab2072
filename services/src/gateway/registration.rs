//! How the controller hears of the gateway.

use cupola_bus::{Bus, Error as BusError};
use cupola_protocol::{
    message::Subject,
    services::{BrokerRegistered, RegisterBroker},
};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long a controller may take: it fetches the catalog before it answers.
const LIMIT: Duration = Duration::from_secs(30);

/// Pause after a registration that has failed: a controller comes up within seconds.
const AGAIN: Duration = Duration::from_secs(2);

/// Registers at once, and then again and again: a controller that is new, or has lost its database, hears of it.
pub(crate) async fn keep(bus: Bus, request: RegisterBroker, interval: Duration, shutdown: CancellationToken) {
    let mut said = None;
    loop {
        let failed = match bus.request(&Subject::of::<RegisterBroker>(), &request, LIMIT).await {
            Ok(BrokerRegistered { error }) => error,
            Err(BusError::NoResponders { .. }) => Some("no controller listens".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        // News alone is worth a line.
        if said.as_ref() != Some(&failed) {
            match &failed {
                None => {
                    tracing::info!(name = request.name, url = request.url, "registered with the controller")
                }
                Some(why) => {
                    tracing::warn!(name = request.name, why, "not registered with the controller; trying on")
                }
            }
        }
        let pause = if failed.is_some() { AGAIN.min(interval) } else { interval };
        said = Some(failed);
        tokio::select! {
            () = sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

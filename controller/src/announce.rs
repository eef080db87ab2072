//! What routers are told: the addresses of the API, and which routes exist.

use crate::{context::Shared, store};
use cupola_protocol::{
    InstanceId,
    message::Subject,
    router::{Greet, KnownRoutes, Register, Start, Unregister},
};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// How often all routes are told without a change.
const KNOWN_ROUTES_PERIOD: Duration = Duration::from_secs(30);

/// Names under the platform's domain that the controller answers to.
pub(crate) const OWN_HOSTS: [&str; 4] = ["api", "login", "uaa", "log-cache"];

/// The controller's own addresses.
pub(crate) fn own_uris(domain: &str) -> Vec<String> {
    OWN_HOSTS.iter().map(|host| format!("{host}.{domain}")).collect()
}

/// Registers the API with the routers, at the pace that they ask for, until shutdown.
pub(crate) async fn register(context: Shared, address: SocketAddr) {
    let registration = Register {
        host: address.ip().to_string(),
        port: address.port(),
        uris: own_uris(&context.config.domain),
        tags: BTreeMap::from([("component".to_owned(), "controller".to_owned())]),
        app: None,
        dea: None,
        private_instance_id: Some(InstanceId::generate()),
        private_instance_index: None,
        stale_threshold_in_seconds: None,
    };
    let mut starts = match context.bus.subscribe::<Start>().await {
        Ok(starts) => starts,
        Err(error) => return tracing::error!(%error, "cannot hear routers: the API has no routes"),
    };
    let mut period = Duration::from_secs(context.config.register_seconds);
    match context.bus.request(&Subject::of::<Greet>(), &Greet {}, Duration::from_secs(1)).await {
        Ok(router) => period = pace(&router, period),
        // A router that comes later says its pace then.
        Err(error) => tracing::debug!(%error, "no router answers yet"),
    }
    loop {
        if let Err(error) = context.bus.publish(&registration).await {
            tracing::warn!(%error, "could not register the API with the routers");
        }
        tokio::select! {
            () = context.shutdown.cancelled() => break,
            start = starts.next() => match start {
                Some(start) => {
                    period = pace(&start.message, period);
                    context.routes_changed.notify_one();
                }
                None => break,
            },
            () = tokio::time::sleep(period) => {}
        }
    }
    if let Err(error) = context.bus.publish(&Unregister(registration)).await {
        tracing::warn!(%error, "could not take the API off the routers");
    }
}

fn pace(router: &Start, otherwise: Duration) -> Duration {
    match router.minimum_register_interval {
        0 => otherwise,
        seconds => Duration::from_secs(seconds),
    }
}

/// Tells all routes at each change and every now and then, until shutdown.
pub(crate) async fn tell_routes(context: Shared) {
    loop {
        match store::all_uris(&context.pool).await {
            Ok(mut uris) => {
                uris.extend(own_uris(&context.config.domain));
                if let Err(error) = context.bus.publish(&KnownRoutes { uris }).await {
                    tracing::warn!(%error, "could not tell the routes");
                }
            }
            // Routers keep what they know.
            Err(error) => tracing::warn!(%error, "cannot read the routes"),
        }
        tokio::select! {
            () = context.shutdown.cancelled() => return,
            () = context.routes_changed.notified() => {}
            () = tokio::time::sleep(KNOWN_ROUTES_PERIOD) => {}
        }
    }
}

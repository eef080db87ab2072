//! Service gateways that register themselves over the bus.

use super::Begun;
use crate::{api::ApiError, context::Shared, store, store::BrokerRow};
use cupola_bus::Incoming;
use cupola_protocol::services::{BrokerRegistered, RegisterBroker};
use url::Url;

/// Who registered a broker, as rows spell it.
pub(crate) const GATEWAY: &str = "gateway";
/// The same for one that came over the API.
pub(crate) const ADMINISTRATOR: &str = "administrator";

/// Takes a gateway in as a broker, or tells it why not.
pub(crate) async fn take_gateway(context: Shared, registration: Incoming<RegisterBroker>) {
    let error = take(&context, &registration.message).await.err().map(|error| error.detail().to_owned());
    if let Some(error) = &error {
        tracing::warn!(broker = registration.message.name, error, "refused a service gateway");
    }
    if let Err(error) = registration.reply(&BrokerRegistered { error }).await {
        // Nobody has to wait for the answer.
        tracing::debug!(%error, "could not answer a service gateway");
    }
}

/// Registers it; its catalog is fetched each time, so that a new one is known within a minute.
async fn take(context: &Shared, wish: &RegisterBroker) -> Result<Option<Begun>, ApiError> {
    check_broker(&wish.name, &wish.url)?;
    let now = store::now();
    let Some(known) = store::broker_named(&context.pool, &wish.name).await? else {
        let broker = BrokerRow {
            guid: store::new_guid(),
            name: wish.name.clone(),
            url: wish.url.clone(),
            username: wish.username.clone(),
            password: wish.password.clone(),
            source: GATEWAY.to_owned(),
            available: false,
            created_at: now.clone(),
            updated_at: now,
        };
        return context.begin_broker(&broker, "").await.map(Some);
    };
    if known.source != GATEWAY {
        let detail = format!("An administrator has registered another service broker as {}.", wish.name);
        return Err(ApiError::unprocessable(detail));
    }
    if store::catalog_is_due(&context.pool, &known.guid).await? {
        return Ok(None);
    }
    let broker = BrokerRow {
        url: wish.url.clone(),
        username: wish.username.clone(),
        password: wish.password.clone(),
        ..known
    };
    context.begin_catalog(&broker, "").await.map(Some)
}

/// Refuses names and addresses that no broker can have.
pub(crate) fn check_broker(name: &str, url: &str) -> Result<(), ApiError> {
    crate::api::check_name(name)?;
    let parsed = Url::parse(url).ok().filter(|parsed| parsed.has_host());
    let Some(parsed) = parsed else {
        return Err(ApiError::unprocessable(format!(
            "Url must be an address such as http://host:port, not {url:?}."
        )));
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(ApiError::unprocessable(
            "Url must not hold a user name or password: give them as credentials.",
        ));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(ApiError::unprocessable("Url must not have a query or a fragment."));
    }
    match parsed.scheme() {
        "http" => Ok(()),
        "https" => Err(ApiError::unprocessable(
            "Url must be an http:// address: service brokers over https:// are not supported yet. Put a proxy that ends \
             TLS in front of the broker.",
        )),
        _ => {
            Err(ApiError::unprocessable(format!("Url must begin with http://, not {}://.", parsed.scheme())))
        }
    }
}

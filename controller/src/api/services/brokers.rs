//! Service brokers: the administrator's.

use super::{goes_on, words};
use crate::{
    access::{Access, Action},
    api::{
        ApiError,
        endpoints::Endpoints,
        input::{Base, Input, Params},
        jobs,
        page::{self, Listing, by},
        tenancy::{is_referenced, itself},
    },
    auth::User,
    context::{Context, Shared},
    services::{ADMINISTRATOR, broker_name_taken, check_broker},
    store::{self, BrokerRow, Filter},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use cupola_protocol::api::{
    BrokerAuthentication, CreateServiceBroker, Link, Metadata, Page, Relationships, ServiceBroker,
    UpdateServiceBroker,
};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/service_brokers", Access::Listed, list)
        .post("/v3/service_brokers", Access::Platform(Action::Administer), create)
        .get("/v3/service_brokers/{guid}", Access::Platform(Action::ReadPlatform), one)
        .patch("/v3/service_brokers/{guid}", Access::Platform(Action::Administer), update)
        .delete("/v3/service_brokers/{guid}", Access::Platform(Action::Administer), remove)
}

fn show(base: &Base, row: BrokerRow) -> ServiceBroker {
    let mut links = itself(base, &format!("/v3/service_brokers/{}", row.guid));
    let offerings = format!("/v3/service_offerings?service_broker_guids={}", row.guid);
    links.insert("service_offerings".to_owned(), Link::get(base.url(&offerings)));
    ServiceBroker {
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        url: row.url,
        relationships: Relationships::new(),
        metadata: Metadata::default(),
        links,
    }
}

async fn list(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<ServiceBroker>>, ApiError> {
    // Nobody else sees any, and no space has one: they are the platform's.
    let none = || Filter::new("guid IN (", Vec::new(), ")");
    let nobodys = (!user.sees_all()).then(none);
    let of_spaces = params.get("space_guids").map(|_| none());
    let filters =
        [by(&params, "names", "name IN (", ")"), by(&params, "guids", "guid IN (", ")"), of_spaces, nobodys];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "service_brokers",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name"],
    };
    Ok(Json(page::rows(&context, listing).await?.show(|row| show(&base, row))))
}

async fn broker(context: &Context, guid: &str) -> Result<BrokerRow, ApiError> {
    store::get(&context.pool, "service_brokers", guid)
        .await?
        .ok_or_else(|| ApiError::not_found("Service broker"))
}

async fn one(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<ServiceBroker>, ApiError> {
    Ok(Json(show(&base, broker(&context, &guid).await?)))
}

fn check_authentication(wish: &BrokerAuthentication) -> Result<(), ApiError> {
    if wish.kind != "basic" {
        let detail = format!("Authentication type must be basic, not {:?}.", wish.kind);
        return Err(ApiError::unprocessable(detail));
    }
    let credentials = &wish.credentials;
    if credentials.username.is_empty() || credentials.password.is_empty() {
        return Err(ApiError::unprocessable("Authentication needs a username and a password."));
    }
    if credentials.username.contains(':') {
        return Err(ApiError::unprocessable("The username must not contain a colon."));
    }
    Ok(())
}

async fn create(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreateServiceBroker>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    if wish.relationships.get("space").is_some_and(|space| space.data.is_some()) {
        return Err(ApiError::unprocessable(
            "Service brokers of one space are not supported yet: register it for the platform, and limit who sees its \
             plans by their visibility.",
        ));
    }
    check_broker(&wish.name, &wish.url)?;
    check_authentication(&wish.authentication)?;
    let now = store::now();
    let row = BrokerRow {
        guid: store::new_guid(),
        name: wish.name,
        url: wish.url,
        username: wish.authentication.credentials.username,
        password: wish.authentication.credentials.password,
        source: ADMINISTRATOR.to_owned(),
        available: false,
        created_at: now.clone(),
        updated_at: now,
    };
    Ok(goes_on(&base, &context.begin_broker(&row, user.guid()).await?))
}

async fn update(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<UpdateServiceBroker>,
) -> Result<Response, ApiError> {
    let mut row = broker(&context, &guid).await?;
    if wish.name.is_none() && wish.url.is_none() && wish.authentication.is_none() {
        return Ok(Json(show(&base, row)).into_response());
    }
    if store::catalog_is_due(&context.pool, &guid).await? {
        let detail = format!("Cannot update service broker {}: its catalog is being fetched.", row.name);
        return Err(ApiError::unprocessable(detail));
    }
    row.name = wish.name.unwrap_or(row.name);
    row.url = wish.url.unwrap_or(row.url);
    check_broker(&row.name, &row.url)?;
    if store::broker_named(&context.pool, &row.name).await?.is_some_and(|other| other.guid != guid) {
        return Err(broker_name_taken());
    }
    if let Some(authentication) = wish.authentication {
        check_authentication(&authentication)?;
        row.username = authentication.credentials.username;
        row.password = authentication.credentials.password;
    }
    Ok(goes_on(&base, &context.begin_catalog(&row, user.guid()).await?).into_response())
}

async fn remove(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let row = broker(&context, &guid).await?;
    let instances = store::instances_of_broker(&context.pool, &guid).await?;
    let in_use = |instances: &[String]| {
        let shown = if instances.is_empty() { String::new() } else { format!(" ({})", words(instances)) };
        let detail = format!(
            "Can not remove brokers that have associated service instances: {}{shown}. Delete or purge them first.",
            row.name
        );
        ApiError::new(422, 270_010, "CF-ServiceBrokerNotRemovable", detail)
    };
    if !instances.is_empty() {
        return Err(in_use(&instances));
    }
    match store::delete(&context.pool, "service_brokers", &guid).await {
        Ok(_) => jobs::done(&context, &user, &base, "service_broker.delete").await,
        // One was made just now.
        Err(error) if is_referenced(&error) => Err(in_use(&[])),
        Err(error) => Err(error.into()),
    }
}

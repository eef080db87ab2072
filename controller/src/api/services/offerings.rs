//! What brokers offer: a user sees what has a plan for him.

use super::included::{self, WithIncluded, picked};
use crate::{
    access::{Access, Action},
    api::{
        ApiError,
        endpoints::Endpoints,
        input::{Base, Params, bad_query},
        page::{self, Listing, by},
        tenancy::itself,
    },
    auth::{Seen, User},
    context::{Context, Shared},
    store::{self, BrokerRow, Filter, OfferingRow, Selection},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::StatusCode,
};
use cupola_protocol::api::{
    Link, Metadata, OfferingCatalog, OfferingFeatures, Relationships, ServiceOffering, ToOne,
};
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/service_offerings", Access::Listed, list)
        .get("/v3/service_offerings/{guid}", Access::User, one)
        .delete("/v3/service_offerings/{guid}", Access::Platform(Action::Administer), remove)
}

pub(super) fn show(base: &Base, row: OfferingRow) -> ServiceOffering {
    let catalog = row.catalog();
    let mut links = itself(base, &format!("/v3/service_offerings/{}", row.guid));
    let plans = format!("/v3/service_plans?service_offering_guids={}", row.guid);
    links.insert("service_plans".to_owned(), Link::get(base.url(&plans)));
    let broker = format!("/v3/service_brokers/{}", row.broker_guid);
    links.insert("service_broker".to_owned(), Link::get(base.url(&broker)));
    ServiceOffering {
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        description: row.description,
        available: row.available,
        documentation_url: catalog
            .metadata
            .get("documentationUrl")
            .and_then(Value::as_str)
            .map(str::to_owned),
        shareable: false,
        broker_catalog: OfferingCatalog {
            id: row.catalog_id,
            features: OfferingFeatures {
                plan_updateable: catalog.plan_updateable,
                bindable: catalog.bindable,
                instances_retrievable: catalog.instances_retrievable,
                bindings_retrievable: catalog.bindings_retrievable,
                allow_context_updates: catalog.allow_context_updates,
            },
            metadata: catalog.metadata,
        },
        tags: catalog.tags,
        requires: catalog.requires,
        relationships: Relationships::from([("service_broker".to_owned(), ToOne::new(row.broker_guid))]),
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
) -> Result<Json<WithIncluded<ServiceOffering>>, ApiError> {
    let filters = [
        by(&params, "names", "name IN (", ")"),
        by(&params, "guids", "guid IN (", ")"),
        by(&params, "available", "CASE WHEN available = 1 THEN 'true' ELSE 'false' END IN (", ")"),
        by(&params, "service_broker_guids", "broker_guid IN (", ")"),
        by(
            &params,
            "service_broker_names",
            "broker_guid IN (SELECT guid FROM service_brokers WHERE name IN (",
            "))",
        ),
        user.seen(Seen::ServiceOfferings),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "service_offerings",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name"],
    };
    let page = page::rows::<OfferingRow>(&context, listing).await?;
    let mut included = Map::new();
    if let Some(fields) = included::fields(&params, "service_broker") {
        let guids = page.rows.iter().map(|row| row.broker_guid.clone());
        let brokers: Vec<BrokerRow> = included::rows(&context, "service_brokers", guids).await?;
        let shown = brokers.iter().map(|row| picked(&json!({"guid": row.guid, "name": row.name}), &fields));
        included.insert("service_brokers".to_owned(), Value::Array(shown.collect()));
    }
    Ok(Json(WithIncluded { page: page.show(|row| show(&base, row)), included }))
}

/// An offering, when the user sees it.
async fn offering(context: &Context, user: &User, guid: &str) -> Result<OfferingRow, ApiError> {
    let filters =
        [Some(Filter::new("guid IN (", vec![guid.to_owned()], ")")), user.seen(Seen::ServiceOfferings)];
    let selection = Selection::all("service_offerings", filters.into_iter().flatten().collect());
    let (_, rows) = store::list(&context.pool, &selection).await?;
    rows.into_iter().next().ok_or_else(|| ApiError::not_found("Service offering"))
}

async fn one(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<ServiceOffering>, ApiError> {
    Ok(Json(show(&base, offering(&context, &user, &guid).await?)))
}

/// Forgets an offering. With `purge=true` its instances and bindings too, without asking their broker: for one that is
/// gone for ever.
async fn remove(
    State(context): State<Shared>,
    user: User,
    Path(guid): Path<String>,
    params: Params,
) -> Result<StatusCode, ApiError> {
    let row = offering(&context, &user, &guid).await?;
    let instances = store::instances_of_offering(&context.pool, &guid).await?;
    match params.get("purge") {
        None | Some("false") if !instances.is_empty() => {
            return Err(ApiError::unprocessable(format!(
                "Service offering {} has {} service instances. Delete them first, or purge the offering.",
                row.name,
                instances.len()
            )));
        }
        None | Some("true" | "false") => {}
        Some(_) => return Err(bad_query("purge must be true or false")),
    }
    store::forget_offering(&context.pool, &guid, &instances).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Plans, and who sees them.

use super::included::{self, WithIncluded, offerings_and_brokers};
use crate::{
    access::{Access, Action},
    api::{
        ApiError,
        endpoints::Endpoints,
        input::{Base, Input, Params},
        page::{self, Listing, by},
        tenancy::itself,
    },
    auth::{Seen, User},
    context::{Context, Shared},
    store::{self, Filter, OfferingRow, OrganizationRow, PlanRow, Selection, SpaceRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::StatusCode,
};
use cupola_protocol::api::{
    Link, Metadata, PlanCatalog, PlanFeatures, PlanVisibility, Relationships, ServicePlan, ToOne, VisibleTo,
};
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Endpoints {
    let path = "/v3/service_plans/{guid}/visibility";
    Endpoints::new()
        .get("/v3/service_plans", Access::Listed, list)
        .get("/v3/service_plans/{guid}", Access::User, one)
        .get(path, Access::Platform(Action::ReadPlatform), visibility)
        .patch(path, Access::Platform(Action::Administer), set_visibility)
        .post(path, Access::Platform(Action::Administer), add_visibility)
        .delete(
            "/v3/service_plans/{guid}/visibility/{organization}",
            Access::Platform(Action::Administer),
            remove_visibility,
        )
}

fn show(base: &Base, row: PlanRow, offering: Option<&OfferingRow>) -> ServicePlan {
    let path = format!("/v3/service_plans/{}", row.guid);
    let catalog = row.catalog();
    let mut links = itself(base, &path);
    links.insert("visibility".to_owned(), Link::get(base.url(&format!("{path}/visibility"))));
    let of = format!("/v3/service_offerings/{}", row.offering_guid);
    links.insert("service_offering".to_owned(), Link::get(base.url(&of)));
    let offered = offering.map(OfferingRow::catalog);
    let features = PlanFeatures {
        plan_updateable: offered.as_ref().is_some_and(|offering| catalog.is_updateable(offering)),
        bindable: offered.as_ref().is_some_and(|offering| catalog.is_bindable(offering)),
    };
    ServicePlan {
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        description: row.description,
        visibility_type: row.visibility,
        available: row.available && offering.is_some_and(|offering| offering.available),
        free: catalog.is_free(),
        costs: catalog.metadata.get("costs").and_then(Value::as_array).cloned().unwrap_or_default(),
        maintenance_info: object(json!(catalog.maintenance_info)),
        broker_catalog: PlanCatalog {
            id: row.catalog_id,
            metadata: catalog.metadata,
            maximum_polling_duration: catalog.maximum_polling_duration,
            features,
        },
        schemas: schemas(catalog.schemas.unwrap_or_default()),
        relationships: Relationships::from([("service_offering".to_owned(), ToOne::new(row.offering_guid))]),
        metadata: Metadata::default(),
        links,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The schemas of a catalog in the form of the API, in which each has its place.
fn schemas(of: Value) -> Value {
    let at = |pointer: &str| of.pointer(pointer).cloned().unwrap_or_else(|| json!({}));
    json!({
        "service_instance": {
            "create": {"parameters": at("/service_instance/create/parameters")},
            "update": {"parameters": at("/service_instance/update/parameters")},
        },
        "service_binding": {"create": {"parameters": at("/service_binding/create/parameters")}},
    })
}

/// Conditions on plans that several lists have.
fn filters(params: &Params) -> Vec<Filter> {
    let of_offering = |name, before, after| by(params, name, before, after);
    [
        by(params, "names", "name IN (", ")"),
        by(params, "guids", "guid IN (", ")"),
        by(params, "broker_catalog_ids", "catalog_id IN (", ")"),
        by(
            params,
            "available",
            "CASE WHEN available = 1 AND offering_guid IN (SELECT guid FROM service_offerings WHERE available = 1) \
             THEN 'true' ELSE 'false' END IN (",
            ")",
        ),
        by(params, "service_offering_guids", "offering_guid IN (", ")"),
        of_offering(
            "service_offering_names",
            "offering_guid IN (SELECT guid FROM service_offerings WHERE name IN (",
            "))",
        ),
        of_offering(
            "service_broker_guids",
            "offering_guid IN (SELECT guid FROM service_offerings WHERE broker_guid IN (",
            "))",
        ),
        of_offering(
            "service_broker_names",
            "offering_guid IN (SELECT service_offerings.guid FROM service_offerings JOIN service_brokers \
             ON service_brokers.guid = service_offerings.broker_guid WHERE service_brokers.name IN (",
            "))",
        ),
        by(
            params,
            "service_instance_guids",
            "guid IN (SELECT plan_guid FROM service_instances WHERE guid IN (",
            "))",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What can be used in the spaces or organizations of the query; administrators can use everything everywhere.
fn usable_in(params: &Params, user: &User) -> Vec<Filter> {
    if user.sees_all() {
        return Vec::new();
    }
    [
        by(
            params,
            "space_guids",
            "(visibility = 'public' OR guid IN (SELECT plan_guid FROM service_plan_organizations JOIN spaces \
             ON spaces.organization_guid = service_plan_organizations.organization_guid WHERE spaces.guid IN (",
            ")))",
        ),
        by(
            params,
            "organization_guids",
            "(visibility = 'public' OR guid IN (SELECT plan_guid FROM service_plan_organizations \
             WHERE organization_guid IN (",
            ")))",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

async fn list(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<WithIncluded<ServicePlan>>, ApiError> {
    let mut filters = filters(&params);
    filters.extend(usable_in(&params, &user));
    filters.extend(user.seen(Seen::ServicePlans));
    let orders = &["created_at", "updated_at", "name"];
    let listing =
        Listing { base: &base, path: uri.path(), params: &params, table: "service_plans", filters, orders };
    let page = page::rows::<PlanRow>(&context, listing).await?;
    let guids: Vec<String> = page.rows.iter().map(|row| row.offering_guid.clone()).collect();
    let offerings: Vec<OfferingRow> = included::rows(&context, "service_offerings", guids.clone()).await?;
    let mut included = Map::new();
    offerings_and_brokers(
        &context,
        &mut included,
        guids,
        included::fields(&params, "service_offering"),
        included::fields(&params, "service_offering.service_broker"),
    )
    .await?;
    if included::wanted(&params).iter().any(|word| word == "service_offering") {
        let shown: Vec<_> = offerings.iter().map(|row| super::offerings::show(&base, row.clone())).collect();
        included.insert("service_offerings".to_owned(), json!(shown));
    }
    let page = page.show(|row| {
        let offering = offerings.iter().find(|offering| offering.guid == row.offering_guid);
        show(&base, row, offering)
    });
    Ok(Json(WithIncluded { page, included }))
}

async fn one(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<ServicePlan>, ApiError> {
    let filters = [Some(Filter::new("guid IN (", vec![guid], ")")), user.seen(Seen::ServicePlans)];
    let selection = Selection::all("service_plans", filters.into_iter().flatten().collect());
    let (_, rows) = store::list::<PlanRow>(&context.pool, &selection).await?;
    let row = rows.into_iter().next().ok_or_else(|| ApiError::not_found("Service plan"))?;
    let offering: Option<OfferingRow> =
        store::get(&context.pool, "service_offerings", &row.offering_guid).await?;
    Ok(Json(show(&base, row, offering.as_ref())))
}

/// Whether instances of a plan can be made by a user in a space.
pub(super) async fn is_usable(
    context: &Context,
    user: &User,
    plan: &PlanRow,
    space: &SpaceRow,
) -> Result<bool, ApiError> {
    Ok(match plan.visibility.as_str() {
        _ if user.is_admin() => true,
        "public" => true,
        "organization" => {
            let organizations = store::organizations_of_plan(&context.pool, &plan.guid).await?;
            organizations.iter().any(|(guid, _)| *guid == space.organization_guid)
        }
        _ => false,
    })
}

async fn plan(context: &Context, guid: &str) -> Result<PlanRow, ApiError> {
    store::get(&context.pool, "service_plans", guid).await?.ok_or_else(|| ApiError::not_found("Service plan"))
}

async fn shown_visibility(context: &Context, guid: &str) -> Result<Json<PlanVisibility>, ApiError> {
    let kind = plan(context, guid).await?.visibility;
    let organizations = if kind == "organization" {
        let rows = store::organizations_of_plan(&context.pool, guid).await?;
        Some(rows.into_iter().map(|(guid, name)| VisibleTo { guid, name: Some(name) }).collect())
    } else {
        None
    };
    Ok(Json(PlanVisibility { kind, organizations }))
}

async fn visibility(
    State(context): State<Shared>,
    Path(guid): Path<String>,
) -> Result<Json<PlanVisibility>, ApiError> {
    shown_visibility(&context, &guid).await
}

/// The organizations of a wish, of which every one exists.
async fn organizations(context: &Context, wish: &PlanVisibility) -> Result<Vec<String>, ApiError> {
    match (wish.kind.as_str(), &wish.organizations) {
        ("public" | "admin", None) => return Ok(Vec::new()),
        ("organization", Some(_)) => {}
        ("organization", None) => {
            return Err(ApiError::unprocessable(
                "The visibility organization needs a list of organizations.",
            ));
        }
        ("space", _) => {
            return Err(ApiError::unprocessable(
                "The visibility space is for brokers of one space, which are not supported yet.",
            ));
        }
        ("public" | "admin", Some(_)) => {
            return Err(ApiError::unprocessable(
                "Organizations can be named for the visibility organization alone.",
            ));
        }
        _ => {
            let detail = "Visibility type must be one of 'public', 'admin', 'organization'.";
            return Err(ApiError::unprocessable(detail));
        }
    }
    let mut guids = Vec::new();
    for named in wish.organizations.iter().flatten() {
        let row: Option<OrganizationRow> = store::get(&context.pool, "organizations", &named.guid).await?;
        let row = row.ok_or_else(|| {
            ApiError::unprocessable(format!("Could not find organization with guid '{}'.", named.guid))
        })?;
        if !guids.contains(&row.guid) {
            guids.push(row.guid);
        }
    }
    Ok(guids)
}

async fn set_visibility(
    State(context): State<Shared>,
    Path(guid): Path<String>,
    Input(wish): Input<PlanVisibility>,
) -> Result<Json<PlanVisibility>, ApiError> {
    plan(&context, &guid).await?;
    let guids = organizations(&context, &wish).await?;
    store::set_visibility(&context.pool, &guid, &wish.kind, &guids).await?;
    shown_visibility(&context, &guid).await
}

/// The same, but organizations come to those that there are.
async fn add_visibility(
    State(context): State<Shared>,
    Path(guid): Path<String>,
    Input(wish): Input<PlanVisibility>,
) -> Result<Json<PlanVisibility>, ApiError> {
    let row = plan(&context, &guid).await?;
    let mut guids = organizations(&context, &wish).await?;
    if wish.kind == "organization" && row.visibility == "organization" {
        let known = store::organizations_of_plan(&context.pool, &guid).await?;
        guids.extend(known.into_iter().map(|(guid, _)| guid));
        guids.sort_unstable();
        guids.dedup();
    }
    store::set_visibility(&context.pool, &guid, &wish.kind, &guids).await?;
    shown_visibility(&context, &guid).await
}

async fn remove_visibility(
    State(context): State<Shared>,
    Path((guid, organization)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let row = plan(&context, &guid).await?;
    let known = store::organizations_of_plan(&context.pool, &guid).await?;
    if row.visibility != "organization" {
        return Err(ApiError::unprocessable(
            "Cannot delete organizations when visibility type is not 'organization'.",
        ));
    }
    if !known.iter().any(|(guid, _)| *guid == organization) {
        return Err(ApiError::not_found("Service plan visibility"));
    }
    let left: Vec<String> =
        known.into_iter().map(|(guid, _)| guid).filter(|guid| *guid != organization).collect();
    store::set_visibility(&context.pool, &guid, "organization", &left).await?;
    Ok(StatusCode::NO_CONTENT)
}

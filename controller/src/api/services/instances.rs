//! Service instances, as they are read.

use super::included::{self, WithIncluded, offerings_and_brokers, picked};
use crate::{
    access::{Access, Action, Kind},
    api::{
        ApiError,
        endpoints::Endpoints,
        input::{Base, Params},
        page::{self, Listing, by},
        tenancy::itself,
    },
    auth::{Seen, User},
    context::{Context, Shared},
    services::{Answer, Call, fetched},
    store::{self, InstanceRow, OrganizationRow, PlanRow, SpaceRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
};
use cupola_protocol::{
    ServiceInstanceId,
    api::{Link, Metadata, Relationships, ServiceInstance, ToOne},
    osb,
};
use serde_json::{Map, Value, json};

pub(super) fn routes() -> Endpoints {
    let read = Access::On(Kind::ServiceInstance, Action::ReadSpace);
    let secrets = Access::On(Kind::ServiceInstance, Action::ReadSecrets);
    Endpoints::new()
        .get("/v3/service_instances", Access::Listed, list)
        .get("/v3/service_instances/{guid}", read, one)
        .get("/v3/service_instances/{guid}/credentials", secrets, credentials)
        .get("/v3/service_instances/{guid}/parameters", secrets, parameters)
        .get("/v3/service_instances/{guid}/permissions", read, permissions)
        .get("/v3/service_instances/{guid}/relationships/shared_spaces", read, shared_spaces)
        .get("/v3/service_instances/{guid}/relationships/shared_spaces/usage_summary", read, usage)
}

/// An instance with the plan that it has.
pub(super) fn show(base: &Base, row: InstanceRow, plan: Option<&PlanRow>) -> ServiceInstance {
    let path = format!("/v3/service_instances/{}", row.guid);
    let mut links = itself(base, &path);
    let mut link = |name: &str, path: String| links.insert(name.to_owned(), Link::get(base.url(&path)));
    link("space", format!("/v3/spaces/{}", row.space_guid));
    let guids = format!("service_instance_guids={}", row.guid);
    link("service_credential_bindings", format!("/v3/service_credential_bindings?{guids}"));
    link("service_route_bindings", format!("/v3/service_route_bindings?{guids}"));
    let mut relationships = Relationships::from([("space".to_owned(), ToOne::new(row.space_guid.clone()))]);
    match &row.plan_guid {
        Some(plan) => {
            link("service_plan", format!("/v3/service_plans/{plan}"));
            link("parameters", format!("{path}/parameters"));
            link("shared_spaces", format!("{path}/relationships/shared_spaces"));
            relationships.insert("service_plan".to_owned(), ToOne::new(plan.clone()));
        }
        None => drop(link("credentials", format!("{path}/credentials"))),
    }
    let managed = row.is_managed();
    let maintenance = row.maintenance_info.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let maintenance: Map<String, Value> = maintenance.unwrap_or_default();
    let newer = plan.and_then(|plan| plan.catalog().maintenance_info).map(|info| json!(info.version));
    let upgrade = newer.is_some_and(|version| maintenance.get("version") != Some(&version));
    let text = |text: &Option<String>| if managed { None } else { Some(text.clone().unwrap_or_default()) };
    ServiceInstance {
        last_operation: Some(row.last_operation()),
        tags: store::names(&row.tags),
        maintenance_info: managed.then_some(maintenance),
        upgrade_available: managed.then_some(upgrade),
        dashboard_url: if managed { row.dashboard_url.clone() } else { None },
        syslog_drain_url: text(&row.syslog_drain_url),
        route_service_url: text(&row.route_service_url),
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        kind: row.kind,
        relationships,
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
) -> Result<Json<WithIncluded<ServiceInstance>>, ApiError> {
    let filters = [
        by(&params, "names", "name IN (", ")"),
        by(&params, "guids", "guid IN (", ")"),
        by(&params, "type", "kind IN (", ")"),
        by(&params, "space_guids", "space_guid IN (", ")"),
        by(
            &params,
            "organization_guids",
            "space_guid IN (SELECT guid FROM spaces WHERE organization_guid IN (",
            "))",
        ),
        by(&params, "service_plan_guids", "plan_guid IN (", ")"),
        by(
            &params,
            "service_plan_names",
            "plan_guid IN (SELECT guid FROM service_plans WHERE name IN (",
            "))",
        ),
        user.seen(Seen::InSpaces),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "service_instances",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name"],
    };
    let page = page::rows::<InstanceRow>(&context, listing).await?;
    let guids = page.rows.iter().filter_map(|row| row.plan_guid.clone());
    let plans: Vec<PlanRow> = included::rows(&context, "service_plans", guids).await?;
    let included = along(&context, &params, &page.rows, &plans).await?;
    let page = page.show(|row| {
        let plan = plans.iter().find(|plan| Some(&plan.guid) == row.plan_guid.as_ref());
        show(&base, row, plan)
    });
    Ok(Json(WithIncluded { page, included }))
}

/// What comes along with instances: the fields that are asked for.
async fn along(
    context: &Context,
    params: &Params,
    instances: &[InstanceRow],
    plans: &[PlanRow],
) -> Result<Map<String, Value>, ApiError> {
    let mut included = Map::new();
    if let Some(fields) = included::fields(params, "service_plan") {
        let shown = plans.iter().map(|row| {
            let offering = json!({"data": {"guid": row.offering_guid}});
            let plan =
                json!({"guid": row.guid, "name": row.name, "relationships": {"service_offering": offering}});
            picked(&plan, &fields)
        });
        included.insert("service_plans".to_owned(), Value::Array(shown.collect()));
    }
    offerings_and_brokers(
        context,
        &mut included,
        plans.iter().map(|row| row.offering_guid.clone()),
        included::fields(params, "service_plan.service_offering"),
        included::fields(params, "service_plan.service_offering.service_broker"),
    )
    .await?;
    let space_fields = included::fields(params, "space");
    let organization_fields = included::fields(params, "space.organization");
    if space_fields.is_some() || organization_fields.is_some() {
        let guids = instances.iter().map(|row| row.space_guid.clone());
        let spaces: Vec<SpaceRow> = included::rows(context, "spaces", guids).await?;
        if let Some(fields) = space_fields {
            let shown = spaces.iter().map(|row| {
                let organization = json!({"data": {"guid": row.organization_guid}});
                let relationships = json!({"organization": organization});
                picked(&json!({"guid": row.guid, "name": row.name, "relationships": relationships}), &fields)
            });
            included.insert("spaces".to_owned(), Value::Array(shown.collect()));
        }
        if let Some(fields) = organization_fields {
            let guids = spaces.iter().map(|row| row.organization_guid.clone());
            let rows: Vec<OrganizationRow> = included::rows(context, "organizations", guids).await?;
            let shown = rows.iter().map(|row| picked(&json!({"guid": row.guid, "name": row.name}), &fields));
            included.insert("organizations".to_owned(), Value::Array(shown.collect()));
        }
    }
    Ok(included)
}

/// An instance, or "not found".
pub(super) async fn instance(context: &Context, guid: &str) -> Result<InstanceRow, ApiError> {
    store::get(&context.pool, "service_instances", guid)
        .await?
        .ok_or_else(|| ApiError::not_found("Service instance"))
}

/// An instance as it stands now.
pub(super) async fn shown(context: &Context, base: &Base, guid: &str) -> Result<ServiceInstance, ApiError> {
    let row = instance(context, guid).await?;
    let plan = match &row.plan_guid {
        Some(plan) => store::get(&context.pool, "service_plans", plan).await?,
        None => None,
    };
    Ok(show(base, row, plan.as_ref()))
}

async fn one(
    State(context): State<Shared>,
    base: Base,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let row = instance(&context, &guid).await?;
    let plans: Vec<PlanRow> = included::rows(&context, "service_plans", row.plan_guid.clone()).await?;
    let included = along(&context, &params, std::slice::from_ref(&row), &plans).await?;
    let mut shown = json!(show(&base, row, plans.first()));
    if !included.is_empty() {
        shown["included"] = Value::Object(included);
    }
    Ok(Json(shown))
}

async fn credentials(
    State(context): State<Shared>,
    Path(guid): Path<String>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let row = instance(&context, &guid).await?;
    if row.is_managed() {
        return Err(ApiError::not_found("Service instance credentials"));
    }
    Ok(Json(row.credentials()))
}

async fn parameters(
    State(context): State<Shared>,
    user: User,
    Path(guid): Path<String>,
) -> Result<Json<Map<String, Value>>, ApiError> {
    let not_supported =
        |why: &str| ApiError::new(400, 120_004, "CF-ServiceFetchInstanceParametersNotSupported", why);
    let row = instance(&context, &guid).await?;
    let Some(plan) = &row.plan_guid else {
        return Err(not_supported(
            "User provided service instances have no parameters: see their credentials.",
        ));
    };
    let origin =
        store::origin(&context.pool, plan).await?.ok_or_else(|| ApiError::not_found("Service plan"))?;
    if !origin.offering.catalog().instances_retrievable {
        return Err(not_supported("This service does not support fetching service instance parameters."));
    }
    if row.in_progress() && row.operation == "create" {
        return Err(crate::services::busy_instance(&row.name));
    }
    let query =
        vec![("service_id", origin.offering.catalog_id.clone()), ("plan_id", origin.plan.catalog_id.clone())];
    let call = Call { query, ..Call::get(osb::instance_path(&ServiceInstanceId::new(guid))) };
    let answer: Answer =
        context.services.brokers.call(&origin.broker, call, user.guid(), &store::new_guid()).await;
    let found: osb::FetchInstanceResponse = fetched(&origin.broker, &answer)?;
    Ok(Json(found.parameters.unwrap_or_default()))
}

async fn permissions(
    State(context): State<Shared>,
    user: User,
    Path(guid): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let may = user.verdict(&context, Action::WriteServices, Kind::ServiceInstance, &guid).await?;
    Ok(Json(json!({"read": true, "manage": may == crate::access::Verdict::Allowed})))
}

/// Instances are not shared.
async fn shared_spaces(base: Base, Path(guid): Path<String>) -> Json<Value> {
    let path = format!("/v3/service_instances/{guid}/relationships/shared_spaces");
    Json(json!({"data": [], "links": itself(&base, &path)}))
}

async fn usage(base: Base, Path(guid): Path<String>) -> Json<Value> {
    let path = format!("/v3/service_instances/{guid}/relationships/shared_spaces/usage_summary");
    Json(json!({"usage_summary": [], "links": itself(&base, &path)}))
}

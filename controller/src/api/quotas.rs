//! Quotas of organizations, and what both kinds of quotas have in common.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
    tenancy::{check_name, is_referenced, itself},
};
use crate::{
    access::{Access, Action},
    auth::{Seen, User},
    context::{Context, Shared},
    quota::Owner,
    store::{self, Filter, OrganizationRow, QuotaRow, Selection},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
};
use cupola_protocol::api::{
    AppLimits, DomainLimits, Limit, Links, Named, Page, Quota, QuotaChange, QuotaSides, RouteLimits,
    ServiceLimits, ToMany,
};
use serde::Serialize;

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/organization_quotas", Access::Listed, list)
        .post("/v3/organization_quotas", Access::Platform(Action::Administer), create)
        .get("/v3/organization_quotas/{guid}", Access::Handler, one)
        .patch("/v3/organization_quotas/{guid}", Access::Platform(Action::Administer), update)
        .delete("/v3/organization_quotas/{guid}", Access::Platform(Action::Administer), delete)
        .post(
            "/v3/organization_quotas/{guid}/relationships/organizations",
            Access::Platform(Action::Administer),
            apply,
        )
}

/// To whom a quota applies, as the answer to applying it.
#[derive(Debug, Serialize)]
pub(super) struct Applied {
    pub data: Vec<Named>,
    pub links: Links,
}

fn limit(number: Option<i64>) -> Limit {
    Some(number.map(|number| u64::try_from(number).unwrap_or(0)))
}

/// What is shown of both kinds.
pub(super) fn show_limits(base: &Base, path: &str, row: QuotaRow, sides: QuotaSides) -> Quota {
    Quota {
        links: itself(base, &format!("{path}/{}", row.guid)),
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        apps: AppLimits {
            total_memory_in_mb: limit(row.total_memory_mb),
            per_process_memory_in_mb: limit(row.instance_memory_mb),
            total_instances: limit(row.total_instances),
            per_app_tasks: Some(None),
            log_rate_limit_in_bytes_per_second: Some(None),
        },
        services: ServiceLimits {
            paid_services_allowed: Some(row.paid_services),
            total_service_instances: limit(row.total_services),
            total_service_keys: Some(None),
        },
        routes: RouteLimits { total_routes: limit(row.total_routes), total_reserved_ports: Some(None) },
        domains: None,
        relationships: sides,
    }
}

/// A quota without limits.
pub(super) fn unlimited() -> QuotaRow {
    let now = store::now();
    QuotaRow {
        guid: store::new_guid(),
        name: String::new(),
        total_memory_mb: None,
        instance_memory_mb: None,
        total_instances: None,
        total_services: None,
        total_routes: None,
        paid_services: true,
        created_at: now.clone(),
        updated_at: now,
    }
}

/// Changes a quota; what is absent stays. A limit that nothing enforces is refused rather than kept.
pub(super) fn change(row: &mut QuotaRow, wish: &QuotaChange) -> Result<(), ApiError> {
    if let Some(name) = &wish.name {
        check_name(name)?;
        row.name.clone_from(name);
    }
    for (name, value) in [
        ("apps.per_app_tasks", wish.apps.per_app_tasks),
        ("apps.log_rate_limit_in_bytes_per_second", wish.apps.log_rate_limit_in_bytes_per_second),
        ("services.total_service_keys", wish.services.total_service_keys),
        ("routes.total_reserved_ports", wish.routes.total_reserved_ports),
        ("domains.total_domains", wish.domains.unwrap_or_default().total_domains),
    ] {
        if value.flatten().is_some() {
            let detail = format!("The limit {name} is not enforced yet: leave it out, or give null.");
            return Err(ApiError::unprocessable(detail));
        }
    }
    for (column, value) in [
        (&mut row.total_memory_mb, wish.apps.total_memory_in_mb),
        (&mut row.instance_memory_mb, wish.apps.per_process_memory_in_mb),
        (&mut row.total_instances, wish.apps.total_instances),
        (&mut row.total_services, wish.services.total_service_instances),
        (&mut row.total_routes, wish.routes.total_routes),
    ] {
        if let Some(value) = value {
            *column = value.map(store::number);
        }
    }
    if let Some(paid) = wish.services.paid_services_allowed {
        row.paid_services = paid;
    }
    Ok(())
}

/// A quota whose name is taken.
pub(super) fn taken(error: sqlx::Error, kind: &str, name: &str) -> ApiError {
    if store::is_duplicate(&error) {
        ApiError::unprocessable(format!("{kind} Quota '{name}' already exists."))
    } else {
        error.into()
    }
}

/// The limits that only a quota of organizations has.
fn show(base: &Base, row: QuotaRow, organizations: Vec<String>) -> Quota {
    let data = organizations.into_iter().map(Named::new).collect();
    let sides = QuotaSides { organizations: Some(ToMany { data }), ..QuotaSides::default() };
    let domains = Some(DomainLimits { total_domains: Some(None) });
    Quota { domains, ..show_limits(base, "/v3/organization_quotas", row, sides) }
}

/// Organizations with a quota, as far as the user sees them.
async fn organizations(context: &Context, user: &User, quota: &str) -> Result<Vec<String>, ApiError> {
    let filters =
        [Some(Filter::new("quota_guid IN (", vec![quota.to_owned()], ")")), user.seen(Seen::Organizations)];
    let selection = Selection::all("organizations", filters.into_iter().flatten().collect());
    let (_, rows) = store::list::<OrganizationRow>(&context.pool, &selection).await?;
    Ok(rows.into_iter().map(|row| row.guid).collect())
}

async fn list(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Quota>>, ApiError> {
    let filters = [
        by(&params, "names", "name IN (", ")"),
        by(&params, "guids", "guid IN (", ")"),
        by(
            &params,
            "organization_guids",
            "guid IN (SELECT quota_guid FROM organizations WHERE guid IN (",
            "))",
        ),
        user.seen(Seen::OrganizationQuotas),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "organization_quotas",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name"],
    };
    let mut page = page::rows::<QuotaRow>(&context, listing).await?;
    let mut shown = Vec::new();
    for row in std::mem::take(&mut page.rows) {
        let organizations = organizations(&context, &user, &row.guid).await?;
        shown.push(show(&base, row, organizations));
    }
    Ok(Json(page.of(shown)))
}

/// A quota that the user sees.
async fn seen(context: &Context, user: &User, guid: &str) -> Result<QuotaRow, ApiError> {
    let filters =
        [Some(Filter::new("guid IN (", vec![guid.to_owned()], ")")), user.seen(Seen::OrganizationQuotas)];
    let selection = Selection::all("organization_quotas", filters.into_iter().flatten().collect());
    let (_, rows) = store::list(&context.pool, &selection).await?;
    rows.into_iter().next().ok_or_else(|| ApiError::not_found("Organization quota"))
}

async fn one(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Quota>, ApiError> {
    let row = seen(&context, &user, &guid).await?;
    let organizations = organizations(&context, &user, &guid).await?;
    Ok(Json(show(&base, row, organizations)))
}

/// Refuses to apply a quota to what is not there, before it is applied to anything.
async fn check_organizations(context: &Context, sides: &[Named]) -> Result<(), ApiError> {
    for organization in sides {
        let row: Option<OrganizationRow> =
            store::get(&context.pool, "organizations", &organization.guid).await?;
        row.ok_or_else(|| {
            let guid = &organization.guid;
            ApiError::unprocessable(format!("Organizations with guids [\"{guid}\"] do not exist."))
        })?;
    }
    Ok(())
}

async fn create(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<QuotaChange>,
) -> Result<(StatusCode, Json<Quota>), ApiError> {
    let mut row = unlimited();
    change(&mut row, &wish)?;
    check_name(&row.name)?;
    let sides = wish.relationships.organizations.unwrap_or_default().data;
    check_organizations(&context, &sides).await?;
    let inserted = store::insert_organization_quota(&context.pool, &row).await;
    inserted.map_err(|error| taken(error, "Organization", &row.name))?;
    for organization in sides {
        store::set_organization_quota(&context.pool, &organization.guid, &row.guid).await?;
    }
    let organizations = organizations(&context, &user, &row.guid).await?;
    Ok((StatusCode::CREATED, Json(show(&base, row, organizations))))
}

async fn update(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<QuotaChange>,
) -> Result<Json<Quota>, ApiError> {
    let mut row = seen(&context, &user, &guid).await?;
    change(&mut row, &wish)?;
    let updated = store::update_quota(&context.pool, Owner::Organization, &mut row).await;
    updated.map_err(|error| taken(error, "Organization", &row.name))?;
    let organizations = organizations(&context, &user, &guid).await?;
    Ok(Json(show(&base, row, organizations)))
}

async fn delete(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    if guid == store::DEFAULT_QUOTA {
        return Err(ApiError::unprocessable(
            "New organizations get the default quota: change it rather than delete it.",
        ));
    }
    match store::delete(&context.pool, "organization_quotas", &guid).await {
        Ok(true) => jobs::done(&context, &user, &base, "organization_quota.delete").await,
        Ok(false) => Err(ApiError::not_found("Organization quota")),
        Err(error) if is_referenced(&error) => Err(ApiError::unprocessable(
            "This quota is applied to one or more organizations. Apply different quotas to those organizations before deleting.",
        )),
        Err(error) => Err(error.into()),
    }
}

async fn apply(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<ToMany>,
) -> Result<Json<Applied>, ApiError> {
    seen(&context, &user, &guid).await?;
    check_organizations(&context, &wish.data).await?;
    for organization in &wish.data {
        store::set_organization_quota(&context.pool, &organization.guid, &guid).await?;
    }
    let data = organizations(&context, &user, &guid).await?.into_iter().map(Named::new).collect();
    let path = format!("/v3/organization_quotas/{guid}/relationships/organizations");
    Ok(Json(Applied { data, links: itself(&base, &path) }))
}

//! Organizations and spaces.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
};
use crate::{
    access::{Access, Action, Kind},
    auth::{Seen, User},
    context::{Context, Shared},
    quota::Owner,
    store::{self, DomainRow, OrganizationRow, SpaceRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
};
use cupola_protocol::api::{
    CreateOrganization, CreateSpace, Domain, Link, Links, Metadata, Organization, Page, Space, ToOne,
    UpdateOrganization, UpdateSpace, Usage, UsageSummary,
};
use std::collections::BTreeMap;

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/organizations", Access::Listed, organizations)
        .post("/v3/organizations", Access::Platform(Action::Administer), create_organization)
        .get(
            "/v3/organizations/{guid}",
            Access::On(Kind::Organization, Action::ReadOrganization),
            organization,
        )
        .patch(
            "/v3/organizations/{guid}",
            Access::On(Kind::Organization, Action::UpdateOrganization),
            update_organization,
        )
        .delete("/v3/organizations/{guid}", Access::Platform(Action::Administer), delete_organization)
        .get(
            "/v3/organizations/{guid}/usage_summary",
            Access::On(Kind::Organization, Action::ReadOrganization),
            organization_usage,
        )
        .get(
            "/v3/organizations/{guid}/domains",
            Access::On(Kind::Organization, Action::ReadOrganization),
            organization_domains,
        )
        .get("/v3/spaces", Access::Listed, spaces)
        .post("/v3/spaces", Access::Named(Kind::Organization, Action::ManageSpaces), create_space)
        .get("/v3/spaces/{guid}", Access::On(Kind::Space, Action::ReadSpace), space)
        .patch("/v3/spaces/{guid}", Access::On(Kind::Space, Action::UpdateSpace), update_space)
        .delete("/v3/spaces/{guid}", Access::On(Kind::Space, Action::DeleteSpace), delete_space)
        .get("/v3/spaces/{guid}/usage_summary", Access::On(Kind::Space, Action::ReadSpace), space_usage)
}

/// The link of a resource to itself, as the start of its links.
pub(super) fn itself(base: &Base, path: &str) -> Links {
    BTreeMap::from([("self".to_owned(), Link::get(base.url(path)))])
}

fn show_organization(base: &Base, row: OrganizationRow) -> Organization {
    let mut links = itself(base, &format!("/v3/organizations/{}", row.guid));
    links.insert(
        "domains".to_owned(),
        Link::get(base.url(&format!("/v3/organizations/{}/domains", row.guid))),
    );
    Organization {
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        suspended: row.suspended,
        relationships: BTreeMap::from([(
            "quota".to_owned(),
            row.quota_guid.map(ToOne::new).unwrap_or_default(),
        )]),
        metadata: Metadata::default(),
        links,
    }
}

fn show_space(base: &Base, row: SpaceRow) -> Space {
    let mut links = itself(base, &format!("/v3/spaces/{}", row.guid));
    let organization = base.url(&format!("/v3/organizations/{}", row.organization_guid));
    links.insert("organization".to_owned(), Link::get(organization));
    links.insert(
        "apply_manifest".to_owned(),
        Link::post(base.url(&format!("/v3/spaces/{}/actions/apply_manifest", row.guid))),
    );
    Space {
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
        relationships: BTreeMap::from([
            ("organization".to_owned(), ToOne::new(row.organization_guid)),
            ("quota".to_owned(), row.quota_guid.map(ToOne::new).unwrap_or_default()),
        ]),
        metadata: Metadata::default(),
        links,
    }
}

async fn organizations(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Organization>>, ApiError> {
    let filters = [
        by(&params, "names", "name IN (", ")"),
        by(&params, "guids", "guid IN (", ")"),
        user.seen(Seen::Organizations),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "organizations",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name"],
    };
    Ok(Json(page::rows(&context, listing).await?.show(|row| show_organization(&base, row))))
}

async fn organization(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Organization>, ApiError> {
    let row = store::get(&context.pool, "organizations", &guid).await?;
    Ok(Json(show_organization(&base, row.ok_or_else(|| ApiError::not_found("Organization"))?)))
}

/// A name that people give: not blank, not endless, without control characters.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    if name.trim().is_empty() || name.chars().count() > 255 || name.chars().any(char::is_control) {
        return Err(ApiError::unprocessable("Name must be 1 to 255 characters, and not all of them blank."));
    }
    Ok(())
}

async fn create_organization(
    State(context): State<Shared>,
    base: Base,
    Input(wish): Input<CreateOrganization>,
) -> Result<(StatusCode, Json<Organization>), ApiError> {
    check_name(&wish.name)?;
    let guid = store::insert_organization(&context.pool, &wish.name).await;
    let guid = guid.map_err(|error| organization_taken(error, &wish.name))?;
    let row = store::get(&context.pool, "organizations", &guid).await?;
    let row = row.ok_or_else(|| ApiError::not_found("Organization"))?;
    Ok((StatusCode::CREATED, Json(show_organization(&base, row))))
}

/// Whoever may rename an organization may not suspend it.
async fn update_organization(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<UpdateOrganization>,
) -> Result<Json<Organization>, ApiError> {
    let row: Option<OrganizationRow> = store::get(&context.pool, "organizations", &guid).await?;
    let mut row = row.ok_or_else(|| ApiError::not_found("Organization"))?;
    if let Some(suspended) = wish.suspended {
        user.may_on_platform(Action::Administer)?;
        row.suspended = suspended;
    }
    if let Some(name) = wish.name {
        check_name(&name)?;
        row.name = name;
    }
    store::update_organization(&context.pool, &mut row)
        .await
        .map_err(|error| organization_taken(error, &row.name))?;
    Ok(Json(show_organization(&base, row)))
}

fn organization_taken(error: sqlx::Error, name: &str) -> ApiError {
    if store::is_duplicate(&error) {
        ApiError::unprocessable(format!("Organization '{name}' already exists."))
    } else {
        error.into()
    }
}

/// As in Cloud Foundry: what is in an organization goes with it.
async fn delete_organization(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let row: Option<OrganizationRow> = store::get(&context.pool, "organizations", &guid).await?;
    row.ok_or_else(|| ApiError::not_found("Organization"))?;
    let filter = vec![store::Filter::new("organization_guid IN (", vec![guid.clone()], ")")];
    let (_, spaces) =
        store::list::<SpaceRow>(&context.pool, &store::Selection::all("spaces", filter)).await?;
    for space in spaces {
        empty_space(&context, &space.guid).await?;
    }
    match store::delete(&context.pool, "organizations", &guid).await {
        Ok(_) => jobs::done(&context, &user, &base, "organization.delete").await,
        Err(error) if is_referenced(&error) => {
            Err(ApiError::unprocessable("A space was made in the organization meanwhile: delete it again."))
        }
        Err(error) => Err(error.into()),
    }
}

async fn usage(
    context: &Context,
    base: &Base,
    owner: Owner,
    path: &str,
    guid: &str,
) -> Result<Json<UsageSummary>, ApiError> {
    let (used, routes, services) = store::usage(&context.pool, owner, guid).await?;
    let number = |number: i64| u64::try_from(number).unwrap_or(0);
    let usage_summary = Usage {
        started_instances: number(used.instances),
        memory_in_mb: number(used.memory_mb),
        routes: number(routes),
        service_instances: number(services),
    };
    let path = format!("{path}/{guid}");
    let mut links = itself(base, &format!("{path}/usage_summary"));
    let word = if owner == Owner::Organization { "organization" } else { "space" };
    links.insert(word.to_owned(), Link::get(base.url(&path)));
    Ok(Json(UsageSummary { usage_summary, links }))
}

async fn organization_usage(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<UsageSummary>, ApiError> {
    usage(&context, &base, Owner::Organization, "/v3/organizations", &guid).await
}

async fn space_usage(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<UsageSummary>, ApiError> {
    usage(&context, &base, Owner::Space, "/v3/spaces", &guid).await
}

/// Whether a row could not go because others need it.
pub(super) fn is_referenced(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_foreign_key_violation)
}

async fn organization_domains(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<Page<Domain>>, ApiError> {
    let row: Option<OrganizationRow> = store::get(&context.pool, "organizations", &guid).await?;
    row.ok_or_else(|| ApiError::not_found("Organization"))?;
    let domains: Vec<DomainRow> = store::domains(&context.pool).await?;
    let shown = domains.into_iter().map(|row| super::domains::show_domain(&base, row)).collect();
    page::whole(&base, uri.path(), &params, shown).map(Json)
}

async fn spaces(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Space>>, ApiError> {
    let filters = [
        by(&params, "names", "name IN (", ")"),
        by(&params, "guids", "guid IN (", ")"),
        by(&params, "organization_guids", "organization_guid IN (", ")"),
        user.seen(Seen::Spaces),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "spaces",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name"],
    };
    Ok(Json(page::rows(&context, listing).await?.show(|row| show_space(&base, row))))
}

async fn space(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Space>, ApiError> {
    let row = store::get(&context.pool, "spaces", &guid).await?;
    Ok(Json(show_space(&base, row.ok_or_else(|| ApiError::not_found("Space"))?)))
}

async fn create_space(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreateSpace>,
) -> Result<(StatusCode, Json<Space>), ApiError> {
    check_name(&wish.name)?;
    let organization = wish.relationships.organization.guid().unwrap_or_default().to_owned();
    let invalid = "Invalid organization. Ensure the organization exists and you have access to it.";
    user.may_named(&context, Action::ManageSpaces, Kind::Organization, &organization, invalid).await?;
    let guid = store::insert_space(&context.pool, &wish.name, &organization).await.map_err(space_taken)?;
    let row = store::get(&context.pool, "spaces", &guid).await?;
    let row = row.ok_or_else(|| ApiError::not_found("Space"))?;
    Ok((StatusCode::CREATED, Json(show_space(&base, row))))
}

async fn update_space(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<UpdateSpace>,
) -> Result<Json<Space>, ApiError> {
    let row: Option<SpaceRow> = store::get(&context.pool, "spaces", &guid).await?;
    let mut row = row.ok_or_else(|| ApiError::not_found("Space"))?;
    if let Some(name) = wish.name {
        check_name(&name)?;
        row.name = name;
    }
    store::update_space(&context.pool, &mut row).await.map_err(space_taken)?;
    Ok(Json(show_space(&base, row)))
}

fn space_taken(error: sqlx::Error) -> ApiError {
    if store::is_duplicate(&error) {
        ApiError::unprocessable("Name must be unique per organization")
    } else {
        error.into()
    }
}

async fn delete_space(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let row: Option<SpaceRow> = store::get(&context.pool, "spaces", &guid).await?;
    row.ok_or_else(|| ApiError::not_found("Space"))?;
    empty_space(&context, &guid).await?;
    jobs::done(&context, &user, &base, "space.delete").await
}

/// As in Cloud Foundry: what is in a space goes with it.
async fn empty_space(context: &Shared, guid: &str) -> Result<(), ApiError> {
    let filter = vec![store::Filter::new("space_guid IN (", vec![guid.to_owned()], ")")];
    let (_, apps) = store::list(&context.pool, &store::Selection::all("apps", filter)).await?;
    for app in &apps {
        context.delete_app(app).await?;
    }
    context.delete_services_of_space(guid).await?;
    sqlx::query("DELETE FROM routes WHERE space_guid = $1").bind(guid).execute(&context.pool).await?;
    store::delete(&context.pool, "spaces", guid).await?;
    context.routes_changed.notify_one();
    Ok(())
}

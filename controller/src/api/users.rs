//! Users and roles.

use super::{
    ApiError,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
    tenancy::itself,
};
use crate::{
    auth::User,
    context::Shared,
    store::{self, OrganizationRow, RoleRow, SpaceRow, UserRow},
};
use axum::{
    Json, Router,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use cupola_protocol::api::{Metadata, Page, Role, ToOne};
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v3/users", get(users))
        .route("/v3/users/{guid}", get(user))
        .route("/v3/roles", get(roles).post(create_role))
        .route("/v3/roles/{guid}", get(role).delete(delete_role))
}

fn show_user(base: &Base, row: UserRow) -> cupola_protocol::api::User {
    cupola_protocol::api::User {
        links: itself(base, &format!("/v3/users/{}", row.guid)),
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        username: Some(row.name.clone()),
        presentation_name: row.name,
        origin: Some("uaa".to_owned()),
        metadata: Metadata::default(),
    }
}

async fn users(
    State(context): State<Shared>,
    _: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<cupola_protocol::api::User>>, ApiError> {
    let filters = [by(&params, "usernames", "name IN (", ")"), by(&params, "guids", "guid IN (", ")")];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "users",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at"],
    };
    Ok(Json(page::rows(&context, listing).await?.show(|row| show_user(&base, row))))
}

async fn user(
    State(context): State<Shared>,
    _: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<cupola_protocol::api::User>, ApiError> {
    let row = store::get(&context.pool, "users", &guid).await?;
    Ok(Json(show_user(&base, row.ok_or_else(|| ApiError::not_found("User"))?)))
}

fn show_role(base: &Base, row: RoleRow) -> Role {
    let one = |guid: Option<String>| guid.map(ToOne::new).unwrap_or_default();
    Role {
        links: itself(base, &format!("/v3/roles/{}", row.guid)),
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        kind: row.kind,
        relationships: BTreeMap::from([
            ("user".to_owned(), ToOne::new(row.user_guid)),
            ("organization".to_owned(), one(row.organization_guid)),
            ("space".to_owned(), one(row.space_guid)),
        ]),
    }
}

async fn roles(
    State(context): State<Shared>,
    _: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Role>>, ApiError> {
    let filters = [
        by(&params, "types", "kind IN (", ")"),
        by(&params, "user_guids", "user_guid IN (", ")"),
        by(&params, "organization_guids", "organization_guid IN (", ")"),
        by(&params, "space_guids", "space_guid IN (", ")"),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "roles",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at"],
    };
    Ok(Json(page::rows(&context, listing).await?.show(|row| show_role(&base, row))))
}

async fn role(
    State(context): State<Shared>,
    _: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Role>, ApiError> {
    let row = store::get(&context.pool, "roles", &guid).await?;
    Ok(Json(show_role(&base, row.ok_or_else(|| ApiError::not_found("Role"))?)))
}

/// `POST /v3/roles`: the user by guid or, as the `cf` CLI does it, by name.
#[derive(Debug, Deserialize)]
struct CreateRole {
    #[serde(rename = "type")]
    kind: String,
    relationships: RoleSides,
}

#[derive(Debug, Deserialize)]
struct RoleSides {
    user: RoleUser,
    #[serde(default)]
    organization: Option<ToOne>,
    #[serde(default)]
    space: Option<ToOne>,
}

#[derive(Debug, Deserialize)]
struct RoleUser {
    data: RoleUserData,
}

#[derive(Debug, Deserialize)]
struct RoleUserData {
    #[serde(default)]
    guid: Option<String>,
    #[serde(default)]
    username: Option<String>,
}

const ORGANIZATION_ROLES: [&str; 4] =
    ["organization_user", "organization_manager", "organization_auditor", "organization_billing_manager"];
const SPACE_ROLES: [&str; 4] = ["space_developer", "space_manager", "space_auditor", "space_supporter"];

async fn create_role(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreateRole>,
) -> Result<(StatusCode, Json<Role>), ApiError> {
    user.must_be_admin()?;
    let sides = wish.relationships;
    let who: Option<UserRow> = match (&sides.user.data.guid, &sides.user.data.username) {
        (Some(guid), _) => store::get(&context.pool, "users", guid).await?,
        (None, Some(name)) => store::user_named(&context.pool, name).await?,
        (None, None) => None,
    };
    let who = who.ok_or_else(|| ApiError::unprocessable("Invalid user. Ensure that the user exists."))?;
    let guid = |side: &Option<ToOne>| side.as_ref().and_then(ToOne::guid).map(str::to_owned);
    let (organization_guid, space_guid) = (guid(&sides.organization), guid(&sides.space));
    let known = match wish.kind.as_str() {
        kind if ORGANIZATION_ROLES.contains(&kind) => {
            let guid = organization_guid.as_deref().unwrap_or_default();
            store::get::<OrganizationRow>(&context.pool, "organizations", guid).await?.is_some()
        }
        kind if SPACE_ROLES.contains(&kind) => {
            let guid = space_guid.as_deref().unwrap_or_default();
            store::get::<SpaceRow>(&context.pool, "spaces", guid).await?.is_some()
        }
        kind => return Err(ApiError::unprocessable(format!("Role type {kind:?} is unknown."))),
    };
    if !known {
        let detail = format!("Role type {} needs an organization or space that exists.", wish.kind);
        return Err(ApiError::unprocessable(detail));
    }
    let now = store::now();
    let row = RoleRow {
        guid: store::new_guid(),
        kind: wish.kind,
        user_guid: who.guid,
        organization_guid,
        space_guid,
        created_at: now.clone(),
        updated_at: now,
    };
    store::insert_role(&context.pool, &row).await?;
    Ok((StatusCode::CREATED, Json(show_role(&base, row))))
}

async fn delete_role(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    user.must_be_admin()?;
    if !store::delete(&context.pool, "roles", &guid).await? {
        return Err(ApiError::not_found("Role"));
    }
    jobs::done(&context, &base, "role.delete").await
}

//! Roles: what a user is in an organization or a space.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params, bad_query},
    jobs,
    page::{self, Listing, by},
    tenancy::itself,
    users,
};
use crate::{
    access::{Access, Action, Kind, Role as Known, Verdict},
    auth::{Seen, User},
    context::{Context, Shared},
    store::{self, Filter, RoleRow, Selection, UserRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
};
use cupola_protocol::api::{CreateRole, IncludedUsers, Role, RolePage, ToOne};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/roles", Access::Listed, list)
        .post("/v3/roles", Access::Handler, create)
        .get("/v3/roles/{guid}", Access::Handler, one)
        .delete("/v3/roles/{guid}", Access::Handler, delete)
}

fn show(base: &Base, row: RoleRow) -> Role {
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

async fn list(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<RolePage>, ApiError> {
    let filters = [
        by(&params, "guids", "guid IN (", ")"),
        by(&params, "types", "kind IN (", ")"),
        by(&params, "user_guids", "user_guid IN (", ")"),
        by(&params, "organization_guids", "organization_guid IN (", ")"),
        by(&params, "space_guids", "space_guid IN (", ")"),
        user.seen(Seen::Roles),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "roles",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at"],
    };
    let page = page::rows::<RoleRow>(&context, listing).await?;
    let included = match params.list("include") {
        None => None,
        Some(words) if words == ["user"] => {
            let guids: BTreeSet<_> = page.rows.iter().map(|row| row.user_guid.clone()).collect();
            let filter = Filter::new("guid IN (", guids.into_iter().collect(), ")");
            let (_, users) = store::list(&context.pool, &Selection::all("users", vec![filter])).await?;
            Some(IncludedUsers { users: users.into_iter().map(|row| users::show(&base, row)).collect() })
        }
        Some(words) => return Err(bad_query(&format!("include can be user, not {}", words.join(",")))),
    };
    Ok(Json(RolePage { page: page.show(|row| show(&base, row)), included }))
}

/// Where a role is held: what it is asked of.
fn place_of(row: &RoleRow) -> (Kind, &str) {
    match &row.space_guid {
        Some(space) => (Kind::Space, space),
        None => (Kind::Organization, row.organization_guid.as_deref().unwrap_or_default()),
    }
}

/// What one must be allowed at such a place to give and take roles there.
fn managing(kind: Kind) -> Action {
    if kind == Kind::Space { Action::ManageSpaceRoles } else { Action::ManageOrganizationRoles }
}

/// A role that the user sees.
async fn seen(context: &Context, user: &User, guid: &str) -> Result<RoleRow, ApiError> {
    let row: Option<RoleRow> = store::get(&context.pool, "roles", guid).await?;
    let row = row.ok_or_else(|| ApiError::not_found("Role"))?;
    let (kind, place) = place_of(&row);
    let reading = if kind == Kind::Space { Action::ReadSpace } else { Action::ReadOrganization };
    match user.verdict(context, reading, kind, place).await? {
        Verdict::Allowed => Ok(row),
        _ => Err(ApiError::not_found("Role")),
    }
}

async fn one(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Role>, ApiError> {
    Ok(Json(show(&base, seen(&context, &user, &guid).await?)))
}

async fn create(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreateRole>,
) -> Result<(StatusCode, Json<Role>), ApiError> {
    let known = Known::named(&wish.kind).ok_or_else(|| {
        let all = Known::ALL.iter().filter(|role| !role.is_of_platform()).map(|role| role.name());
        let all = all.collect::<Vec<_>>().join(", ");
        ApiError::unprocessable(format!("Role type {:?} is unknown: it can be {all}.", wish.kind))
    })?;
    let sides = wish.relationships;
    let (kind, side, word) = if known.is_of_space() {
        (Kind::Space, sides.space, "space")
    } else {
        (Kind::Organization, sides.organization, "organization")
    };
    let place = side.as_ref().and_then(ToOne::guid).unwrap_or_default().to_owned();
    let invalid = format!("Invalid {word}. Ensure that the {word} exists and you have access to it.");
    user.may_named(&context, managing(kind), kind, &place, &invalid).await?;
    let who: Option<UserRow> = match (&sides.user.data.guid, &sides.user.data.username) {
        (Some(guid), _) => store::get(&context.pool, "users", guid).await?,
        (None, Some(name)) => store::user_named(&context.pool, name).await?,
        (None, None) => None,
    };
    let who = who.ok_or_else(|| {
        let name = sides.user.data.username.as_deref();
        ApiError::unprocessable(match name {
            Some(name) => format!("No user exists with the username '{name}'."),
            None => "Invalid user. Ensure that the user exists and you have access to it.".to_owned(),
        })
    })?;
    if known.is_of_space() && !store::belongs_to_organization_of(&context.pool, &who.guid, &place).await? {
        return Err(ApiError::unprocessable(
            "Users cannot be assigned roles in a space if they do not have a role in that space's organization.",
        ));
    }
    let now = store::now();
    let in_space = known.is_of_space();
    let row = RoleRow {
        guid: store::new_guid(),
        kind: wish.kind,
        user_guid: who.guid,
        organization_guid: (!in_space).then(|| place.clone()),
        space_guid: in_space.then_some(place),
        created_at: now.clone(),
        updated_at: now,
    };
    match store::insert_role(&context.pool, &row).await {
        Ok(()) => {}
        Err(error) if store::is_duplicate(&error) => {
            let detail = format!("User '{}' already has '{}' role in this {word}.", who.name, row.kind);
            return Err(ApiError::unprocessable(detail));
        }
        Err(error) => return Err(error.into()),
    }
    tracing::info!(by = user.guid(), user = row.user_guid, role = row.kind, "gave a role");
    Ok((StatusCode::CREATED, Json(show(&base, row))))
}

async fn delete(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let row = seen(&context, &user, &guid).await?;
    let (kind, place) = place_of(&row);
    // One's own roles may be laid down by oneself.
    if row.user_guid != user.guid() {
        user.may(&context, managing(kind), kind, place).await?;
    }
    // Nobody stays in a space whose organization he has left: decided in the one statement, since roles may be
    // given at the same time.
    if !store::delete_role(&context.pool, &guid).await? {
        return Err(match store::get::<RoleRow>(&context.pool, "roles", &guid).await? {
            None => ApiError::not_found("Role"),
            Some(_) => ApiError::unprocessable(
                "The user still has roles in spaces of the organization: take those first.",
            ),
        });
    }
    tracing::info!(by = user.guid(), user = row.user_guid, role = row.kind, "took a role");
    jobs::done(&context, &user, &base, "role.delete").await
}

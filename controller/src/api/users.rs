//! Users, as API v3 has them. Their passwords are in `uaa`.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
    tenancy::itself,
};
use crate::{
    access::{Access, Action},
    auth::{Seen, User},
    context::Shared,
    store::{self, UserRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
};
use cupola_protocol::api::{CreateUser, Metadata, Page, UpdateUser, User as Shown};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/users", Access::Listed, list)
        .post("/v3/users", Access::Platform(Action::Administer), create)
        .get("/v3/users/{guid}", Access::Handler, one)
        .patch("/v3/users/{guid}", Access::Platform(Action::Administer), update)
        .delete("/v3/users/{guid}", Access::Platform(Action::Administer), delete)
}

pub(super) fn show(base: &Base, row: UserRow) -> Shown {
    Shown {
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

async fn list(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Shown>>, ApiError> {
    let filters = [
        by(&params, "usernames", "name IN (", ")"),
        by(&params, "guids", "guid IN (", ")"),
        Some(known()),
        user.seen(Seen::Users),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "users",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at"],
    };
    Ok(Json(page::rows(&context, listing).await?.show(|row| show(&base, row))))
}

/// A user that another one sees.
async fn seen(context: &Shared, user: &User, guid: &str) -> Result<UserRow, ApiError> {
    let filters = [by_guid(guid), Some(known()), user.seen(Seen::Users)];
    let selection = store::Selection::all("users", filters.into_iter().flatten().collect());
    let (_, rows) = store::list(&context.pool, &selection).await?;
    rows.into_iter().next().ok_or_else(|| ApiError::not_found("User"))
}

/// Leaves out users that UAA alone has.
fn known() -> store::Filter {
    store::Filter::new("CAST(known AS TEXT) IN (", vec!["1".to_owned()], ")")
}

fn by_guid(guid: &str) -> Option<store::Filter> {
    Some(store::Filter::new("guid IN (", vec![guid.to_owned()], ")"))
}

async fn one(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Shown>, ApiError> {
    Ok(Json(show(&base, seen(&context, &user, &guid).await?)))
}

/// The controller shall know a user that UAA has.
async fn create(
    State(context): State<Shared>,
    base: Base,
    Input(wish): Input<CreateUser>,
) -> Result<(StatusCode, Json<Shown>), ApiError> {
    let row: Option<UserRow> = match (&wish.guid, &wish.username) {
        (Some(guid), _) => store::get(&context.pool, "users", guid).await?,
        (None, Some(name)) => store::user_named(&context.pool, name).await?,
        (None, None) => None,
    };
    let row = row.ok_or_else(|| {
        ApiError::unprocessable("There is no such user: make it with its password first (POST /Users).")
    })?;
    if !store::know_user(&context.pool, &row.guid).await? {
        let detail = format!("User with guid '{}' already exists.", row.guid);
        return Err(ApiError::unprocessable(detail));
    }
    Ok((StatusCode::CREATED, Json(show(&base, row))))
}

/// Only labels could be changed, and none are kept.
async fn update(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<UpdateUser>,
) -> Result<Json<Shown>, ApiError> {
    let row = seen(&context, &user, &guid).await?;
    let metadata = wish.metadata.unwrap_or_default();
    if !metadata.labels.is_empty() || !metadata.annotations.is_empty() {
        return Err(ApiError::unprocessable(
            "Labels and annotations of users are not kept yet: leave them out.",
        ));
    }
    Ok(Json(show(&base, row)))
}

async fn delete(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    seen(&context, &user, &guid).await?;
    if !store::forget_user(&context.pool, &guid).await? {
        return Err(ApiError::last_administrator());
    }
    tracing::info!(by = user.guid(), user = guid, "forgot a user");
    jobs::done(&context, &user, &base, "user.delete").await
}

//! Users, as API v3 has them. Their passwords are in `uaa`.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Params},
    page::{self, Listing, by},
    tenancy::itself,
};
use crate::{
    access::Access,
    auth::{Seen, User},
    context::Shared,
    store::{self, UserRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
};
use cupola_protocol::api::{Metadata, Page, User as Shown};

pub(super) fn routes() -> Endpoints {
    Endpoints::new().get("/v3/users", Access::Listed, list).get("/v3/users/{guid}", Access::Handler, one)
}

fn show(base: &Base, row: UserRow) -> Shown {
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
    let filters = [by_guid(guid), user.seen(Seen::Users)];
    let selection = store::Selection::all("users", filters.into_iter().flatten().collect());
    let (_, rows) = store::list(&context.pool, &selection).await?;
    rows.into_iter().next().ok_or_else(|| ApiError::not_found("User"))
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

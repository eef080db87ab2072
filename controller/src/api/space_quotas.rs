//! Quotas of spaces: an organization's managers divide what it has.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
    quotas::{Applied, change, show_limits, taken, unlimited},
    tenancy::{check_name, itself},
};
use crate::{
    access::{Access, Action, Kind, Verdict},
    auth::{Seen, User},
    context::{Context, Shared},
    quota::Owner,
    store::{self, Filter, Selection, SpaceQuotaRow, SpaceRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
};
use cupola_protocol::api::{Named, Page, Quota, QuotaChange, QuotaSides, ToMany, ToOne};

pub(super) fn routes() -> Endpoints {
    const MANAGED: Access = Access::On(Kind::SpaceQuota, Action::ManageSpaces);
    Endpoints::new()
        .get("/v3/space_quotas", Access::Listed, list)
        .post("/v3/space_quotas", Access::Named(Kind::Organization, Action::ManageSpaces), create)
        .get("/v3/space_quotas/{guid}", Access::Handler, one)
        .patch("/v3/space_quotas/{guid}", MANAGED, update)
        .delete("/v3/space_quotas/{guid}", MANAGED, delete)
        .post("/v3/space_quotas/{guid}/relationships/spaces", MANAGED, apply)
        .delete("/v3/space_quotas/{guid}/relationships/spaces/{space}", MANAGED, take)
}

/// A quota with the spaces that have it, as far as the user sees them.
async fn show(context: &Context, user: &User, base: &Base, row: SpaceQuotaRow) -> Result<Quota, ApiError> {
    let mut data = Vec::new();
    for space in store::spaces_with_quota(&context.pool, &row.quota.guid).await? {
        if user.verdict(context, Action::ReadSpace, Kind::Space, &space).await? == Verdict::Allowed {
            data.push(Named::new(space));
        }
    }
    let sides = QuotaSides {
        organization: Some(ToOne::new(row.organization_guid)),
        spaces: Some(ToMany { data }),
        ..QuotaSides::default()
    };
    Ok(show_limits(base, "/v3/space_quotas", row.quota, sides))
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
        by(&params, "organization_guids", "organization_guid IN (", ")"),
        by(&params, "space_guids", "guid IN (SELECT quota_guid FROM spaces WHERE guid IN (", "))"),
        user.seen(Seen::SpaceQuotas),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "space_quotas",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name"],
    };
    let mut page = page::rows::<SpaceQuotaRow>(&context, listing).await?;
    let mut shown = Vec::new();
    for row in std::mem::take(&mut page.rows) {
        shown.push(show(&context, &user, &base, row).await?);
    }
    Ok(Json(page.of(shown)))
}

/// A quota that the user sees.
async fn seen(context: &Context, user: &User, guid: &str) -> Result<SpaceQuotaRow, ApiError> {
    let filters = [Some(Filter::new("guid IN (", vec![guid.to_owned()], ")")), user.seen(Seen::SpaceQuotas)];
    let selection = Selection::all("space_quotas", filters.into_iter().flatten().collect());
    let (_, rows) = store::list(&context.pool, &selection).await?;
    rows.into_iter().next().ok_or_else(|| ApiError::not_found("Space quota"))
}

async fn one(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Quota>, ApiError> {
    let row = seen(&context, &user, &guid).await?;
    Ok(Json(show(&context, &user, &base, row).await?))
}

/// Refuses spaces of other organizations, before the quota is applied to any.
async fn check_spaces(context: &Context, organization: &str, sides: &[Named]) -> Result<(), ApiError> {
    for space in sides {
        let row: Option<SpaceRow> = store::get(&context.pool, "spaces", &space.guid).await?;
        row.filter(|row| row.organization_guid == organization).ok_or_else(|| {
            let guid = &space.guid;
            ApiError::unprocessable(format!(
                "Spaces with guids [\"{guid}\"] do not exist, or you do not have access to them, or they are not in \
                 the quota's organization."
            ))
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
    let organization = wish.relationships.organization.as_ref().and_then(ToOne::guid).unwrap_or_default();
    let invalid = "Invalid organization. Ensure the organization exists and you have access to it.";
    user.may_named(&context, Action::ManageSpaces, Kind::Organization, organization, invalid).await?;
    let mut quota = unlimited();
    change(&mut quota, &wish)?;
    check_name(&quota.name)?;
    let row = SpaceQuotaRow { quota, organization_guid: organization.to_owned() };
    let sides = wish.relationships.spaces.clone().unwrap_or_default().data;
    check_spaces(&context, organization, &sides).await?;
    let inserted = store::insert_space_quota(&context.pool, &row).await;
    inserted.map_err(|error| taken(error, "Space", &row.quota.name))?;
    for space in sides {
        store::set_space_quota(&context.pool, &space.guid, Some(&row.quota.guid)).await?;
    }
    Ok((StatusCode::CREATED, Json(show(&context, &user, &base, row).await?)))
}

async fn row(context: &Context, guid: &str) -> Result<SpaceQuotaRow, ApiError> {
    store::get(&context.pool, "space_quotas", guid).await?.ok_or_else(|| ApiError::not_found("Space quota"))
}

async fn update(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<QuotaChange>,
) -> Result<Json<Quota>, ApiError> {
    let mut row = row(&context, &guid).await?;
    change(&mut row.quota, &wish)?;
    let updated = store::update_quota(&context.pool, Owner::Space, &mut row.quota).await;
    updated.map_err(|error| taken(error, "Space", &row.quota.name))?;
    Ok(Json(show(&context, &user, &base, row).await?))
}

async fn delete(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    // Spaces that have it have none then.
    store::delete(&context.pool, "space_quotas", &guid).await?;
    jobs::done(&context, &user, &base, "space_quota.delete").await
}

async fn apply(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<ToMany>,
) -> Result<Json<Applied>, ApiError> {
    let row = row(&context, &guid).await?;
    check_spaces(&context, &row.organization_guid, &wish.data).await?;
    for space in &wish.data {
        store::set_space_quota(&context.pool, &space.guid, Some(&guid)).await?;
    }
    let data = show(&context, &user, &base, row).await?.relationships.spaces.unwrap_or_default().data;
    let path = format!("/v3/space_quotas/{guid}/relationships/spaces");
    Ok(Json(Applied { data, links: itself(&base, &path) }))
}

async fn take(
    State(context): State<Shared>,
    Path((guid, space)): Path<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let row: Option<SpaceRow> = store::get(&context.pool, "spaces", &space).await?;
    if row.is_none_or(|row| row.quota_guid.as_deref() != Some(guid.as_str())) {
        return Err(ApiError::unprocessable(
            "Unable to remove quota from space. Ensure the space quota is applied to this space.",
        ));
    }
    store::set_space_quota(&context.pool, &space, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! Actions on apps, and manifests.

use super::{ApiError, apps, endpoints::Endpoints, input::Base, jobs};
use crate::{
    access::{Access, Action, Kind},
    auth::User,
    context::Shared,
    manifest,
    store::{self, DropletRow, SpaceRow},
};
use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use cupola_protocol::api::{App, Link, Links, ManifestDiff, Named, ToOne};
use serde::Serialize;
use std::collections::BTreeMap;

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .post("/v3/apps/{guid}/actions/{action}", Access::On(Kind::App, Action::OperateApps), act)
        .get(
            "/v3/apps/{guid}/relationships/current_droplet",
            Access::On(Kind::App, Action::ReadSpace),
            current_droplet,
        )
        .patch(
            "/v3/apps/{guid}/relationships/current_droplet",
            Access::On(Kind::App, Action::OperateApps),
            set_current_droplet,
        )
        .post(
            "/v3/spaces/{guid}/actions/apply_manifest",
            Access::On(Kind::Space, Action::WriteApps),
            apply_manifest,
        )
        .post("/v3/spaces/{guid}/manifest_diff", Access::On(Kind::Space, Action::WriteApps), manifest_diff)
}

async fn act(
    State(context): State<Shared>,
    base: Base,
    Path((guid, action)): Path<(String, String)>,
) -> Result<Json<App>, ApiError> {
    let row = match action.as_str() {
        "start" => context.start_app(&guid).await?,
        "stop" => context.stop_app(&guid).await?,
        "restart" => context.restart_app(&guid).await?,
        _ => return Err(ApiError::new(404, 10000, "CF-NotFound", "Unknown request")),
    };
    Ok(Json(apps::show(&base, row)))
}

/// Which droplet an app runs.
#[derive(Debug, Serialize)]
struct CurrentDroplet {
    data: Named,
    links: Links,
}

fn show(base: &Base, app: &str, droplet: String) -> CurrentDroplet {
    let path = format!("/v3/apps/{app}");
    let links = BTreeMap::from([
        ("self".to_owned(), Link::get(base.url(&format!("{path}/relationships/current_droplet")))),
        ("related".to_owned(), Link::get(base.url(&format!("{path}/droplets/current")))),
    ]);
    CurrentDroplet { data: Named::new(droplet), links }
}

async fn current_droplet(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<CurrentDroplet>, ApiError> {
    let droplet = context.app(&guid).await?.droplet_guid.ok_or_else(|| ApiError::not_found("Droplet"))?;
    Ok(Json(show(&base, &guid, droplet)))
}

async fn set_current_droplet(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
    super::input::Input(wish): super::input::Input<ToOne>,
) -> Result<Json<CurrentDroplet>, ApiError> {
    let _lock = context.locks.app(&guid).await?;
    let mut row = context.app(&guid).await?;
    let droplet: Option<DropletRow> =
        store::get(&context.pool, "droplets", wish.guid().unwrap_or_default()).await?;
    let droplet = droplet.filter(|droplet| droplet.app_guid == guid).ok_or_else(|| {
        ApiError::unprocessable(
            "Unable to assign current droplet. Ensure the droplet exists and belongs to this app.",
        )
    })?;
    row.droplet_guid = Some(droplet.guid.clone());
    store::update_app(&context.pool, &mut row).await?;
    context.tell_updated(&row.id()).await;
    Ok(Json(show(&base, &guid, droplet.guid)))
}

async fn space(context: &Shared, guid: &str) -> Result<SpaceRow, ApiError> {
    store::get(&context.pool, "spaces", guid).await?.ok_or_else(|| ApiError::not_found("Space"))
}

async fn apply_manifest(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let space = space(&context, &guid).await?;
    context.apply_manifest(&space, manifest::parse(&body)?, user.guid()).await?;
    jobs::done(&context, &user, &base, "space.apply_manifest").await
}

/// Says nothing of differences, which clients only print; what cannot be read is refused all the same.
async fn manifest_diff(
    State(context): State<Shared>,
    Path(guid): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<ManifestDiff>), ApiError> {
    space(&context, &guid).await?;
    manifest::parse(&body)?;
    Ok((StatusCode::ACCEPTED, Json(ManifestDiff::default())))
}

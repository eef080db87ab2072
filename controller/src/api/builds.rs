//! Builds and droplets.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
    tenancy::itself,
    upload,
};
use crate::{
    access::{Access, Action, Kind},
    auth::{Seen, User},
    blobs::Key,
    context::{Context, Shared},
    store::{self, AppRow, BuildRow, DropletRow, Filter},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use cupola_protocol::api::{
    Actor, Build, BuildStatus, Checksum, CreateBuild, Droplet, DropletBuildpack, DropletStatus, Link,
    Metadata, Named, Page, ToOne,
};
use std::collections::BTreeMap;

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/builds", Access::Listed, builds)
        .post("/v3/builds", Access::Named(Kind::Package, Action::OperateApps), create)
        .get("/v3/builds/{guid}", Access::On(Kind::Build, Action::ReadSpace), build)
        .get("/v3/apps/{guid}/builds", Access::On(Kind::App, Action::ReadSpace), builds_of_app)
        .get("/v3/droplets", Access::Listed, droplets)
        .get("/v3/droplets/{guid}", Access::On(Kind::Droplet, Action::ReadSpace), droplet)
        .delete("/v3/droplets/{guid}", Access::On(Kind::Droplet, Action::WriteApps), delete_droplet)
        .get("/v3/droplets/{guid}/download", Access::On(Kind::Droplet, Action::ReadSecrets), download)
        .get("/v3/apps/{guid}/droplets", Access::On(Kind::App, Action::ReadSpace), droplets_of_app)
        .get("/v3/apps/{guid}/droplets/current", Access::On(Kind::App, Action::ReadSpace), current)
        .get(
            "/v3/packages/{guid}/droplets",
            Access::On(Kind::Package, Action::ReadSpace),
            droplets_of_package,
        )
}

fn show_build(base: &Base, row: BuildRow) -> Build {
    let mut links = itself(base, &format!("/v3/builds/{}", row.guid));
    links.insert("app".to_owned(), Link::get(base.url(&format!("/v3/apps/{}", row.app_guid))));
    if let Some(droplet) = &row.droplet_guid {
        links.insert("droplet".to_owned(), Link::get(base.url(&format!("/v3/droplets/{droplet}"))));
    }
    Build {
        lifecycle: store::lifecycle(&row.buildpacks, &row.stack),
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        created_by: Some(Actor {
            guid: row.created_by_guid,
            name: row.created_by_name.clone(),
            email: row.created_by_name,
        }),
        state: match row.state.as_str() {
            "STAGED" => BuildStatus::Staged,
            "FAILED" => BuildStatus::Failed,
            _ => BuildStatus::Staging,
        },
        staging_memory_in_mb: store::mebibytes(row.memory_mb),
        staging_disk_in_mb: store::mebibytes(row.disk_mb),
        error: row.error,
        package: Named::new(row.package_guid),
        droplet: row.droplet_guid.map(Named::new),
        relationships: BTreeMap::from([("app".to_owned(), ToOne::new(row.app_guid))]),
        metadata: Metadata::default(),
        links,
    }
}

fn show_droplet(base: &Base, row: DropletRow) -> Droplet {
    let path = format!("/v3/droplets/{}", row.guid);
    let app = format!("/v3/apps/{}", row.app_guid);
    let mut links = itself(base, &path);
    links.insert("package".to_owned(), Link::get(base.url(&format!("/v3/packages/{}", row.package_guid))));
    links.insert("app".to_owned(), Link::get(base.url(&app)));
    links.insert(
        "assign_current_droplet".to_owned(),
        Link {
            method: Some("PATCH".to_owned()),
            ..Link::get(base.url(&format!("{app}/relationships/current_droplet")))
        },
    );
    links.insert("download".to_owned(), Link::get(base.url(&format!("{path}/download"))));
    let buildpacks = row.buildpack.map(|name| {
        let detect_output = row.detected;
        vec![DropletBuildpack { buildpack_name: Some(name.clone()), name, detect_output, version: None }]
    });
    Droplet {
        lifecycle: store::lifecycle(&row.buildpacks, &row.stack),
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        state: DropletStatus::Staged,
        error: None,
        execution_metadata: String::new(),
        process_types: serde_json::from_str(&row.process_types).ok(),
        checksum: Some(Checksum { kind: Some("sha256".to_owned()), value: Some(row.sha256) }),
        buildpacks: Some(buildpacks.unwrap_or_default()),
        stack: Some(row.stack),
        image: None,
        relationships: BTreeMap::from([("app".to_owned(), ToOne::new(row.app_guid))]),
        metadata: Metadata::default(),
        links,
    }
}

async fn list_builds(
    context: &Context,
    base: &Base,
    path: &str,
    params: &Params,
    more: Vec<Filter>,
) -> Result<Json<Page<Build>>, ApiError> {
    let filters = [
        by(params, "app_guids", "app_guid IN (", ")"),
        by(params, "package_guids", "package_guid IN (", ")"),
        by(params, "states", "state IN (", ")"),
    ];
    let filters = filters.into_iter().flatten().chain(more).collect();
    let orders = &["created_at", "updated_at"];
    let listing = Listing { base, path, params, table: "builds", filters, orders };
    Ok(Json(page::rows(context, listing).await?.show(|row| show_build(base, row))))
}

async fn builds(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Build>>, ApiError> {
    list_builds(&context, &base, uri.path(), &params, user.seen(Seen::OfApps).into_iter().collect()).await
}

async fn builds_of_app(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<Page<Build>>, ApiError> {
    context.app(&guid).await?;
    list_builds(&context, &base, uri.path(), &params, vec![Filter::new("app_guid IN (", vec![guid], ")")])
        .await
}

async fn build(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Build>, ApiError> {
    let row = store::get(&context.pool, "builds", &guid).await?;
    Ok(Json(show_build(&base, row.ok_or_else(|| ApiError::not_found("Build"))?)))
}

async fn create(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreateBuild>,
) -> Result<(StatusCode, Json<Build>), ApiError> {
    let invalid = "Unable to use package. Ensure that the package exists and you have access to it.";
    user.may_named(&context, Action::OperateApps, Kind::Package, &wish.package.guid, invalid).await?;
    let row = context.begin_build(&wish, &user.claims).await?;
    Ok((StatusCode::CREATED, Json(show_build(&base, row))))
}

async fn list_droplets(
    context: &Context,
    base: &Base,
    path: &str,
    params: &Params,
    more: Vec<Filter>,
) -> Result<Json<Page<Droplet>>, ApiError> {
    let filters = [
        by(params, "app_guids", "app_guid IN (", ")"),
        by(params, "guids", "guid IN (", ")"),
        // Only what was staged has a row.
        by(params, "states", "'STAGED' IN (", ")"),
    ];
    let filters = filters.into_iter().flatten().chain(more).collect();
    let orders = &["created_at", "updated_at"];
    let listing = Listing { base, path, params, table: "droplets", filters, orders };
    Ok(Json(page::rows(context, listing).await?.show(|row| show_droplet(base, row))))
}

async fn droplets(
    State(context): State<Shared>,
    user: User,
    base: Base,
    uri: OriginalUri,
    params: Params,
) -> Result<Json<Page<Droplet>>, ApiError> {
    list_droplets(&context, &base, uri.path(), &params, user.seen(Seen::OfApps).into_iter().collect()).await
}

async fn droplets_of_app(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<Page<Droplet>>, ApiError> {
    let app: AppRow = context.app(&guid).await?;
    let mut filters = vec![Filter::new("app_guid IN (", vec![guid], ")")];
    if params.get("current") == Some("true") {
        filters.push(Filter::new("guid IN (", app.droplet_guid.into_iter().collect(), ")"));
    }
    list_droplets(&context, &base, uri.path(), &params, filters).await
}

async fn droplets_of_package(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<Page<Droplet>>, ApiError> {
    list_droplets(
        &context,
        &base,
        uri.path(),
        &params,
        vec![Filter::new("package_guid IN (", vec![guid], ")")],
    )
    .await
}

async fn row(context: &Context, guid: &str) -> Result<DropletRow, ApiError> {
    store::get(&context.pool, "droplets", guid).await?.ok_or_else(|| ApiError::not_found("Droplet"))
}

async fn droplet(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Droplet>, ApiError> {
    Ok(Json(show_droplet(&base, row(&context, &guid).await?)))
}

async fn current(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Droplet>, ApiError> {
    let app = context.app(&guid).await?;
    let row = context.droplet_of(&app).await?.ok_or_else(|| ApiError::not_found("Droplet"))?;
    Ok(Json(show_droplet(&base, row)))
}

async fn download(State(context): State<Shared>, Path(guid): Path<String>) -> Result<Response, ApiError> {
    let row = row(&context, &guid).await?;
    upload::send(&context, &Key::droplet(&row.sha256), "application/gzip", "Droplet bits").await
}

async fn delete_droplet(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let row = row(&context, &guid).await?;
    let lock = context.locks.app(&row.app_guid).await?;
    if context.app(&row.app_guid).await?.droplet_guid.as_deref() == Some(guid.as_str()) {
        return Err(ApiError::unprocessable("The droplet is its app's current one: assign another first."));
    }
    context.delete_droplet(&guid, &row.sha256).await?;
    drop(lock);
    jobs::done(&context, &user, &base, "droplet.delete").await
}

//! Apps and their environment.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    jobs,
    page::{self, Listing, by},
    tenancy::{check_name, itself},
};
use crate::{
    access::{Access, Action, Kind, Verdict},
    auth::{Seen, User},
    context::Shared,
    manifest::{duplicate_app, set_environment},
    staging::check_lifecycle,
    store::{self, AppRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, StatusCode},
};
use cupola_protocol::api::{
    App, AppEnv, CreateApp, EnvVars, Lifecycle, Link, Metadata, Page, ToOne, UpdateApp,
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/apps", Access::Listed, list)
        .post("/v3/apps", Access::Named(Kind::Space, Action::WriteApps), create)
        .get("/v3/apps/{guid}", Access::On(Kind::App, Action::ReadSpace), show_one)
        .patch("/v3/apps/{guid}", Access::On(Kind::App, Action::WriteApps), update)
        .delete("/v3/apps/{guid}", Access::On(Kind::App, Action::WriteApps), delete)
        .get("/v3/apps/{guid}/env", Access::On(Kind::App, Action::ReadSecrets), env)
        .get("/v3/apps/{guid}/environment_variables", Access::On(Kind::App, Action::ReadVariables), variables)
        .patch(
            "/v3/apps/{guid}/environment_variables",
            Access::On(Kind::App, Action::WriteApps),
            set_variables,
        )
        .get("/v3/apps/{guid}/permissions", Access::On(Kind::App, Action::ReadSpace), permissions)
        .get("/v3/apps/{guid}/ssh_enabled", Access::On(Kind::App, Action::ReadSpace), ssh)
}

pub(super) fn show(base: &Base, row: AppRow) -> App {
    let path = format!("/v3/apps/{}", row.guid);
    let mut links = itself(base, &path);
    for part in ["environment_variables", "processes", "packages", "droplets/current", "routes", "tasks"] {
        let name = part.replace("droplets/current", "current_droplet").replace("routes", "route_mappings");
        links.insert(name, Link::get(base.url(&format!("{path}/{part}"))));
    }
    for action in ["start", "stop"] {
        links.insert(action.to_owned(), Link::post(base.url(&format!("{path}/actions/{action}"))));
    }
    links.insert("space".to_owned(), Link::get(base.url(&format!("/v3/spaces/{}", row.space_guid))));
    App {
        state: row.desired(),
        lifecycle: row.lifecycle(),
        relationships: BTreeMap::from([
            ("space".to_owned(), ToOne::new(row.space_guid)),
            ("current_droplet".to_owned(), row.droplet_guid.map(ToOne::new).unwrap_or_default()),
        ]),
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        name: row.name,
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
) -> Result<Json<Page<App>>, ApiError> {
    let filters = [
        by(&params, "names", "name IN (", ")"),
        by(&params, "guids", "guid IN (", ")"),
        by(&params, "space_guids", "space_guid IN (", ")"),
        by(&params, "stacks", "stack IN (", ")"),
        by(
            &params,
            "organization_guids",
            "space_guid IN (SELECT guid FROM spaces WHERE organization_guid IN (",
            "))",
        ),
        user.seen(Seen::InSpaces),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "apps",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at", "name", "state"],
    };
    Ok(Json(page::rows(&context, listing).await?.show(|row| show(&base, row))))
}

async fn create(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Input(wish): Input<CreateApp>,
) -> Result<(StatusCode, Json<App>), ApiError> {
    let space = wish.relationships.space.guid().unwrap_or_default();
    let invalid = "Invalid space. Ensure that the space exists and you have access to it.";
    user.may_named(&context, Action::WriteApps, Kind::Space, space, invalid).await?;
    let mut row = context.new_app(&wish.name, space)?;
    if let Some(lifecycle) = &wish.lifecycle {
        set_lifecycle(&mut row, lifecycle)?;
    }
    let variables = wish.environment_variables.into_iter().map(|(name, value)| (name, Some(value)));
    set_environment(&mut row, variables.collect())?;
    context.make_app(&row).await?;
    Ok((StatusCode::CREATED, Json(show(&base, row))))
}

fn set_lifecycle(row: &mut AppRow, lifecycle: &Lifecycle) -> Result<(), ApiError> {
    check_lifecycle(lifecycle)?;
    if let Some(buildpacks) = &lifecycle.data.buildpacks {
        row.buildpacks = store::json(buildpacks);
    }
    if let Some(stack) = &lifecycle.data.stack {
        row.stack.clone_from(stack);
    }
    Ok(())
}

async fn show_one(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<App>, ApiError> {
    Ok(Json(show(&base, context.app(&guid).await?)))
}

async fn update(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<UpdateApp>,
) -> Result<Json<App>, ApiError> {
    let _lock = context.locks.app(&guid).await?;
    let mut row = context.app(&guid).await?;
    if let Some(name) = wish.name {
        check_name(&name)?;
        row.name = name;
    }
    if let Some(lifecycle) = &wish.lifecycle {
        set_lifecycle(&mut row, lifecycle)?;
    }
    let written = store::update_app(&context.pool, &mut row).await;
    written.map_err(|error| duplicate_app(error, &row.name))?;
    Ok(Json(show(&base, row)))
}

async fn delete(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let row = context.app(&guid).await?;
    context.delete_app(&row).await?;
    jobs::done(&context, &user, &base, "app.delete").await
}

async fn env(State(context): State<Shared>, Path(guid): Path<String>) -> Result<Json<AppEnv>, ApiError> {
    let row = context.app(&guid).await?;
    let uris = store::uris_of_app(&context.pool, &guid).await?;
    let application = context.vcap_application(&row, &uris).await?;
    Ok(Json(AppEnv {
        environment_variables: row.environment(),
        system_env_json: context.bound_to(&guid).await?.environment(),
        application_env_json: Map::from_iter([("VCAP_APPLICATION".to_owned(), Value::Object(application))]),
        ..AppEnv::default()
    }))
}

fn show_variables(base: &Base, row: &AppRow) -> EnvVars {
    let path = format!("/v3/apps/{}", row.guid);
    let mut links = itself(base, &format!("{path}/environment_variables"));
    links.insert("app".to_owned(), Link::get(base.url(&path)));
    EnvVars { var: row.environment().into_iter().map(|(name, value)| (name, Some(value))).collect(), links }
}

async fn variables(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<EnvVars>, ApiError> {
    Ok(Json(show_variables(&base, &context.app(&guid).await?)))
}

async fn set_variables(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<EnvVars>,
) -> Result<Json<EnvVars>, ApiError> {
    let _lock = context.locks.app(&guid).await?;
    let mut row = context.app(&guid).await?;
    set_environment(&mut row, wish.var)?;
    store::update_app(&context.pool, &mut row).await?;
    Ok(Json(show_variables(&base, &row)))
}

async fn permissions(
    State(context): State<Shared>,
    user: User,
    Path(guid): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let secrets = user.verdict(&context, Action::ReadSecrets, Kind::App, &guid).await? == Verdict::Allowed;
    Ok(Json(serde_json::json!({"read_basic_data": true, "read_sensitive_data": secrets})))
}

async fn ssh(State(context): State<Shared>, Path(guid): Path<String>) -> Result<Json<Value>, ApiError> {
    context.app(&guid).await?;
    Ok(Json(serde_json::json!({"enabled": false, "reason": "the platform has no SSH access to apps yet"})))
}

//! Processes: each app has one, `web`, with the guid of its app.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Input, Params},
    page::{self, Listing, by},
    tenancy::itself,
};
use crate::{
    access::{Access, Action, Kind},
    auth::{Seen, User},
    context::Shared,
    store::{self, AppRow},
};
use axum::{
    Json,
    extract::{OriginalUri, Path, State},
    http::StatusCode,
};
use cupola_protocol::api::{
    HealthCheck, HealthCheckData, Link, Metadata, Page, Process, ProcessStats, Scale, ToOne, UpdateProcess,
};
use std::collections::BTreeMap;

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/processes", Access::Listed, list)
        .get("/v3/processes/{guid}", Access::On(Kind::Process, Action::ReadSpace), one)
        .patch("/v3/processes/{guid}", Access::On(Kind::Process, Action::WriteApps), update)
        .get("/v3/processes/{guid}/stats", Access::On(Kind::Process, Action::ReadSpace), stats)
        .post("/v3/processes/{guid}/actions/scale", Access::On(Kind::Process, Action::OperateApps), scale)
        .delete(
            "/v3/processes/{guid}/instances/{index}",
            Access::On(Kind::Process, Action::OperateApps),
            stop_instance,
        )
        .get("/v3/apps/{guid}/processes", Access::On(Kind::App, Action::ReadSpace), of_app)
        .get("/v3/apps/{guid}/processes/{kind}", Access::On(Kind::App, Action::ReadSpace), of_app_one)
        .patch("/v3/apps/{guid}/processes/{kind}", Access::On(Kind::App, Action::WriteApps), of_app_update)
        .get("/v3/apps/{guid}/processes/{kind}/stats", Access::On(Kind::App, Action::ReadSpace), of_app_stats)
        .post(
            "/v3/apps/{guid}/processes/{kind}/actions/scale",
            Access::On(Kind::App, Action::OperateApps),
            of_app_scale,
        )
        .delete(
            "/v3/apps/{guid}/processes/{kind}/instances/{index}",
            Access::On(Kind::App, Action::OperateApps),
            of_app_stop_instance,
        )
}

fn show(base: &Base, row: AppRow) -> Process {
    let path = format!("/v3/processes/{}", row.guid);
    let mut links = itself(base, &path);
    links.insert("scale".to_owned(), Link::post(base.url(&format!("{path}/actions/scale"))));
    links.insert("app".to_owned(), Link::get(base.url(&format!("/v3/apps/{}", row.guid))));
    links.insert("space".to_owned(), Link::get(base.url(&format!("/v3/spaces/{}", row.space_guid))));
    links.insert("stats".to_owned(), Link::get(base.url(&format!("{path}/stats"))));
    let seconds = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Process {
        kind: "web".to_owned(),
        instances: row.instances(),
        memory_in_mb: row.memory(),
        disk_in_mb: row.disk(),
        log_rate_limit_in_bytes_per_second: -1,
        health_check: HealthCheck {
            kind: row.health_check(),
            data: HealthCheckData {
                timeout: seconds(row.health_check_timeout),
                invocation_timeout: seconds(row.health_check_invocation_timeout),
                interval: None,
                endpoint: row.health_check_endpoint,
            },
        },
        relationships: BTreeMap::from([
            ("app".to_owned(), ToOne::new(row.guid.clone())),
            ("revision".to_owned(), ToOne::default()),
        ]),
        guid: row.guid,
        created_at: row.created_at,
        updated_at: row.updated_at,
        command: row.command,
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
) -> Result<Json<Page<Process>>, ApiError> {
    let filters = [
        by(&params, "app_guids", "guid IN (", ")"),
        by(&params, "guids", "guid IN (", ")"),
        by(&params, "types", "'web' IN (", ")"),
        by(&params, "space_guids", "space_guid IN (", ")"),
        user.seen(Seen::InSpaces),
    ];
    let listing = Listing {
        base: &base,
        path: uri.path(),
        params: &params,
        table: "apps",
        filters: filters.into_iter().flatten().collect(),
        orders: &["created_at", "updated_at"],
    };
    Ok(Json(page::rows(&context, listing).await?.show(|row| show(&base, row))))
}

async fn row(context: &Shared, guid: &str) -> Result<AppRow, ApiError> {
    store::get(&context.pool, "apps", guid).await?.ok_or_else(|| ApiError::not_found("Process"))
}

fn only_web(kind: &str) -> Result<(), ApiError> {
    if kind == "web" { Ok(()) } else { Err(ApiError::not_found("Process")) }
}

async fn one(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Process>, ApiError> {
    // A process shown alone has its droplet's command where it has none of its own.
    let app = row(&context, &guid).await?;
    let command = match &app.command {
        Some(command) => Some(command.clone()),
        None => context.droplet_of(&app).await?.and_then(|droplet| {
            serde_json::from_str::<BTreeMap<String, String>>(&droplet.process_types).ok()?.remove("web")
        }),
    };
    Ok(Json(Process { command, ..show(&base, app) }))
}

async fn of_app(
    State(context): State<Shared>,
    base: Base,
    uri: OriginalUri,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Json<Page<Process>>, ApiError> {
    let process = show(&base, context.app(&guid).await?);
    page::whole(&base, uri.path(), &params, vec![process]).map(Json)
}

async fn of_app_one(
    context: State<Shared>,
    base: Base,
    Path((guid, kind)): Path<(String, String)>,
) -> Result<Json<Process>, ApiError> {
    only_web(&kind)?;
    one(context, base, Path(guid)).await
}

async fn update(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<UpdateProcess>,
) -> Result<Json<Process>, ApiError> {
    let _lock = context.locks.app(&guid).await?;
    let mut app = row(&context, &guid).await?;
    if let Some(command) = wish.command {
        app.command = command.filter(|command| !command.is_empty());
    }
    if let Some(check) = wish.health_check {
        let endpoint = check.data.endpoint;
        context.set_health_check(&mut app, Some(check.kind), endpoint, check.data.timeout)?;
        if let Some(seconds) = check.data.invocation_timeout {
            app.health_check_invocation_timeout = Some(store::number(seconds));
        }
    }
    store::update_app(&context.pool, &mut app).await?;
    Ok(Json(show(&base, app)))
}

async fn of_app_update(
    context: State<Shared>,
    base: Base,
    Path((guid, kind)): Path<(String, String)>,
    wish: Input<UpdateProcess>,
) -> Result<Json<Process>, ApiError> {
    only_web(&kind)?;
    update(context, base, Path(guid), wish).await
}

async fn stats(
    State(context): State<Shared>,
    Path(guid): Path<String>,
) -> Result<Json<ProcessStats>, ApiError> {
    let app = row(&context, &guid).await?;
    Ok(Json(ProcessStats { resources: context.instances(&app).await? }))
}

async fn of_app_stats(
    context: State<Shared>,
    Path((guid, kind)): Path<(String, String)>,
) -> Result<Json<ProcessStats>, ApiError> {
    only_web(&kind)?;
    stats(context, Path(guid)).await
}

async fn scale(
    State(context): State<Shared>,
    base: Base,
    Path(guid): Path<String>,
    Input(wish): Input<Scale>,
) -> Result<(StatusCode, Json<Process>), ApiError> {
    let app = context.scale_app(&guid, &wish).await?;
    Ok((StatusCode::ACCEPTED, Json(show(&base, app))))
}

async fn of_app_scale(
    context: State<Shared>,
    base: Base,
    Path((guid, kind)): Path<(String, String)>,
    wish: Input<Scale>,
) -> Result<(StatusCode, Json<Process>), ApiError> {
    only_web(&kind)?;
    scale(context, base, Path(guid), wish).await
}

/// Stops one instance; it is missed, and so started again.
async fn stop_instance(
    State(context): State<Shared>,
    Path((guid, index)): Path<(String, u32)>,
) -> Result<StatusCode, ApiError> {
    let _lock = context.locks.app(&guid).await?;
    let app = row(&context, &guid).await?;
    if index >= app.instances() {
        return Err(ApiError::not_found("Instance"));
    }
    context.stop_instances(&app.id(), Some(app.version()), Some(vec![index])).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn of_app_stop_instance(
    context: State<Shared>,
    Path((guid, kind, index)): Path<(String, String, u32)>,
) -> Result<StatusCode, ApiError> {
    only_web(&kind)?;
    stop_instance(context, Path((guid, index))).await
}

//! What API v2 says of instances: states, figures, crashes.

use super::{ApiError, endpoints::Endpoints};
use crate::{
    access::{Access, Action, Kind},
    context::{Context, Shared},
    store::{self, AppRow},
};
use axum::{
    Json,
    extract::{Path, State},
};
use cupola_protocol::{
    api::{Crash, InstanceStats, InstanceStatsV2, InstanceV2, InstancesV2, StatsV2},
    dea::{self, Usage},
};
use time::OffsetDateTime;

pub(super) fn routes() -> Endpoints {
    let access = || Access::On(Kind::App, Action::ReadSpace);
    Endpoints::new()
        .get("/v2/apps/{guid}/instances", access(), instances)
        .get("/v2/apps/{guid}/stats", access(), stats)
        .get("/v2/apps/{guid}/crashes", access(), crashes)
}

/// The app, when it has instances to speak of.
async fn started(
    context: &Context,
    guid: &str,
    stopped: impl FnOnce(&str) -> ApiError,
) -> Result<AppRow, ApiError> {
    let app = context.app(guid).await?;
    if app.droplet_guid.is_none() {
        let detail = format!("App {} has not been staged yet: push it first.", app.name);
        return Err(ApiError::new(400, 170_002, "CF-NotStaged", detail));
    }
    if app.started() { Ok(app) } else { Err(stopped(&app.name)) }
}

async fn instances(
    State(context): State<Shared>,
    Path(guid): Path<String>,
) -> Result<Json<InstancesV2>, ApiError> {
    let stopped = |name: &str| {
        let detail = format!(
            "Instances error: Request failed for app: {name} as the app is in stopped state. Start it first."
        );
        ApiError::new(400, 220_001, "CF-InstancesError", detail)
    };
    let app = started(&context, &guid, stopped).await?;
    let now = OffsetDateTime::now_utc().unix_timestamp() as f64;
    let show = |one: InstanceStats| {
        let uptime = one.usage.is_some().then_some(one.uptime);
        let shown = InstanceV2 {
            state: one.state,
            since: uptime.map(|uptime| now - uptime as f64),
            uptime,
            details: one.details,
        };
        (one.index.to_string(), shown)
    };
    Ok(Json(context.instances(&app).await?.into_iter().map(show).collect()))
}

async fn stats(State(context): State<Shared>, Path(guid): Path<String>) -> Result<Json<StatsV2>, ApiError> {
    let stopped = |name: &str| {
        let detail = format!("Stats error: Could not fetch stats for stopped app: {name}. Start it first.");
        ApiError::new(400, 200_003, "CF-AppStoppedStatsError", detail)
    };
    let app = started(&context, &guid, stopped).await?;
    let uris = store::uris_of_app(&context.pool, &app.guid).await?;
    let show = |one: InstanceStats| {
        let stats = one.usage.map(|usage| dea::InstanceStats {
            name: app.name.clone(),
            uris: uris.clone(),
            host: one.host.unwrap_or_default(),
            port: one.instance_ports.first().map_or(0, |port| port.external),
            uptime: one.uptime,
            mem_quota: one.mem_quota.unwrap_or_default(),
            disk_quota: one.disk_quota.unwrap_or_default(),
            fds_quota: one.fds_quota,
            usage: Usage { time: usage.time, cpu: usage.cpu, mem: usage.mem, disk: usage.disk },
        });
        (one.index.to_string(), InstanceStatsV2 { state: one.state, stats })
    };
    Ok(Json(context.instances(&app).await?.into_iter().map(show).collect()))
}

/// Of stopped apps as well: one that crashed and was stopped is what people look into.
async fn crashes(
    State(context): State<Shared>,
    Path(guid): Path<String>,
) -> Result<Json<Vec<Crash>>, ApiError> {
    let app = context.app(&guid).await?;
    Ok(Json(context.crashes(&app).await?))
}

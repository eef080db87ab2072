//! Reading logs, as log-cache serves it.

use super::{ApiError, endpoints::Endpoints, input::Params};
use crate::{
    access::{Access, Action, Kind},
    context::Shared,
    logs::Range,
};
use axum::{
    Json,
    extract::{Path, State},
};
use cupola_protocol::{
    AppId,
    api::{Envelope, EnvelopeBatch, LogCacheInfo, ReadLogs},
};
use std::time::Duration;

/// The most lines of one answer, as in log-cache.
const MAX_LIMIT: usize = 1000;

pub(super) fn routes() -> Endpoints {
    Endpoints::new().get("/api/v1/info", Access::Public, info).get(
        "/api/v1/read/{source}",
        Access::On(Kind::App, Action::ReadSpace),
        read,
    )
}

async fn info(State(context): State<Shared>) -> Json<LogCacheInfo> {
    let vm_uptime = context.begun.elapsed().as_secs().to_string();
    // The `cf` CLI compares the version with 1.4 and 2.0 to know what it may ask for.
    Json(LogCacheInfo { version: "2.11.0".to_owned(), vm_uptime })
}

async fn read(
    State(context): State<Shared>,
    Path(source): Path<String>,
    params: Params,
) -> Result<Json<ReadLogs>, ApiError> {
    let range = Range {
        start: params.number("start_time", 0)?,
        end: params.number("end_time", i64::MAX)?,
        limit: params.number("limit", 100)?.clamp(1, MAX_LIMIT),
        descending: params.get("descending") == Some("true"),
    };
    let lines_wanted = params
        .list("envelope_types")
        .is_none_or(|kinds| kinds.iter().any(|kind| matches!(kind.as_str(), "LOG" | "ANY")));
    if !lines_wanted {
        return Ok(Json(ReadLogs::default()));
    }
    // An app that is not there is told at once; and no ring is made for a guid that anyone invents.
    context.app(&source).await?;
    let app = AppId::new(source);
    let lines = if range.descending || params.get("end_time").is_some() {
        context.logs.read(&app, range)
    } else {
        context.logs.read_or_wait(&app, range, Duration::from_millis(context.config.log_wait_ms)).await
    };
    Ok(Json(ReadLogs { envelopes: EnvelopeBatch { batch: lines.iter().map(Envelope::of).collect() } }))
}

//! `GET /bulk/apps`: the desired state, for health managers.

use super::{ApiError, endpoints::Endpoints, input::Params};
use crate::{
    access::Access,
    context::Shared,
    store::{self, AppRow},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use cupola_protocol::controller::{BulkApps, DesiredApp, PackageState};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The most apps of one page.
const MAX_BATCH: u32 = 1000;

pub(super) fn routes() -> Endpoints {
    Endpoints::new().get("/bulk/apps", Access::Credentials, apps)
}

async fn apps(
    State(context): State<Shared>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<BulkApps>, ApiError> {
    let wanted =
        format!("Basic {}", STANDARD.encode(format!("{}:{}", context.bulk.user, context.bulk.password)));
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    // Digests are compared, so that the time tells nothing about the password.
    if Sha256::digest(given) != Sha256::digest(wanted.as_bytes()) {
        return Err(ApiError::unauthenticated(
            10002,
            "CF-NotAuthenticated",
            "Ask for the credentials on the bus.",
        ));
    }
    let token: Value = match params.get("bulk_token") {
        None | Some("") => Value::Null,
        Some(text) => serde_json::from_str(text).unwrap_or(Value::Null),
    };
    let after = token.get("id").and_then(Value::as_str).unwrap_or_default();
    let batch = params.number("batch_size", 500u32)?.clamp(1, MAX_BATCH);
    let rows = store::apps_after(&context.pool, after, batch).await?;
    let last = rows.last().map_or_else(|| after.to_owned(), |row| row.guid.clone());
    let mut page = BulkApps { bulk_token: json!({"id": last}), ..BulkApps::default() };
    for row in rows {
        let app = DesiredApp {
            id: row.id(),
            version: row.version(),
            instances: row.instances(),
            memory: row.memory(),
            state: row.desired(),
            package_state: package_state(&context, &row).await?,
            updated_at: row.updated_at.clone(),
        };
        page.results.insert(row.id(), app);
    }
    Ok(Json(page))
}

async fn package_state(context: &Shared, app: &AppRow) -> Result<PackageState, ApiError> {
    if app.droplet_guid.is_some() {
        return Ok(PackageState::Staged);
    }
    match store::last_build(&context.pool, &app.guid).await? {
        Some(build) if build.state == "FAILED" => Ok(PackageState::Failed),
        _ => Ok(PackageState::Pending),
    }
}

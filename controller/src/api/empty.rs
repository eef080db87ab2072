//! What clients ask for and the platform does not have: empty lists, and what cannot be made yet.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Base, Params},
    page,
};
use crate::access::{Access, Action, Kind};
use axum::{
    Json,
    extract::{OriginalUri, Path},
};
use cupola_protocol::api::{Page, ToOne};
use serde_json::{Value, json};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/v3/app_usage_events", Access::User, none)
        .get("/v3/apps/{guid}/features", Access::On(Kind::App, Action::ReadSpace), none)
        .get("/v3/apps/{guid}/revisions", Access::On(Kind::App, Action::ReadSpace), none)
        .get("/v3/apps/{guid}/sidecars", Access::On(Kind::App, Action::ReadSpace), none)
        .get("/v3/apps/{guid}/tasks", Access::On(Kind::App, Action::ReadSpace), none)
        .get("/v3/audit_events", Access::User, none)
        .get("/v3/deployments", Access::User, none)
        .post("/v3/deployments", Access::User, rolling)
        .get("/v3/environment_variable_groups/{name}", Access::User, group)
        .get("/v3/feature_flags", Access::User, none)
        .get("/v3/isolation_segments", Access::User, none)
        .get(
            "/v3/organizations/{guid}/relationships/default_isolation_segment",
            Access::On(Kind::Organization, Action::ReadOrganization),
            no_relationship,
        )
        .get("/v3/processes/{guid}/sidecars", Access::On(Kind::Process, Action::ReadSpace), none)
        .get("/v3/security_groups", Access::User, none)
        .get("/v3/service_route_bindings", Access::User, none)
        .get(
            "/v3/spaces/{guid}/relationships/isolation_segment",
            Access::On(Kind::Space, Action::ReadSpace),
            no_relationship,
        )
        .get("/v3/tasks", Access::User, none)
}

async fn none(base: Base, uri: OriginalUri, params: Params) -> Result<Json<Page<Value>>, ApiError> {
    page::whole(&base, uri.path(), &params, Vec::new()).map(Json)
}

async fn rolling() -> ApiError {
    ApiError::unprocessable(
        "Rolling deployments are not supported yet: push or restart without a strategy, which stops the old \
         instances first.",
    )
}

async fn group(Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    match name.as_str() {
        "running" | "staging" => Ok(Json(json!({"name": name, "var": {}, "updated_at": null}))),
        _ => Err(ApiError::not_found("Environment variable group")),
    }
}

async fn no_relationship() -> Json<ToOne> {
    Json(ToOne::default())
}

//! What clients ask for and the platform does not have: empty lists, and what cannot be made yet.

use super::{
    ApiError,
    input::{Base, Params},
    page,
};
use crate::{auth::User, context::Shared};
use axum::{
    Json, Router,
    extract::{OriginalUri, Path},
    routing::{MethodRouter, get},
};
use cupola_protocol::api::{Page, ToOne};
use serde_json::{Value, json};

/// Kinds of resources of which there are none.
const NONE: [&str; 17] = [
    "/v3/app_usage_events",
    "/v3/apps/{guid}/features",
    "/v3/apps/{guid}/revisions",
    "/v3/apps/{guid}/tasks",
    "/v3/audit_events",
    "/v3/feature_flags",
    "/v3/isolation_segments",
    "/v3/organization_quotas",
    "/v3/processes/{guid}/sidecars",
    "/v3/security_groups",
    "/v3/service_brokers",
    "/v3/service_credential_bindings",
    "/v3/service_instances",
    "/v3/service_offerings",
    "/v3/service_route_bindings",
    "/v3/space_quotas",
    "/v3/tasks",
];

pub(super) fn routes() -> Router<Shared> {
    let router = NONE.into_iter().fold(Router::new(), |router, path| router.route(path, get(none)));
    router
        .route("/v3/service_plans", get(none))
        .route("/v3/apps/{guid}/sidecars", get(none))
        .route("/v3/deployments", rolling(get(none)))
        .route("/v3/environment_variable_groups/{name}", get(group))
        .route("/v3/organizations/{guid}/relationships/default_isolation_segment", get(no_relationship))
        .route("/v3/spaces/{guid}/relationships/isolation_segment", get(no_relationship))
}

async fn none(_: User, base: Base, uri: OriginalUri, params: Params) -> Result<Json<Page<Value>>, ApiError> {
    page::whole(&base, uri.path(), &params, Vec::new()).map(Json)
}

fn rolling(route: MethodRouter<Shared>) -> MethodRouter<Shared> {
    route.post(|_: User| async {
        ApiError::unprocessable(
            "Rolling deployments are not supported yet: push or restart without a strategy, which stops the old \
             instances first.",
        )
    })
}

async fn group(_: User, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    match name.as_str() {
        "running" | "staging" => Ok(Json(json!({"name": name, "var": {}, "updated_at": null}))),
        _ => Err(ApiError::not_found("Environment variable group")),
    }
}

async fn no_relationship(_: User) -> Json<ToOne> {
    Json(ToOne::default())
}

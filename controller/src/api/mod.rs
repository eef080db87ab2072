//! HTTP: one file per kind of resource.

mod actions;
mod apps;
mod builds;
mod bulk;
mod domains;
mod empty;
mod endpoints;
mod error;
mod files;
mod input;
mod instances;
mod internal;
mod jobs;
mod log_cache;
mod oauth;
mod packages;
mod page;
mod platform;
mod processes;
mod quotas;
mod roles;
mod root;
mod routes;
mod services;
mod space_quotas;
mod tenancy;
mod uaa;
mod upload;
mod users;

pub use endpoints::Endpoint;
pub(crate) use error::ApiError;
pub(crate) use tenancy::check_name;

use crate::context::Shared;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::{self, Next},
    response::Response,
};
use endpoints::Endpoints;
use std::time::Instant;

/// The largest body that is no upload: manifests and lists of files.
const MAX_BODY: usize = 16 << 20;

/// Everything that is served, and whom it serves.
fn all() -> Endpoints {
    Endpoints::new()
        .merge(root::routes())
        .merge(oauth::routes())
        .merge(tenancy::routes())
        .merge(users::routes())
        .merge(roles::routes())
        .merge(uaa::routes())
        .merge(quotas::routes())
        .merge(space_quotas::routes())
        .merge(domains::routes())
        .merge(apps::routes())
        .merge(actions::routes())
        .merge(processes::routes())
        .merge(instances::routes())
        .merge(files::routes())
        .merge(packages::routes())
        .merge(builds::routes())
        .merge(routes::routes())
        .merge(jobs::routes())
        .merge(platform::routes())
        .merge(services::routes())
        .merge(empty::routes())
        .merge(log_cache::routes())
        .merge(bulk::routes())
        .merge(internal::routes())
}

/// The table of endpoints, from which the router is built.
pub fn endpoints() -> Vec<Endpoint> {
    all().table()
}

/// The router of all endpoints, each behind its guard.
pub(crate) fn router(context: Shared) -> Router {
    all()
        .router(&context)
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(uaa::in_words_of_uaa))
        .layer(middleware::from_fn(request_id))
        .layer(middleware::from_fn_with_state(context.clone(), count))
        .with_state(context)
}

async fn unknown() -> ApiError {
    ApiError::new(404, 10000, "CF-NotFound", "Unknown request")
}

/// Counts each answer.
async fn count(State(context): State<Shared>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    context.figures.request(response.status().as_u16(), begun.elapsed());
    response
}

/// Gives each answer the id of its request; the router made one, or else we do.
async fn request_id(request: Request, next: Next) -> Response {
    const NAME: HeaderName = HeaderName::from_static("x-vcap-request-id");
    let id = request.headers().get(NAME).cloned();
    let id = id.or_else(|| HeaderValue::try_from(crate::store::new_guid()).ok());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    // Without the query: it may hold a signature.
    tracing::debug!(%method, path, status = response.status().as_u16(), "answered");
    if let Some(id) = id {
        response.headers_mut().insert(NAME, id);
    }
    response
}

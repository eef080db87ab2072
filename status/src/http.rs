//! The three pages.

use crate::{page::Shared, snapshot::Snapshot, varz};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let locked = middleware::from_fn_with_state(shared.clone(), password);
    let metrics = Router::new().route("/metrics", get(metrics));
    let metrics = if shared.open_metrics { metrics } else { metrics.route_layer(locked.clone()) };
    Router::new()
        .route("/varz", get(varz))
        .route_layer(locked)
        .merge(metrics)
        .route("/healthz", get(healthz))
        .layer(middleware::map_response(guard))
        .with_state(shared)
}

/// `ok`, or what is wrong, one problem in each line.
async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    match shared.problems().await {
        problems if problems.is_empty() => "ok\n".into_response(),
        problems => (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.problems().await;
    ([(header::CONTENT_TYPE, METRICS_TYPE)], shared.render()).into_response()
}

async fn varz(State(shared): State<Arc<Shared>>) -> Response {
    let problems = shared.problems().await;
    let page = varz::page(&shared, &Snapshot::parse(&shared.render()), &problems);
    axum::Json(page).into_response()
}

/// Lets in who has the password.
async fn password(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let wanted = format!("Basic {}", STANDARD.encode(format!("{}:{}", shared.user, shared.password)));
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    // Digests are compared, so that the time tells nothing about the password.
    if Sha256::digest(given) == Sha256::digest(wanted.as_bytes()) {
        return next.run(request).await;
    }
    let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"status\", charset=\"UTF-8\"")];
    let words = "user and password are announced on the bus: cupola status shows them\n";
    (StatusCode::UNAUTHORIZED, ask, words).into_response()
}

/// Pages are about this moment, and are what they say they are.
async fn guard(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

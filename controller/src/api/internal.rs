//! For nodes and stagers: packages and droplets at signed addresses.

use super::{ApiError, endpoints::Endpoints, input::Params, upload};
use crate::{
    access::Access,
    blobs::Key,
    context::{Context, Shared},
    store::{self, AppRow, BuildRow},
};
use axum::{
    body::Body,
    extract::{OriginalUri, Path, State},
    http::{HeaderMap, Method, StatusCode},
    response::Response,
};

/// Hex SHA-256 of a droplet, beside its bytes.
const DIGEST_HEADER: &str = "x-droplet-sha256";

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/internal/packages/{guid}", Access::Credentials, package)
        .get("/internal/droplets/{sha256}", Access::Credentials, droplet)
        .post("/internal/builds/{guid}/droplet", Access::Credentials, receive_droplet)
        .any_body()
        .get("/internal/caches/{app}", Access::Credentials, cache)
        .post("/internal/caches/{app}", Access::Credentials, receive_cache)
        .any_body()
}

/// Refuses what is not signed for this method and path, or was and has expired.
fn check(context: &Context, method: &Method, uri: &OriginalUri, params: &Params) -> Result<(), ApiError> {
    // A HEAD is allowed where a GET is: it tells less.
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    let expires = params.number("expires", 0)?;
    if context.signer.check(method, uri.path(), expires, params.get("signature").unwrap_or_default()) {
        Ok(())
    } else {
        Err(ApiError::forbidden("The address is not signed, or has expired."))
    }
}

async fn package(
    State(context): State<Shared>,
    method: Method,
    uri: OriginalUri,
    params: Params,
    Path(guid): Path<String>,
) -> Result<Response, ApiError> {
    check(&context, &method, &uri, &params)?;
    upload::send(&context, &Key::package(&guid), "application/zip", "Package").await
}

async fn droplet(
    State(context): State<Shared>,
    method: Method,
    uri: OriginalUri,
    params: Params,
    Path(sha256): Path<String>,
) -> Result<Response, ApiError> {
    check(&context, &method, &uri, &params)?;
    upload::send(&context, &Key::droplet(&sha256), "application/gzip", "Droplet").await
}

async fn receive_droplet(
    State(context): State<Shared>,
    method: Method,
    uri: OriginalUri,
    params: Params,
    headers: HeaderMap,
    Path(guid): Path<String>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    check(&context, &method, &uri, &params)?;
    let build: Option<BuildRow> = store::get(&context.pool, "builds", &guid).await?;
    let build = build.filter(|build| build.state == "STAGING").ok_or_else(|| ApiError::not_found("Build"))?;
    let limit = context.config.max_droplet_bytes;
    let received = upload::receive(&context.incoming, body.into_data_stream(), limit).await?;
    let said = headers.get(DIGEST_HEADER).and_then(|value| value.to_str().ok());
    if said.is_some_and(|said| !said.eq_ignore_ascii_case(&received.sha256)) {
        let detail =
            "The droplet that arrived is not the one that was sent: its SHA-256 differs. Send it again.";
        return Err(ApiError::unprocessable(detail));
    }
    let _lock = context.locks.blob(&received.sha256).await?;
    let size = store::number(received.size);
    if !store::build_uploaded(&context.pool, &guid, &received.sha256, &received.sha1, size).await? {
        return Err(ApiError::not_found("Build"));
    }
    let key = Key::droplet(&received.sha256);
    if !context.blobs.exists(&key).await? {
        context.blobs.put(&key, &received.file).await?;
    }
    tracing::info!(app = build.app_guid, build = guid, sha256 = received.sha256, size, "received a droplet");
    Ok(StatusCode::CREATED)
}

async fn cache(
    State(context): State<Shared>,
    method: Method,
    uri: OriginalUri,
    params: Params,
    Path(app): Path<String>,
) -> Result<Response, ApiError> {
    check(&context, &method, &uri, &params)?;
    upload::send(&context, &Key::cache(&app), "application/gzip", "Buildpack cache").await
}

async fn receive_cache(
    State(context): State<Shared>,
    method: Method,
    uri: OriginalUri,
    params: Params,
    Path(app): Path<String>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    check(&context, &method, &uri, &params)?;
    let limit = context.config.max_droplet_bytes;
    let received = upload::receive(&context.incoming, body.into_data_stream(), limit).await?;
    // Under the app's lock, so that a deletion comes before or after it, and removes it then.
    let _lock = context.locks.app(&app).await?;
    if store::get::<AppRow>(&context.pool, "apps", &app).await?.is_none() {
        return Err(ApiError::not_found("App"));
    }
    context.blobs.put(&Key::cache(&app), &received.file).await?;
    Ok(StatusCode::CREATED)
}

//! The files of instances, as API v2 has them: an answer leads to the node that has the file, by way of the
//! routers; with `?redirect=false` the controller fetches it, for clients that cannot resolve the node's name.

use super::{ApiError, input::Params};
use crate::{auth::User, context::Shared, files::Which};
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use url::form_urlencoded::Serializer;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v2/apps/{guid}/instances/{instance}/files", get(home))
        .route("/v2/apps/{guid}/instances/{instance}/files/", get(home))
        .route("/v2/apps/{guid}/instances/{instance}/files/{*path}", get(file))
}

async fn home(
    context: State<Shared>,
    user: User,
    params: Params,
    headers: HeaderMap,
    Path((guid, instance)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    file(context, user, params, headers, Path((guid, instance, String::new()))).await
}

async fn file(
    State(context): State<Shared>,
    _: User,
    params: Params,
    headers: HeaderMap,
    Path((guid, instance, path)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let app = context.app(&guid).await?;
    let found = context.file(&app, &Which::from(instance), &path).await?;
    // How it is to be read is not signed: it is added to what is.
    let mut query = String::new();
    for name in ["tail", "tail_offset"] {
        if let Some(value) = params.get(name) {
            query = format!("{query}&{}", Serializer::new(String::new()).append_pair(name, value).finish());
        }
    }
    if params.get("redirect") == Some("false") {
        return context.fetch_file(&found, &query, &headers).await;
    }
    let address = format!("{}{query}", found.file_uri_v2.unwrap_or_default());
    // The address is good for an hour: nobody but who asked for it shall keep it.
    Ok((StatusCode::FOUND, [(header::LOCATION, address), (header::CACHE_CONTROL, "no-store".to_owned())])
        .into_response())
}

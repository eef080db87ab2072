//! The files of instances, as API v2 has them: an answer leads to the node that has the file, by way of the
//! routers; with `?redirect=false` the controller fetches it, for clients that cannot resolve the node's name.

use super::{ApiError, endpoints::Endpoints, input::Params};
use crate::{
    access::{Access, Action, Kind},
    context::Shared,
    files::Which,
};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use url::form_urlencoded::Serializer;

pub(super) fn routes() -> Endpoints {
    let access = || Access::On(Kind::App, Action::ReadSecrets);
    Endpoints::new()
        .get("/v2/apps/{guid}/instances/{instance}/files", access(), home)
        .get("/v2/apps/{guid}/instances/{instance}/files/", access(), home)
        .get("/v2/apps/{guid}/instances/{instance}/files/{*path}", access(), file)
}

async fn home(
    context: State<Shared>,
    params: Params,
    headers: HeaderMap,
    Path((guid, instance)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    file(context, params, headers, Path((guid, instance, String::new()))).await
}

async fn file(
    State(context): State<Shared>,
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

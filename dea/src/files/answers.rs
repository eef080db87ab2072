//! The requests: a file, a part of it, its growth, or a directory.

use super::{Look, Refusal, container::WINDOW, path::inside, place::Place, range};
use crate::{
    config::seconds,
    node::{self, Node},
};
use axum::{
    Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_protocol::InstanceId;
use futures::stream;
use std::{collections::HashMap, io, sync::Arc};
use tokio::{
    net::TcpListener,
    sync::OwnedSemaphorePermit,
    time::{Duration, Instant, sleep},
};

/// Serves until the task is ended.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener) {
    let routes = Router::new().route("/instance_paths/{instance}", get(answer)).with_state(node);
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(error = &error as &dyn std::error::Error, "the file server has ended");
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotSigned => StatusCode::UNAUTHORIZED,
            Self::Expired | Self::NotAFile(_) => StatusCode::BAD_REQUEST,
            Self::NoInstance(_) | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Outside(_) | Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Unreachable(_) | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoSuchPart(_) => StatusCode::RANGE_NOT_SATISFIABLE,
        };
        let mut response = plain(status, format!("{self}\n"));
        if let Self::NoSuchPart(size) = self
            && let Ok(value) = format!("bytes */{size}").try_into()
        {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
        response
    }
}

fn plain(status: StatusCode, text: String) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, text).into_response()
}

async fn answer(
    State(node): State<Arc<Node>>,
    Path(instance): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let word = |name: &str| query.get(name).map_or("", String::as_str);
    let signed = (word("path"), word("timestamp"), word("hmac"));
    node.directory.check(uri.path(), signed, node::now())?;
    let path = inside(word("path"))?;
    let place = Place::of(&node, &InstanceId::new(instance))?;
    let reading = Reading { node, place, path };
    if query.contains_key("tail") {
        return reading.tail(query.get("tail_offset").and_then(|offset| offset.parse().ok())).await;
    }
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    reading.whole_or_part(range).await
}

/// One path of one instance.
struct Reading {
    node: Arc<Node>,
    place: Place,
    path: String,
}

impl Reading {
    async fn look(&self, offset: u64, length: u64) -> Result<Look, Refusal> {
        self.place.look(&self.node, &self.path, offset, length).await
    }

    async fn whole_or_part(self, range: Option<&str>) -> Result<Response, Refusal> {
        // For a part, the size must be known first; else the first piece comes with it.
        let first = self.look(0, if range.is_some() { 0 } else { WINDOW }).await?;
        let (begin, size, bytes) = match first {
            Look::Directory { entries, cut } => {
                let mut text: String = entries.iter().map(super::Entry::line).collect();
                if cut {
                    text.push_str("(there is more: this directory is too large to be listed)\n");
                }
                return Ok(plain(StatusCode::OK, text));
            }
            Look::File { begin, size, bytes } => (begin, size, bytes),
        };
        let part = match range {
            Some(range) => {
                range::part(range, begin, size).map_err(|range::NoSuchPart| Refusal::NoSuchPart(size))?
            }
            None => None,
        };
        let (status, from, to) = match part {
            Some(part) => (StatusCode::PARTIAL_CONTENT, part.from, part.to),
            None => (StatusCode::OK, begin, size),
        };
        let mut response = (status, Body::from_stream(self.pieces(bytes, from, to))).into_response();
        let headers = response.headers_mut();
        let mut set = |name, value: String| {
            if let Ok(value) = value.try_into() {
                headers.insert(name, value);
            }
        };
        set(header::CONTENT_LENGTH, (to - from).to_string());
        set(header::CONTENT_TYPE, "application/octet-stream".to_owned());
        set(header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned());
        set(header::ACCEPT_RANGES, "bytes".to_owned());
        if part.is_some() {
            set(header::CONTENT_RANGE, format!("bytes {from}-{}/{size}", to - 1));
        }
        Ok(response)
    }

    /// The bytes of a part, beginning with those that were read already.
    fn pieces(
        self,
        bytes: Vec<u8>,
        from: u64,
        to: u64,
    ) -> impl stream::Stream<Item = io::Result<Vec<u8>>> + Send {
        let state = (self, bytes, from);
        stream::try_unfold(state, move |(reading, mut bytes, from)| async move {
            if from >= to {
                return Ok(None);
            }
            if bytes.is_empty() {
                bytes = match reading.look(from, (to - from).min(WINDOW)).await {
                    Ok(Look::File { begin, bytes, .. }) if begin <= from => bytes,
                    Ok(_) => return Err(io::Error::other("the file has become another one")),
                    Err(refusal) => return Err(io::Error::other(refusal)),
                };
            }
            if bytes.is_empty() {
                return Err(io::Error::other("the file has become shorter"));
            }
            bytes.truncate(usize::try_from(to - from).unwrap_or(usize::MAX));
            let next = from + bytes.len() as u64;
            Ok(Some((bytes, (reading, Vec::new(), next))))
        })
    }

    /// What is written to the file from `offset` on, or from now on, until nothing is for a while.
    async fn tail(self, offset: Option<u64>) -> Result<Response, Refusal> {
        let place = self.node.directory.tail()?;
        let size = match self.look(0, 0).await? {
            Look::File { size, .. } => size,
            Look::Directory { .. } => return Err(Refusal::NotAFile(self.path)),
        };
        let tail = Tail {
            offset: offset.unwrap_or(size),
            poll: seconds(self.node.config.files.tail_poll_seconds),
            idle: seconds(self.node.config.files.tail_idle_seconds),
            reading: self,
            _place: place,
        };
        let growth = stream::unfold(tail, |mut tail| async move {
            tail.more().await.map(|bytes| (Ok::<_, io::Error>(bytes), tail))
        });
        let headers =
            [(header::CONTENT_TYPE, "application/octet-stream"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
        Ok((headers, Body::from_stream(growth)).into_response())
    }
}

/// A file that is followed.
struct Tail {
    reading: Reading,
    offset: u64,
    poll: Duration,
    idle: Duration,
    _place: OwnedSemaphorePermit,
}

impl Tail {
    /// Waits for more; none when it is over.
    async fn more(&mut self) -> Option<Vec<u8>> {
        let deadline = Instant::now() + self.idle;
        loop {
            let Ok(Look::File { begin, size, bytes }) = self.reading.look(self.offset, WINDOW).await else {
                return None;
            };
            if size < self.offset {
                // It was emptied, and is followed from its beginning.
                self.offset = 0;
            } else if !bytes.is_empty() {
                self.offset = self.offset.max(begin) + bytes.len() as u64;
                return Some(bytes);
            }
            if Instant::now() >= deadline {
                return None;
            }
            sleep(self.poll).await;
        }
    }
}

//! Bytes that come in and go out.

use super::ApiError;
use crate::{
    blobs::{Blobs, Key},
    context::Context,
};
use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::path::Path;
use tempfile::TempPath;
use tokio::io::AsyncWriteExt;

/// What came in, in a file that goes when this is dropped.
#[derive(Debug)]
pub(super) struct Received {
    pub file: TempPath,
    pub size: u64,
    pub sha1: String,
    pub sha256: String,
}

/// Writes a stream into a file, up to a limit.
pub(super) async fn receive<E: std::fmt::Display>(
    dir: &Path,
    stream: impl Stream<Item = Result<Bytes, E>>,
    limit: u64,
) -> Result<Received, ApiError> {
    let file = tempfile::Builder::new().tempfile_in(dir)?.into_temp_path();
    let mut out = tokio::fs::File::create(&file).await?;
    let (mut sha1, mut sha256, mut size) = (Sha1::new(), Sha256::new(), 0);
    let mut stream = std::pin::pin!(stream);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::new(
                400,
                10004,
                "CF-InvalidRequest",
                format!("The upload broke off: {error}. Send it again."),
            )
        })?;
        size += chunk.len() as u64;
        if size > limit {
            let detail = format!(
                "The upload is larger than {limit} bytes, the platform's limit: leave out what is not needed."
            );
            return Err(ApiError::new(413, 150_001, "CF-AppPackageInvalid", detail));
        }
        sha1.update(&chunk);
        sha256.update(&chunk);
        out.write_all(&chunk).await?;
    }
    out.flush().await?;
    Ok(Received { file, size, sha1: hex::encode(sha1.finalize()), sha256: hex::encode(sha256.finalize()) })
}

/// A blob as an answer, or "not found".
pub(super) async fn send(
    context: &Context,
    key: &Key,
    kind: &'static str,
    what: &str,
) -> Result<Response, ApiError> {
    let (size, stream) = context.blobs.get(key).await?.ok_or_else(|| ApiError::not_found(what))?;
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_LENGTH, size.to_string())];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// Copies a blob into a file; says whether there is one.
pub(super) async fn fetch(blobs: &Blobs, key: &Key, to: &Path) -> Result<bool, ApiError> {
    let Some((_, stream)) = blobs.get(key).await? else { return Ok(false) };
    let mut stream = std::pin::pin!(stream);
    let mut out = tokio::fs::File::create(to).await?;
    while let Some(chunk) = stream.next().await {
        out.write_all(&chunk?).await?;
    }
    out.flush().await?;
    Ok(true)
}

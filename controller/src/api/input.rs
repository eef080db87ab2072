//! What a request brings: its body, its query, the address that its client used.

use crate::{api::ApiError, context::Shared};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{header, request::Parts},
};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::collections::BTreeMap;
use url::form_urlencoded;

/// A JSON body, whatever the client calls it. An empty one stands for `{}`.
pub(crate) struct Input<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Input<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, context: &Shared) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, context).await.map_err(|error| {
            ApiError::new(error.status().as_u16(), 10004, "CF-InvalidRequest", error.body_text())
        })?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text).map(Input).map_err(|error| match error.classify() {
            Category::Data => {
                ApiError::unprocessable(format!("The request's body is not as expected: {error}."))
            }
            Category::Io | Category::Syntax | Category::Eof => {
                let detail = format!("Request invalid due to parse error: {error}");
                ApiError::new(400, 1001, "CF-MessageParseError", detail)
            }
        })
    }
}

/// The query. A name that comes twice counts once, the last time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A list that is separated by commas; none when the name is absent, one empty word when it is empty.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        self.get(name).map(|text| text.split(',').map(str::to_owned).collect())
    }

    /// A number, or the default when it is absent.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, ApiError> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => {
                text.parse().map_err(|_| bad_query(&format!("{name} must be a number, not {text:?}")))
            }
        }
    }

    /// The same query with another page.
    pub(crate) fn with_page(&self, page: u64) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.0.iter().filter(|(name, _)| *name != "page") {
            query.append_pair(name, value);
        }
        query.append_pair("page", &page.to_string());
        query.finish()
    }
}

/// A query that is no good.
pub(crate) fn bad_query(what: &str) -> ApiError {
    ApiError::new(400, 10005, "CF-BadQueryParameter", format!("The query parameter is invalid: {what}."))
}

impl FromRequestParts<Shared> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect()))
    }
}

/// Base of the links in answers: as configured, or else the address that the client used.
#[derive(Debug, Clone)]
pub(crate) struct Base(String);

impl Base {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl FromRequestParts<Shared> for Base {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &Shared) -> Result<Self, ApiError> {
        if let Some(url) = &context.config.external_url {
            return Ok(Self(url.as_str().trim_end_matches('/').to_owned()));
        }
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let host = header(header::HOST.as_str()).or_else(|| parts.uri.authority().map(|host| host.as_str()));
        let Some(host) = host else {
            return Err(ApiError::new(400, 10004, "CF-InvalidRequest", "The request has no Host header."));
        };
        let scheme = if header("x-forwarded-proto") == Some("https") { "https" } else { "http" };
        Ok(Self(format!("{scheme}://{host}")))
    }
}

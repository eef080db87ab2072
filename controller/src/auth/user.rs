//! Who asks.

use crate::{api::ApiError, context::Shared};
use axum::{extract::FromRequestParts, http::request::Parts};
use cupola_protocol::api::Claims;

/// The user of a request, by its bearer token.
#[derive(Debug, Clone)]
pub(crate) struct User(pub Claims);

impl User {
    /// Goes on for administrators only.
    pub(crate) fn must_be_admin(&self) -> Result<(), ApiError> {
        if self.0.scope.iter().any(|scope| scope == "cloud_controller.admin") {
            Ok(())
        } else {
            Err(ApiError::forbidden(
                "You are not authorized to perform the requested action: it needs an administrator.",
            ))
        }
    }
}

impl FromRequestParts<Shared> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, context: &Shared) -> Result<Self, ApiError> {
        let Some(header) = parts.headers.get(axum::http::header::AUTHORIZATION) else {
            return Err(ApiError::unauthenticated(
                10002,
                "CF-NotAuthenticated",
                "Authentication error: log in first.",
            ));
        };
        let invalid =
            || ApiError::unauthenticated(1000, "CF-InvalidAuthToken", "Invalid Auth Token: log in again.");
        let text = header.to_str().map_err(|_| invalid())?;
        let (kind, token) = text.split_once(' ').ok_or_else(invalid)?;
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(invalid());
        }
        context.tokens.read(token.trim()).map(User).ok_or_else(invalid)
    }
}

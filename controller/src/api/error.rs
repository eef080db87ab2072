//! How a request is refused.

use crate::access::Verdict;
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use cupola_protocol::api::{ErrorBody, ErrorItem};

/// A refusal: status, and the one error of the answer's body.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: u16,
    item: ErrorItem,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: u32, title: &str, detail: impl Into<String>) -> Self {
        Self { status, item: ErrorItem { code, title: title.to_owned(), detail: detail.into() } }
    }

    /// What was asked for is not there, or not for this user.
    pub(crate) fn not_found(what: &str) -> Self {
        let detail = format!("{what} not found. Ensure that it exists and that you have access to it.");
        Self::new(404, 10010, "CF-ResourceNotFound", detail)
    }

    /// The request is understood and cannot be done; the sentence says what to do.
    pub(crate) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(422, 10008, "CF-UnprocessableEntity", detail)
    }

    pub(crate) fn unauthenticated(code: u32, title: &str, detail: &str) -> Self {
        Self::new(401, code, title, detail)
    }

    /// Why a user may not: as `access` decided it.
    pub(crate) fn verdict(verdict: Verdict, what: &str) -> Self {
        match verdict {
            Verdict::Hidden => Self::not_found(what),
            Verdict::Suspended => Self::new(
                403,
                10017,
                "CF-OrgSuspended",
                "The organization is suspended: only an administrator may change it.",
            ),
            Verdict::Refused | Verdict::Allowed => Self::forbidden(
                "You are not authorized to perform the requested action: it needs another role.",
            ),
        }
    }

    /// Nobody could rule the platform any more.
    pub(crate) fn last_administrator() -> Self {
        Self::unprocessable("The last administrator cannot be removed: make another one first.")
    }

    pub(crate) fn forbidden(detail: &str) -> Self {
        Self::new(403, 10003, "CF-NotAuthorized", detail)
    }

    /// Something of ours fails now; the request may be sent again.
    fn unavailable(code: u32, title: &str, detail: &str) -> Self {
        Self::new(503, code, title, detail)
    }

    /// Another request, here or at another controller, changes the same thing.
    pub(crate) fn busy(what: &str, waited: std::time::Duration) -> Self {
        let detail = format!(
            "Another request has been changing {what} for more than {} s. Try again later.",
            waited.as_secs()
        );
        Self::unavailable(10001, "CF-ServiceUnavailable", &detail)
    }

    /// The sentence.
    pub(crate) fn detail(&self) -> &str {
        &self.item.detail
    }

    /// The same, said of something.
    pub(crate) fn about(mut self, what: &str) -> Self {
        self.item.detail = format!("{what}: {}", self.item.detail);
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(ErrorBody { errors: vec![self.item.clone()] })).into_response();
        // For who says it in other words: `uaa`.
        response.extensions_mut().insert(self.item);
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<sqlx::Error> for ApiError {
    /// No statement of ours fails on what a user sends: the database itself does.
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::RowNotFound) {
            // See `store::update_app`.
            let detail = "Another controller has changed the app at the same moment. Try again.";
            return Self::unavailable(10001, "CF-ServiceUnavailable", detail);
        }
        // PostgreSQL's "character not in repertoire": its texts hold no NUL, those of SQLite do.
        if error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "22021") {
            return Self::new(400, 10004, "CF-InvalidRequest", "A text of the request has a NUL character.");
        }
        tracing::error!(error = &error as &dyn std::error::Error, "the database fails");
        let detail =
            "The platform's database cannot be used now; running apps are not touched. Try again later.";
        Self::unavailable(10011, "CF-DatabaseError", detail)
    }
}

impl From<object_store::Error> for ApiError {
    fn from(error: object_store::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the blob store fails");
        Self::unavailable(
            150_006,
            "CF-BlobstoreUnavailable",
            "The platform's blob store cannot be used now. Try again later.",
        )
    }
}

impl From<cupola_bus::Error> for ApiError {
    fn from(error: cupola_bus::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the bus fails");
        Self::unavailable(
            10001,
            "CF-ServiceUnavailable",
            "The platform's message bus cannot be used now. Try again later.",
        )
    }
}

impl From<std::io::Error> for ApiError {
    /// Of files that are being received.
    fn from(error: std::io::Error) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "a file cannot be used");
        Self::unavailable(
            10001,
            "CF-ServiceUnavailable",
            "The platform cannot store files now. Try again later.",
        )
    }
}

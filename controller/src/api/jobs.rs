//! Jobs. Most of ours are done before they are answered; those of service brokers go on. What else takes long (staging,
//! placing) has resources of its own.

use super::{ApiError, endpoints::Endpoints, input::Base};
use crate::{
    access::Access,
    auth::User,
    context::{Context, Shared},
    store::{self, JobRow},
};
use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use cupola_protocol::api::{Job, JobStatus, Link};

pub(super) fn routes() -> Endpoints {
    Endpoints::new().get("/v3/jobs/{guid}", Access::Handler, show)
}

async fn show(
    State(context): State<Shared>,
    user: User,
    base: Base,
    Path(guid): Path<String>,
) -> Result<Json<Job>, ApiError> {
    let row: JobRow =
        store::get(&context.pool, "jobs", &guid).await?.ok_or_else(|| ApiError::not_found("Job"))?;
    if row.user_guid.as_deref() != Some(user.guid()) && !user.is_admin() {
        return Err(ApiError::not_found("Job"));
    }
    Ok(Json(Job {
        links: [("self".to_owned(), Link::get(base.url(&format!("/v3/jobs/{}", row.guid))))].into(),
        state: match row.state.as_str() {
            "COMPLETE" => JobStatus::Complete,
            "PROCESSING" => JobStatus::Processing,
            "POLLING" => JobStatus::Polling,
            _ => JobStatus::Failed,
        },
        errors: serde_json::from_str(&row.errors).unwrap_or_default(),
        warnings: Vec::new(),
        guid: row.guid,
        operation: row.operation,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }))
}

/// The answer to a request that was done as a job: 202 and where the job is. Only its user can ask for it.
pub(super) async fn done(
    context: &Context,
    user: &User,
    base: &Base,
    operation: &str,
) -> Result<(StatusCode, HeaderMap), ApiError> {
    let guid = store::insert_done_job(&context.pool, operation, user.guid()).await?;
    Ok(accepted(base, &guid))
}

/// The answer to a request that goes on as a job.
pub(super) fn accepted(base: &Base, guid: &str) -> (StatusCode, HeaderMap) {
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::try_from(base.url(&format!("/v3/jobs/{guid}"))) {
        headers.insert(header::LOCATION, location);
    }
    (StatusCode::ACCEPTED, headers)
}

//! Service brokers, offerings, plans, instances and bindings.

mod bindings;
mod brokers;
mod changes;
mod included;
mod instances;
mod offerings;
mod plans;

use super::{ApiError, endpoints::Endpoints, input::Base, jobs};
use crate::services::Begun;
use axum::http::{HeaderMap, StatusCode};

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .merge(brokers::routes())
        .merge(offerings::routes())
        .merge(plans::routes())
        .merge(instances::routes())
        .merge(changes::routes())
        .merge(bindings::routes())
}

/// The answer to a request that goes on as a job.
fn goes_on(base: &Base, job: &Begun) -> (StatusCode, HeaderMap) {
    jobs::accepted(base, &job.0)
}

/// A list of words for people.
fn words(names: &[String]) -> String {
    names.join(", ")
}

/// Something that is not there, or not for this user, of what a body names.
fn invalid_plan() -> ApiError {
    ApiError::unprocessable(
        "Invalid service plan. Ensure that the service plan exists, is available, and you have access to it.",
    )
}

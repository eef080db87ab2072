//! What the stager answers.

use crate::{droplet::Digests, failure::Failure, processes::WEB};
use cupola_bus::Incoming;
use cupola_protocol::staging::{Reply, Start};
use std::collections::BTreeMap;

/// What came out of a staging.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) buildpack: String,
    pub(crate) detected: String,
    pub(crate) processes: BTreeMap<String, String>,
    pub(crate) digests: Digests,
}

/// The first answer: the container stands.
pub(crate) fn begun(request: &Start) -> Reply {
    Reply {
        task_id: request.task_id.clone(),
        app_id: Some(request.app_id.clone()),
        done: false,
        detected_buildpack: None,
        buildpack_key: None,
        detected_start_command: None,
        procfile: None,
        droplet_sha1: None,
        droplet_sha256: None,
        error: None,
        error_info: None,
    }
}

/// The last answer after a success.
pub(crate) fn succeeded(request: &Start, outcome: &Outcome) -> Reply {
    Reply {
        done: true,
        detected_buildpack: Some(outcome.detected.clone()),
        buildpack_key: Some(outcome.buildpack.clone()),
        detected_start_command: outcome.processes.get(WEB).cloned(),
        procfile: Some(outcome.processes.clone()),
        droplet_sha1: Some(outcome.digests.sha1.clone()),
        droplet_sha256: Some(outcome.digests.sha256.clone()),
        ..begun(request)
    }
}

/// The last answer about a staging that failed, or the only one about one that was refused.
pub(crate) fn failed(request: &Start, failure: &Failure) -> Reply {
    let info = failure.info();
    Reply { error: Some(info.message.clone()), error_info: Some(info), done: true, ..begun(request) }
}

/// Sends an answer; whoever asked may be gone.
pub(crate) async fn answer(incoming: &Incoming<Start>, reply: Reply) {
    if let Err(error) = incoming.reply(&reply).await {
        tracing::warn!(task = %reply.task_id, %error, "an answer about a staging was lost");
    }
}

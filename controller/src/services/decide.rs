//! What to do after a broker's answer: the tables of the Open Service Broker specification, as functions.
//!
//! *Orphan mitigation*: when it is not known whether an instance or a binding was made, it is deleted again. That is
//! done after creations alone: what an update or a deletion has left unclear is somebody's data, and stays.

use crate::{api::ApiError, store::BrokerRow};
use cupola_protocol::osb;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// What is asked of a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What it offers.
    Catalog,
    /// To make an instance.
    Provision,
    /// To change an instance.
    Update,
    /// To delete an instance.
    Deprovision,
    /// To make a binding.
    Bind,
    /// To delete a binding.
    Unbind,
    /// To delete an instance of which nobody knows, should there be one.
    CleanInstance,
    /// The same of a binding.
    CleanBinding,
}

impl Kind {
    const ALL: [Kind; 8] = [
        Kind::Catalog,
        Kind::Provision,
        Kind::Update,
        Kind::Deprovision,
        Kind::Bind,
        Kind::Unbind,
        Kind::CleanInstance,
        Kind::CleanBinding,
    ];

    /// As rows spell it, and sentences.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Catalog => "catalog",
            Kind::Provision => "provision",
            Kind::Update => "update",
            Kind::Deprovision => "deprovision",
            Kind::Bind => "bind",
            Kind::Unbind => "unbind",
            Kind::CleanInstance => "clean-instance",
            Kind::CleanBinding => "clean-binding",
        }
    }

    pub(crate) fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    pub(crate) fn creates(self) -> bool {
        matches!(self, Kind::Provision | Kind::Bind)
    }

    pub(crate) fn deletes(self) -> bool {
        matches!(self, Kind::Deprovision | Kind::Unbind) || self.cleans()
    }

    /// Whether it goes on until it has succeeded, with nobody waiting for it.
    pub(crate) fn cleans(self) -> bool {
        matches!(self, Kind::CleanInstance | Kind::CleanBinding)
    }

    /// Whether it is about a binding.
    pub(crate) fn is_of_binding(self) -> bool {
        matches!(self, Kind::Bind | Kind::Unbind | Kind::CleanBinding)
    }

    /// What undoes it.
    pub(crate) fn mitigation(self) -> Option<Kind> {
        match self {
            Kind::Provision => Some(Kind::CleanInstance),
            Kind::Bind => Some(Kind::CleanBinding),
            _ => None,
        }
    }
}

/// How far an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its bindings have to go first.
    Wait,
    /// To be sent, perhaps again.
    Send,
    /// The broker is at work by itself.
    Poll,
    /// The broker is done; the binding is to be fetched.
    Fetch,
}

impl Phase {
    /// As rows spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Phase::Wait => "wait",
            Phase::Send => "send",
            Phase::Poll => "poll",
            Phase::Fetch => "fetch",
        }
    }

    pub(crate) fn read(name: &str) -> Option<Self> {
        [Phase::Wait, Phase::Send, Phase::Poll, Phase::Fetch].into_iter().find(|phase| phase.as_str() == name)
    }
}

/// What a broker said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// The request never reached it, and why.
    Unreached(String),
    /// The request may have reached it; no whole answer came, and why.
    Silent(String),
    /// It answered.
    Said {
        /// HTTP status.
        status: u16,
        /// The body, or why it is no JSON object.
        body: Result<Value, String>,
        /// Until when it wants to be left alone.
        retry_after: Option<Duration>,
    },
}

/// What to do now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// It is done.
    Done(Done),
    /// Ask for its state later.
    Poll {
        /// What the broker calls it; none leaves what is known.
        operation: Option<String>,
        /// What it says of it.
        description: Option<String>,
        /// The pause that it wishes.
        after: Option<Duration>,
    },
    /// Fetch the binding.
    Fetch,
    /// Ask the same again later, and why.
    Again(String),
    /// Begin it anew, later, and why.
    Anew(String),
    /// It has failed.
    Failed {
        /// What the broker did, to follow its name.
        why: String,
        /// Whether something may be left at the broker that has to go.
        mitigate: bool,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Done {
    /// The instance is there, or changed; the address of its dashboard.
    Instance(Option<String>),
    /// The binding is there.
    Binding(Box<osb::BindResponse>),
    /// It is gone.
    Gone,
}

/// After a request was answered. `resent`: the same request was sent before, and what came of that is not known.
pub(crate) fn after_send(kind: Kind, answer: &Answer, resent: bool) -> Next {
    match answer {
        Answer::Unreached(why) => failed(kind, format!("could not be reached: {why}"), resent),
        Answer::Silent(why) => failed(kind, why.clone(), true),
        Answer::Said { status: 202, body, retry_after } => match accepted(body) {
            Ok(operation) => Next::Poll { operation, description: None, after: *retry_after },
            Err(why) => failed(kind, malformed(202, &why), true),
        },
        Answer::Said { status: 410, .. } if kind.deletes() => Next::Done(Done::Gone),
        Answer::Said { status: status @ (200 | 201), body, .. } if *status == 200 || kind.creates() => {
            match done(kind, body) {
                Ok(done) => Next::Done(done),
                Err(why) => failed(kind, malformed(*status, &why), *status == 201 || resent),
            }
        }
        Answer::Said { status, body, .. } => {
            let unclear = matches!(status, 200..=299 | 500..=599);
            failed(kind, refusal(*status, body), unclear || resent)
        }
    }
}

/// After the state of an operation was asked for.
pub(crate) fn after_poll(kind: Kind, answer: &Answer) -> Next {
    match answer {
        Answer::Unreached(why) => Next::Again(format!("could not be reached: {why}")),
        Answer::Silent(why) => Next::Again(why.clone()),
        Answer::Said { status: 410, .. } if kind.deletes() => Next::Done(Done::Gone),
        Answer::Said { status: 410, .. } => failed(kind, "says that it is gone".to_owned(), true),
        Answer::Said { status: 200, body, retry_after } => match read::<osb::LastOperation>(body) {
            Err(why) => Next::Again(malformed(200, &why)),
            Ok(osb::LastOperation { state: osb::OperationState::InProgress, description, .. }) => {
                Next::Poll { operation: None, description, after: *retry_after }
            }
            Ok(osb::LastOperation { state: osb::OperationState::Succeeded, .. }) => match kind {
                Kind::Bind => Next::Fetch,
                Kind::Catalog | Kind::Provision | Kind::Update => Next::Done(Done::Instance(None)),
                _ => Next::Done(Done::Gone),
            },
            Ok(osb::LastOperation { state: osb::OperationState::Failed, description, .. }) => {
                let words = description.filter(|text| !text.trim().is_empty());
                let words = words.unwrap_or_else(|| "it does not say why".to_owned());
                failed(kind, format!("could not do it: {words}"), true)
            }
        },
        Answer::Said { status, body, .. } => Next::Again(refusal(*status, body)),
    }
}

/// After a binding that was made by itself was fetched.
pub(crate) fn after_fetch(answer: &Answer) -> Next {
    match answer {
        Answer::Unreached(why) => Next::Again(format!("could not be reached: {why}")),
        Answer::Silent(why) => Next::Again(why.clone()),
        Answer::Said { status: 200, body, .. } => match done(Kind::Bind, body) {
            Ok(done) => Next::Done(done),
            Err(why) => failed(Kind::Bind, malformed(200, &why), true),
        },
        Answer::Said { status: status @ 500..=599, body, .. } => Next::Again(refusal(*status, body)),
        Answer::Said { status, body, .. } => failed(Kind::Bind, refusal(*status, body), true),
    }
}

/// When an operation has taken longer than it may.
pub(crate) fn too_late(kind: Kind, last: &str) -> Next {
    let last = if last.is_empty() { String::new() } else { format!("; at last it {last}") };
    Next::Failed { why: format!("was not done in time{last}"), mitigate: kind.creates() }
}

fn failed(kind: Kind, why: String, unclear: bool) -> Next {
    if kind.cleans() { Next::Anew(why) } else { Next::Failed { why, mitigate: unclear && kind.creates() } }
}

fn malformed(status: u16, why: &str) -> String {
    format!("answered {status} with something that is no answer to this: {why}")
}

/// What a refusal says, in the broker's own words.
pub(crate) fn refusal(status: u16, body: &Result<Value, String>) -> String {
    let refusal: osb::Refusal = read(body).unwrap_or_default();
    let words = match (refusal.description, refusal.error) {
        (Some(words), _) if !words.trim().is_empty() => words,
        (_, Some(code)) => code,
        _ => String::new(),
    };
    let hint = match status {
        401 | 403 => " (are its user name and password right?)",
        412 => " (it does not speak this version of the broker API)",
        _ => "",
    };
    if words.is_empty() {
        format!("answered {status}{hint}")
    } else {
        format!("answered {status}{hint}: {words}")
    }
}

/// What a broker has when it is asked for something that is there; else the error for who asked.
pub(crate) fn fetched<T: DeserializeOwned>(broker: &BrokerRow, answer: &Answer) -> Result<T, ApiError> {
    let (status, why) = match answer {
        Answer::Said { status: 200, body, .. } => match read(body) {
            Ok(found) => return Ok(found),
            Err(why) => (502, malformed(200, &why)),
        },
        Answer::Unreached(why) => (502, format!("could not be reached: {why}")),
        Answer::Silent(why) => (504, why.clone()),
        Answer::Said { status, body, .. } => (502, refusal(*status, body)),
    };
    let detail = format!("Service broker {} {why}.", broker.name);
    Err(ApiError::new(status, 10001, "CF-ServiceBrokerBadResponse", detail))
}

/// Reads a body as what it must be.
pub(crate) fn read<T: DeserializeOwned>(body: &Result<Value, String>) -> Result<T, String> {
    let body = body.as_ref().map_err(Clone::clone)?;
    T::deserialize(body).map_err(|error| error.to_string())
}

fn accepted(body: &Result<Value, String>) -> Result<Option<String>, String> {
    let operation = read::<osb::Accepted>(body)?.operation;
    match &operation {
        Some(text) if text.chars().count() > osb::MAX_OPERATION => {
            Err(format!("its operation is longer than {} characters", osb::MAX_OPERATION))
        }
        _ => Ok(operation),
    }
}

fn done(kind: Kind, body: &Result<Value, String>) -> Result<Done, String> {
    match kind {
        Kind::Bind => Ok(Done::Binding(Box::new(read(body)?))),
        Kind::Provision => Ok(Done::Instance(read::<osb::ProvisionResponse>(body)?.dashboard_url)),
        Kind::Update => Ok(Done::Instance(read::<osb::UpdateResponse>(body)?.dashboard_url)),
        _ => read::<osb::Accepted>(body).map(|_| Done::Gone),
    }
}

#[cfg(test)]
mod tests;

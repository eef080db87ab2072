//! What a request leads to, given what is known: the rules of the specification about what is there already, what goes
//! on, and what may be done in the background. Pure.

use super::record::{Binding, BindingPhase, Instance, Phase};
use cupola_protocol::osb::{BindRequest, Code, ProvisionRequest, Refusal};

/// What a request for an instance leads to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// It is so already.
    Done,
    /// It is being done: the operation's id.
    GoesOn(String),
    /// It is to be done now.
    Begin {
        /// Without letting the platform wait.
        background: bool,
    },
    /// Nothing of it is there: for a removal, as good as done.
    Gone,
}

/// A request that is refused.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refused {
    /// The HTTP status.
    pub(crate) status: u16,
    pub(crate) refusal: Refusal,
}

impl Refused {
    /// A refusal for people.
    pub(crate) fn new(status: u16, description: impl Into<String>) -> Self {
        Refused { status, refusal: Refusal::described(description) }
    }

    fn coded(code: Code, description: &str) -> Self {
        Refused { status: 422, refusal: Refusal::coded(code, description) }
    }

    /// Something else goes on.
    pub(crate) fn concurrent(description: &str) -> Self {
        Self::coded(Code::ConcurrencyError, description)
    }
}

/// How the platform and the plan want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// The platform can wait for something in the background.
    pub(crate) accepts_incomplete: bool,
    /// The plan works in the background alone.
    pub(crate) asynchronous: bool,
}

impl Mode {
    fn begin(self) -> Result<Step, Refused> {
        match (self.asynchronous, self.accepts_incomplete) {
            (true, false) => Err(Refused::coded(
                Code::AsyncRequired,
                "this plan works in the background alone: ask with accepts_incomplete=true",
            )),
            (background, _) => Ok(Step::Begin { background }),
        }
    }

    fn goes_on(self, instance: &Instance) -> Result<Step, Refused> {
        // Whoever cannot wait is not told of an operation, and an operation that somebody waits for has no name to ask
        // for: both are refused as long as it goes on.
        match self.accepts_incomplete && self.asynchronous {
            true => Ok(Step::GoesOn(instance.operation.id.clone())),
            false => Err(Refused::concurrent("the same operation goes on already")),
        }
    }
}

/// `PUT` of an instance.
pub(crate) fn provision(
    known: Option<&Instance>,
    request: &ProvisionRequest,
    mode: Mode,
) -> Result<Step, Refused> {
    let Some(instance) = known else { return mode.begin() };
    let same = instance.service_id == request.service_id
        && instance.plan_id == request.plan_id
        && instance.organization_guid == request.organization_guid
        && instance.space_guid == request.space_guid
        && parameters(&instance.parameters) == parameters(&request.parameters);
    match (instance.phase, same) {
        (_, false) => Err(Refused::new(409, "an instance of this id is there, with other attributes")),
        (Phase::Ready, true) => Ok(Step::Done),
        (Phase::Provisioning, true) => mode.goes_on(instance),
        (Phase::Failed, true) => mode.begin(),
        (Phase::Deprovisioning, true) => Err(Refused::concurrent("the instance is being removed")),
    }
}

/// `DELETE` of an instance.
pub(crate) fn deprovision(known: Option<&Instance>, mode: Mode) -> Result<Step, Refused> {
    let Some(instance) = known else { return Ok(Step::Gone) };
    let busy = |binding: &Binding| matches!(binding.phase, BindingPhase::Binding | BindingPhase::Unbinding);
    match instance.phase {
        Phase::Provisioning => Err(Refused::concurrent("the instance is being made")),
        Phase::Deprovisioning => mode.goes_on(instance),
        Phase::Ready | Phase::Failed if instance.bindings.values().any(busy) => {
            Err(Refused::concurrent("a binding of the instance is being made or removed"))
        }
        Phase::Ready | Phase::Failed => mode.begin(),
    }
}

/// `GET` of an instance.
pub(crate) fn fetch(known: Option<&Instance>) -> Result<&Instance, Refused> {
    match known {
        Some(instance) if instance.phase == Phase::Ready => Ok(instance),
        Some(instance) if instance.phase == Phase::Deprovisioning => {
            Err(Refused::concurrent("the instance is being removed"))
        }
        _ => Err(Refused::new(404, "there is no such instance")),
    }
}

/// `PUT` of a binding. Bindings are made while the platform waits: [`Step::Begin`] is never in the background.
pub(crate) fn bind(
    instance: Option<&Instance>,
    known: Option<&Binding>,
    request: &BindRequest,
) -> Result<Step, Refused> {
    let instance = instance.ok_or_else(|| Refused::new(404, "there is no such instance"))?;
    match instance.phase {
        Phase::Ready => {}
        Phase::Failed => {
            return Err(Refused::new(404, "the instance could not be made, and cannot be bound"));
        }
        Phase::Provisioning | Phase::Deprovisioning => {
            return Err(Refused::concurrent("the instance is being made or removed"));
        }
    }
    if instance.service_id != request.service_id || instance.plan_id != request.plan_id {
        return Err(Refused::new(400, "service_id or plan_id are not those of the instance"));
    }
    let Some(binding) = known else { return Ok(Step::Begin { background: false }) };
    let same =
        binding.app == app(request) && parameters(&binding.parameters) == parameters(&request.parameters);
    match (binding.phase, same) {
        (_, false) => Err(Refused::new(409, "a binding of this id is there, with other attributes")),
        (BindingPhase::Bound, true) => Ok(Step::Done),
        (BindingPhase::Failed, true) => Ok(Step::Begin { background: false }),
        (BindingPhase::Binding | BindingPhase::Unbinding, true) => {
            Err(Refused::concurrent("the binding is being made or removed"))
        }
    }
}

/// `DELETE` of a binding.
pub(crate) fn unbind(instance: Option<&Instance>, known: Option<&Binding>) -> Result<Step, Refused> {
    let (Some(instance), Some(binding)) = (instance, known) else { return Ok(Step::Gone) };
    if instance.phase == Phase::Deprovisioning {
        return Err(Refused::concurrent("the instance is being removed"));
    }
    match binding.phase {
        BindingPhase::Bound | BindingPhase::Failed => Ok(Step::Begin { background: false }),
        BindingPhase::Binding | BindingPhase::Unbinding => {
            Err(Refused::concurrent("the binding is being made or removed"))
        }
    }
}

/// The app that a binding is for, wherever the platform has written it.
pub(crate) fn app(request: &BindRequest) -> Option<cupola_protocol::AppId> {
    let resource = request.bind_resource.as_ref().and_then(|resource| resource.app_guid.clone());
    resource.or_else(|| request.app_guid.clone())
}

/// No parameters and none at all are the same.
fn parameters(
    parameters: &Option<serde_json::Map<String, serde_json::Value>>,
) -> Option<&serde_json::Map<String, serde_json::Value>> {
    parameters.as_ref().filter(|parameters| !parameters.is_empty())
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;

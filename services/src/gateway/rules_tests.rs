use super::*;
use crate::gateway::record::{Operation, tests::instance};
use cupola_protocol::osb::OperationState;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

const SYNC: Mode = Mode { accepts_incomplete: false, asynchronous: false };
const ASYNC: Mode = Mode { accepts_incomplete: true, asynchronous: true };

fn request() -> ProvisionRequest {
    serde_json::from_value(
        json!({"service_id": "s", "plan_id": "p", "organization_guid": "o", "space_guid": "s"}),
    )
    .unwrap()
}

fn bind_request() -> BindRequest {
    serde_json::from_value(json!({"service_id": "s", "plan_id": "p", "app_guid": "a"})).unwrap()
}

fn binding(phase: BindingPhase) -> Binding {
    Binding {
        service_id: "s".into(),
        plan_id: "p".into(),
        app: Some("a".into()),
        parameters: Some(Default::default()),
        phase,
        username: "u".into(),
        password: "p".into(),
        credentials: None,
    }
}

fn code(result: Result<Step, Refused>) -> (u16, Option<Code>) {
    let refused = result.unwrap_err();
    (refused.status, refused.refusal.code())
}

#[test]
fn the_same_instance_again_is_answered_and_another_is_refused() {
    let ready = instance("i", Phase::Ready);
    assert_eq!(provision(Some(&ready), &request(), SYNC), Ok(Step::Done));
    // Even of a plan that works in the background alone.
    assert_eq!(provision(Some(&ready), &request(), Mode { asynchronous: true, ..SYNC }), Ok(Step::Done));
    let no_parameters = ProvisionRequest { parameters: Some(Default::default()), ..request() };
    assert_eq!(provision(Some(&ready), &no_parameters, SYNC), Ok(Step::Done));
    for other in [
        ProvisionRequest { plan_id: "q".into(), ..request() },
        ProvisionRequest { service_id: "q".into(), ..request() },
        ProvisionRequest { space_guid: "q".into(), ..request() },
        ProvisionRequest { parameters: json!({"a": 1}).as_object().cloned(), ..request() },
    ] {
        for phase in [Phase::Ready, Phase::Provisioning, Phase::Failed, Phase::Deprovisioning] {
            assert_eq!(code(provision(Some(&instance("i", phase)), &other, ASYNC)), (409, None));
        }
    }
}

#[test]
fn what_must_be_in_the_background_is_refused_to_those_who_cannot_wait() {
    let asynchronous = Mode { accepts_incomplete: false, asynchronous: true };
    assert_eq!(code(provision(None, &request(), asynchronous)), (422, Some(Code::AsyncRequired)));
    let ready = instance("i", Phase::Ready);
    assert_eq!(code(deprovision(Some(&ready), asynchronous)), (422, Some(Code::AsyncRequired)));
    assert_eq!(provision(None, &request(), ASYNC), Ok(Step::Begin { background: true }));
    let could = Mode { accepts_incomplete: true, asynchronous: false };
    assert_eq!(provision(None, &request(), could), Ok(Step::Begin { background: false }));
}

#[test]
fn while_something_goes_on_nothing_else_begins() {
    let making = instance("i", Phase::Provisioning);
    assert_eq!(provision(Some(&making), &request(), ASYNC), Ok(Step::GoesOn("1".into())));
    let busy = (422, Some(Code::ConcurrencyError));
    assert_eq!(code(provision(Some(&making), &request(), SYNC)), busy);
    assert_eq!(code(deprovision(Some(&making), ASYNC)), busy);
    assert_eq!(code(bind(Some(&making), None, &bind_request())), busy);
    let removing = instance("i", Phase::Deprovisioning);
    assert_eq!(deprovision(Some(&removing), ASYNC), Ok(Step::GoesOn("1".into())));
    assert_eq!(code(deprovision(Some(&removing), SYNC)), busy);
    assert_eq!(code(provision(Some(&removing), &request(), ASYNC)), busy);
    assert_eq!(code(unbind(Some(&removing), Some(&binding(BindingPhase::Bound)))), busy);
    let mut bound = instance("i", Phase::Ready);
    bound.bindings = BTreeMap::from([("b".into(), binding(BindingPhase::Binding))]);
    assert_eq!(code(deprovision(Some(&bound), SYNC)), busy);
}

#[test]
fn bindings_follow_the_same_rules() {
    let ready = instance("i", Phase::Ready);
    let begin = Ok(Step::Begin { background: false });
    assert_eq!(bind(Some(&ready), None, &bind_request()), begin);
    assert_eq!(bind(Some(&ready), Some(&binding(BindingPhase::Bound)), &bind_request()), Ok(Step::Done));
    let key = BindRequest { app_guid: None, ..bind_request() };
    assert_eq!(code(bind(Some(&ready), Some(&binding(BindingPhase::Bound)), &key)), (409, None));
    assert_eq!(code(bind(None, None, &bind_request())), (404, None));
    assert_eq!(code(bind(Some(&instance("i", Phase::Failed)), None, &bind_request())), (404, None));
    let other_plan = BindRequest { plan_id: "q".into(), ..bind_request() };
    assert_eq!(code(bind(Some(&ready), None, &other_plan)), (400, None));
    assert_eq!(unbind(Some(&ready), Some(&binding(BindingPhase::Bound))), begin);
    assert_eq!(unbind(Some(&ready), None), Ok(Step::Gone));
    assert_eq!(unbind(None, None), Ok(Step::Gone));
}

/// What a platform may do, and how what was begun may end.
#[derive(Debug, Clone, Copy)]
enum Act {
    Provision { accepts: bool },
    Deprovision { accepts: bool },
    Succeeds,
    Fails,
}

proptest! {
    /// Whatever is asked in whatever order: one operation at a time, what succeeded is answered as done, and what was
    /// removed is gone.
    #[test]
    fn one_thing_at_a_time(
        asynchronous: bool,
        acts in prop::collection::vec(prop_oneof![
            any::<bool>().prop_map(|accepts| Act::Provision { accepts }),
            any::<bool>().prop_map(|accepts| Act::Deprovision { accepts }),
            Just(Act::Succeeds),
            Just(Act::Fails),
        ], 0..60),
    ) {
        let mut known: Option<Instance> = None;
        let mut running = 0;
        for act in acts {
            let before = known.as_ref().map(|instance| instance.phase);
            match act {
                Act::Provision { accepts } => {
                    let mode = Mode { accepts_incomplete: accepts, asynchronous };
                    match provision(known.as_ref(), &request(), mode) {
                        Ok(Step::Begin { background }) => {
                            prop_assert!(matches!(before, None | Some(Phase::Failed)));
                            prop_assert_eq!(background, asynchronous);
                            prop_assert!(!background || accepts, "nobody is left without an answer");
                            known = Some(instance("i", Phase::Provisioning));
                            running += 1;
                        }
                        Ok(Step::Done) => prop_assert_eq!(before, Some(Phase::Ready)),
                        Ok(Step::GoesOn(_)) => prop_assert_eq!(before, Some(Phase::Provisioning)),
                        Ok(Step::Gone) => prop_assert!(false),
                        Err(refused) => prop_assert_eq!(refused.status, 422),
                    }
                }
                Act::Deprovision { accepts } => {
                    let mode = Mode { accepts_incomplete: accepts, asynchronous };
                    match deprovision(known.as_ref(), mode) {
                        Ok(Step::Begin { .. }) => {
                            prop_assert!(matches!(before, Some(Phase::Ready | Phase::Failed)));
                            known.as_mut().unwrap().phase = Phase::Deprovisioning;
                            running += 1;
                        }
                        Ok(Step::Gone) => prop_assert_eq!(before, None),
                        Ok(Step::GoesOn(_)) => prop_assert_eq!(before, Some(Phase::Deprovisioning)),
                        Ok(Step::Done) => prop_assert!(false),
                        Err(refused) => prop_assert_eq!(refused.status, 422),
                    }
                }
                Act::Succeeds | Act::Fails if running == 0 => {}
                Act::Succeeds => {
                    running -= 1;
                    match before {
                        Some(Phase::Provisioning) => known.as_mut().unwrap().phase = Phase::Ready,
                        _ => known = None,
                    }
                }
                Act::Fails => {
                    running -= 1;
                    let instance = known.as_mut().unwrap();
                    instance.phase = if before == Some(Phase::Provisioning) { Phase::Failed } else { Phase::Ready };
                    instance.operation =
                        Operation { id: "2".into(), state: OperationState::Failed, description: None };
                }
            }
            prop_assert!(running <= 1);
            let busy = known.as_ref().is_some_and(|instance| matches!(instance.phase, Phase::Provisioning | Phase::Deprovisioning));
            prop_assert_eq!(busy, running == 1);
        }
    }
}

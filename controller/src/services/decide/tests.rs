use super::*;
use proptest::prelude::*;
use serde_json::json;

fn said(status: u16, body: Value) -> Answer {
    Answer::Said { status, body: Ok(body), retry_after: None }
}

fn garbled(status: u16) -> Answer {
    Answer::Said { status, body: Err("it is not JSON".to_owned()), retry_after: None }
}

/// A decision in one word, as the table of the specification has it.
fn word(next: &Next) -> &'static str {
    match next {
        Next::Done(_) => "success",
        Next::Poll { .. } => "poll",
        Next::Fetch => "fetch",
        Next::Again(_) => "again",
        Next::Anew(_) => "anew",
        Next::Failed { mitigate: false, .. } => "failure",
        Next::Failed { mitigate: true, .. } => "orphan",
    }
}

#[test]
fn answers_are_taken_as_the_table_of_the_specification_has_it() {
    let answers: [(&str, Answer); 19] = [
        ("200", said(200, json!({}))),
        ("200 malformed", garbled(200)),
        ("200 wrong types", said(200, json!({"credentials": 3, "dashboard_url": 3, "operation": 3}))),
        ("201", said(201, json!({}))),
        ("201 malformed", garbled(201)),
        ("202", said(202, json!({"operation": "x"}))),
        ("202 malformed", garbled(202)),
        ("202 long operation", said(202, json!({"operation": "x".repeat(10_001)}))),
        ("204", said(204, json!({}))),
        ("302", said(302, json!({}))),
        ("400", said(400, json!({}))),
        ("401", said(401, json!({}))),
        ("408", said(408, json!({}))),
        ("409", said(409, json!({}))),
        ("410", said(410, json!({}))),
        ("422", said(422, json!({"error": "AsyncRequired"}))),
        ("500", said(500, json!({}))),
        ("timeout", Answer::Silent("did not answer".to_owned())),
        ("unreachable", Answer::Unreached("refused".to_owned())),
    ];
    let kinds =
        [Kind::Provision, Kind::Bind, Kind::Update, Kind::Deprovision, Kind::Unbind, Kind::CleanInstance];
    let mut drawn = format!("{:<20}", "");
    for kind in kinds {
        drawn.push_str(&format!("{:<15}", kind.as_str()));
    }
    for (name, answer) in &answers {
        drawn.push_str(&format!("\n{name:<20}"));
        for kind in kinds {
            drawn.push_str(&format!("{:<15}", word(&after_send(kind, answer, false))));
        }
    }
    let drawn: Vec<_> = drawn.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(drawn.join("\n"), @r"
                        provision      bind           update         deprovision    unbind         clean-instance
    200                 success        success        success        success        success        success
    200 malformed       failure        failure        failure        failure        failure        anew
    200 wrong types     failure        failure        failure        failure        failure        anew
    201                 success        success        failure        failure        failure        anew
    201 malformed       orphan         orphan         failure        failure        failure        anew
    202                 poll           poll           poll           poll           poll           poll
    202 malformed       orphan         orphan         failure        failure        failure        anew
    202 long operation  orphan         orphan         failure        failure        failure        anew
    204                 orphan         orphan         failure        failure        failure        anew
    302                 failure        failure        failure        failure        failure        anew
    400                 failure        failure        failure        failure        failure        anew
    401                 failure        failure        failure        failure        failure        anew
    408                 failure        failure        failure        failure        failure        anew
    409                 failure        failure        failure        failure        failure        anew
    410                 failure        failure        failure        success        success        success
    422                 failure        failure        failure        failure        failure        anew
    500                 orphan         orphan         failure        failure        failure        anew
    timeout             orphan         orphan         failure        failure        failure        anew
    unreachable         failure        failure        failure        failure        failure        anew
    ");
}

#[test]
fn states_of_operations_are_followed() {
    let state = |state: &str| said(200, json!({"state": state, "description": "d"}));
    let kinds = [Kind::Provision, Kind::Bind, Kind::Update, Kind::Unbind, Kind::CleanBinding];
    let words = |answer: Answer| kinds.map(|kind| word(&after_poll(kind, &answer)));
    assert_eq!(words(state("in progress")), ["poll"; 5]);
    assert_eq!(words(state("succeeded")), ["success", "fetch", "success", "success", "success"]);
    assert_eq!(words(state("failed")), ["orphan", "orphan", "failure", "failure", "anew"]);
    assert_eq!(words(state("dreaming")), ["again"; 5]);
    assert_eq!(words(said(410, json!({}))), ["orphan", "orphan", "failure", "success", "success"]);
    for unclear in [garbled(200), said(500, json!({})), said(404, json!({})), Answer::Silent("x".to_owned())]
    {
        assert_eq!(words(unclear), ["again"; 5]);
    }
    let fetched = |answer: Answer| word(&after_fetch(&answer));
    assert_eq!(fetched(said(200, json!({"credentials": {}}))), "success");
    assert_eq!(fetched(garbled(200)), "orphan");
    assert_eq!(fetched(said(404, json!({}))), "orphan");
    assert_eq!(fetched(said(503, json!({}))), "again");
}

#[test]
fn reasons_are_the_brokers_own_words() {
    let why = |answer: Answer| match after_send(Kind::Provision, &answer, false) {
        Next::Failed { why, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        why(said(422, json!({"error": "AsyncRequired", "description": "be patient"}))),
        "answered 422: be patient"
    );
    assert_eq!(why(said(422, json!({"error": "ConcurrencyError"}))), "answered 422: ConcurrencyError");
    assert_eq!(why(said(401, json!({}))), "answered 401 (are its user name and password right?)");
    assert_eq!(why(garbled(500)), "answered 500");
    assert!(why(garbled(201)).ends_with("it is not JSON"));
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

fn bodies() -> impl Strategy<Value = Result<Value, String>> {
    prop_oneof![
        Just(Err("it is not JSON".to_owned())),
        Just(Ok(json!({}))),
        Just(Ok(json!({"operation": "x", "credentials": {"a": 1}, "state": "succeeded"}))),
        Just(Ok(json!({"state": "failed", "description": "d", "error": "e"}))),
        Just(Ok(json!({"state": "in progress"}))),
        Just(Ok(json!({"credentials": [], "dashboard_url": 1, "operation": {}, "state": 0}))),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Unreached("refused".to_owned())),
        Just(Answer::Silent("did not answer".to_owned())),
        (100u16..600, bodies(), prop::option::of(0u64..10_000)).prop_map(|(status, body, pause)| {
            Answer::Said { status, body, retry_after: pause.map(Duration::from_secs) }
        }),
    ]
}

fn may_mitigate(next: &Next) -> bool {
    matches!(next, Next::Failed { mitigate: true, .. })
}

proptest! {
    /// Whatever a broker says: what is not a creation is never undone, and a creation is undone with its own kind.
    #[test]
    fn only_creations_are_cleaned_up_after(kind in kinds(), answer in answers(), resent: bool) {
        let decisions = [after_send(kind, &answer, resent), after_poll(kind, &answer), too_late(kind, "x")];
        for next in decisions {
            prop_assert!(kind.creates() || !may_mitigate(&next), "{kind:?} {answer:?}: {next:?}");
        }
        prop_assert_eq!(kind.creates(), kind.mitigation().is_some());
    }

    /// Cleaning up ends when the broker says that it is gone, and otherwise goes on.
    #[test]
    fn cleaning_up_goes_on_until_it_is_done(answer in answers(), resent: bool, of_binding: bool) {
        let kind = if of_binding { Kind::CleanBinding } else { Kind::CleanInstance };
        for next in [after_send(kind, &answer, resent), after_poll(kind, &answer)] {
            prop_assert!(!matches!(next, Next::Failed { .. } | Next::Fetch), "{answer:?}: {next:?}");
            if let Next::Done(done) = next {
                prop_assert_eq!(done, Done::Gone);
            }
        }
    }

    /// A failed creation that may have left something is undone; one that surely left nothing is not.
    #[test]
    fn a_creation_is_undone_when_the_answer_leaves_a_doubt(answer in answers(), of_binding: bool) {
        let kind = if of_binding { Kind::Bind } else { Kind::Provision };
        let doubt = match &answer {
            Answer::Silent(_) => true,
            Answer::Unreached(_) => false,
            Answer::Said { status, .. } => matches!(status, 201..=299 | 500..=599),
        };
        let next = after_send(kind, &answer, false);
        if let Next::Failed { mitigate, .. } = next {
            prop_assert_eq!(mitigate, doubt, "{:?}", answer);
        }
        // The same request had been sent before: then every failure leaves a doubt.
        if let Next::Failed { mitigate, .. } = after_send(kind, &answer, true) {
            prop_assert!(mitigate);
        }
    }

    /// Rows name kinds and phases as they are read.
    #[test]
    fn kinds_are_read_as_they_are_written(kind in kinds()) {
        prop_assert_eq!(Kind::read(kind.as_str()), Some(kind));
    }
}

#[test]
fn phases_are_read_as_they_are_written() {
    for phase in [Phase::Wait, Phase::Send, Phase::Poll, Phase::Fetch] {
        assert_eq!(Phase::read(phase.as_str()), Some(phase));
    }
    assert_eq!((Kind::read("x"), Phase::read("x")), (None, None));
}

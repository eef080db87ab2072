//! Brokers that fail: what may be left at them goes, what may be somebody's data stays, also when the controller dies.

use crate::{
    broker::{Behaviour, Broker},
    platform::Platform,
    services::{binding, key},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

async fn quick() -> Platform {
    Platform::with(|config| {
        config.services.broker_timeout_seconds = 1;
        config.services.poll_ms = 20;
        config.services.cleanup_retry_ms = 20;
        config.services.claim_seconds = 1;
    })
    .await
}

/// Waits until nothing is to be asked of brokers any more.
async fn settled(platform: &Platform) {
    let deadline = std::time::Instant::now() + crate::platform::PATIENCE;
    while platform.rows("service_operations").await > 0 {
        assert!(std::time::Instant::now() < deadline, "something goes on for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How creations fail, what is said of it, and whether they are cleaned up after.
fn failures() -> Vec<(Behaviour, &'static str, bool)> {
    vec![
        (Behaviour::DoneAndSays(500, r#"{"description": "disk full"}"#), "answered 500: disk full", true),
        (Behaviour::DoneAndSilent, "did not answer within 1 s", true),
        (Behaviour::DoneAndSays(201, "<html>"), "not JSON", true),
        (Behaviour::DoneAndSays(202, "nonsense"), "not JSON", true),
        (Behaviour::DoneAndSays(204, ""), "answered 204", true),
        (Behaviour::Endless, "larger than", false),
        (Behaviour::Says(200, "[]"), "no object", false),
        (Behaviour::Says(400, r#"{"description": "no such parameter"}"#), "no such parameter", false),
        (Behaviour::Says(408, "{}"), "answered 408", false),
        (Behaviour::Says(409, "{}"), "answered 409", false),
        (Behaviour::Says(422, r#"{"error": "ConcurrencyError"}"#), "ConcurrencyError", false),
        (Behaviour::Later(1, "failed"), "could not do it: it failed", true),
    ]
}

#[tokio::test]
async fn an_instance_that_may_be_there_is_deleted_and_one_that_is_not_is_left_alone() {
    let platform = quick().await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    let wish = p.wish("mine", "db", "small").await;
    for (behaviour, reason, cleaned) in failures() {
        let before = broker.count("DELETE ");
        broker.switch("provision", behaviour.clone());
        let detail = p.fails(Method::POST, "/v3/service_instances", wish.clone()).await;
        assert!(detail.starts_with("provision could not be completed: Service broker theirs "), "{detail}");
        assert!(detail.contains(reason), "{behaviour:?}: {detail}");
        settled(p).await;
        assert_eq!(broker.count("DELETE ") - before, usize::from(cleaned), "{behaviour:?}");
        assert_eq!(broker.has().0, 0, "{behaviour:?} leaves an orphan");
        // The user sees why, cannot use it, and deletes it.
        let shown = p.get("/v3/service_instances?names=mine").await;
        let operation = &shown["resources"][0]["last_operation"];
        assert_eq!((&operation["type"], &operation["state"]), (&json!("create"), &json!("failed")));
        assert!(operation["description"].as_str().unwrap().contains(reason), "{operation}");
        let guid = shown["resources"][0]["guid"].as_str().unwrap();
        let refused = p.refused(Method::POST, "/v3/service_credential_bindings", key(guid, "k"), 422).await;
        assert!(refused.contains("never made"), "{refused}");
        p.done(Method::DELETE, &format!("/v3/service_instances/{guid}"), Value::Null).await;
        assert_eq!(p.rows("service_instances").await, 0);
    }
    // A broker that knows nothing of what was never made does not keep the row alive, whatever it says then.
    broker.switch("provision", Behaviour::Says(400, "{}"));
    broker.switch("deprovision", Behaviour::Says(404, "{}"));
    p.fails(Method::POST, "/v3/service_instances", wish.clone()).await;
    let guid = p.guid("/v3/service_instances").await;
    p.done(Method::DELETE, &format!("/v3/service_instances/{guid}"), Value::Null).await;
    // Nor is the row in the way of another of its name, cleaned up after or not.
    for behaviour in [Behaviour::Says(400, "{}"), Behaviour::DoneAndSays(500, "{}")] {
        broker.switch("provision", behaviour);
        p.fails(Method::POST, "/v3/service_instances", wish.clone()).await;
    }
    broker.behave();
    p.done(Method::POST, "/v3/service_instances", wish.clone()).await;
    settled(p).await;
    assert_eq!((p.rows("service_instances").await, broker.has()), (1, (1, 0)));
    p.refused(Method::POST, "/v3/service_instances", wish, 422).await;
}

#[tokio::test]
async fn a_binding_that_may_be_there_is_deleted_and_can_be_made_anew() {
    let platform = quick().await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    let instance = p.instance("mine").await;
    let app = p.bare_app("one").await;
    let bindings = "/v3/service_credential_bindings";
    let mut more = failures();
    // What it has made cannot be read afterwards.
    more.push((Behaviour::Later(0, "succeeded"), "answered 404", true));
    for (behaviour, reason, cleaned) in more {
        let before = broker.count("DELETE ");
        broker.switch("bind", behaviour.clone());
        if reason == "answered 404" {
            broker.switch("fetch", Behaviour::Says(404, "{}"));
        }
        let detail = p.fails(Method::POST, bindings, binding(&instance, &app)).await;
        assert!(detail.starts_with("bind could not be completed: Service broker theirs "), "{detail}");
        assert!(detail.contains(reason), "{behaviour:?}: {detail}");
        settled(p).await;
        assert_eq!(broker.count("DELETE ") - before, usize::from(cleaned), "{behaviour:?}");
        assert_eq!(broker.has().1, 0, "{behaviour:?} leaves an orphan");
        let services = &p.get(&format!("/v3/apps/{app}/env")).await["system_env_json"]["VCAP_SERVICES"];
        assert_eq!(*services, json!({}), "an app sees a binding that failed");
        broker.behave();
    }
    // The failed one is in nobody's way.
    p.bind(&instance, &app).await;
    assert_eq!((p.rows("service_bindings").await, broker.has()), (1, (1, 1)));
    let guid = p.guid(bindings).await;
    // One that cannot be deleted says so, stays good for its app, and can be deleted again.
    broker.switch_times("unbind", Behaviour::Says(500, r#"{"description": "busy"}"#), 1);
    let detail = p.fails(Method::DELETE, &format!("{bindings}/{guid}"), Value::Null).await;
    assert!(detail.contains("unbind could not be completed") && detail.contains("busy"), "{detail}");
    let env = p.get(&format!("/v3/apps/{app}/env")).await;
    assert!(env["system_env_json"]["VCAP_SERVICES"]["db"].is_array(), "{env}");
    let twice = p.refused(Method::POST, bindings, binding(&instance, &app), 422).await;
    assert!(twice.contains("deletion failed"), "{twice}");
    // A deletion of the instance with its bindings says which one is in its way.
    broker.switch_times("unbind", Behaviour::Says(500, r#"{"description": "still busy"}"#), 1);
    let path = format!("/v3/service_instances/{instance}?recursive=true");
    let detail = p.fails(Method::DELETE, &path, Value::Null).await;
    assert!(
        detail.contains("A binding of it could not be deleted") && detail.contains("still busy"),
        "{detail}"
    );
    assert_eq!(broker.has().0, 1);
    p.done(Method::DELETE, &path, Value::Null).await;
    assert_eq!(broker.has(), (0, 0));
}

#[tokio::test]
async fn cleaning_up_is_repeated_until_it_is_done() {
    let mut platform = quick().await;
    let broker = Broker::start().await;
    platform.broker("theirs", &broker).await;
    broker.switch("provision", Behaviour::DoneAndSays(500, "{}"));
    broker.switch("deprovision", Behaviour::Says(503, "{}"));
    let wish = platform.wish("mine", "db", "small").await;
    platform.fails(Method::POST, "/v3/service_instances", wish).await;
    broker
        .until("three deletions", |brain| {
            brain.seen.iter().filter(|seen| seen.line.starts_with("DELETE ")).count() >= 3
        })
        .await;
    // The row may go meanwhile: what is to be cleaned up stands for itself.
    let guid = platform.guid("/v3/service_instances").await;
    platform.done(Method::DELETE, &format!("/v3/service_instances/{guid}"), Value::Null).await;
    assert_eq!(platform.rows("service_instances").await, 0);
    // So may the controller.
    platform.die_and_return().await;
    assert_eq!(broker.has().0, 1);
    broker.behave();
    settled(&platform).await;
    assert_eq!(broker.has().0, 0);
}

#[tokio::test]
async fn a_controller_that_dies_goes_on_where_it_was() {
    let mut platform = quick().await;
    let broker = Broker::start().await;
    platform.broker("theirs", &broker).await;
    // While a broker works by itself.
    broker.switch("provision", Behaviour::Later(1_000_000, "succeeded"));
    let wish = platform.wish("slow", "db", "small").await;
    platform.send(Method::POST, "/v3/service_instances", wish).await;
    let path = format!("/v3/service_instances/{}", platform.guid("/v3/service_instances").await);
    let asked = |times: usize| {
        move |brain: &crate::broker::Brain| {
            let asks = |seen: &&crate::broker::Seen| seen.line.starts_with("GET /v2/service_instances/");
            brain.seen.iter().filter(asks).count() > times
        }
    };
    broker.until("it is asked", asked(1)).await;
    let polled = broker.count("GET /v2/service_instances/");
    platform.die_and_return().await;
    broker.until("it is asked again", asked(polled + 2)).await;
    broker.brain().finish();
    platform.until(&path, |one| one["last_operation"]["state"] == "succeeded").await;
    assert_eq!(broker.count("PUT "), 1, "what had begun was not begun again");
    // Before the broker has answered: the same request is sent again, and finds what the first one made.
    broker.switch_times("provision", Behaviour::DoneAndSilent, 1);
    let wish = platform.wish("lost", "db", "small").await;
    platform.send(Method::POST, "/v3/service_instances", wish).await;
    broker.until("it was asked", |brain| brain.instances.len() == 2).await;
    platform.die_and_return().await;
    let path = format!("/v3/service_instances/{}", platform.guid("/v3/service_instances?names=lost").await);
    platform.until(&path, |one| one["last_operation"]["state"] == "succeeded").await;
    assert_eq!((broker.count("PUT "), broker.count("DELETE ")), (3, 0));
    let mut bodies: Vec<Value> = {
        let brain = broker.brain();
        brain.seen.iter().filter(|seen| seen.line.starts_with("PUT ")).map(|seen| seen.body.clone()).collect()
    };
    assert_eq!(bodies.pop(), bodies.pop());
    settled(&platform).await;
}

#[tokio::test]
async fn an_operation_that_never_ends_is_given_up_and_a_creation_cleaned_up_after() {
    let platform = Platform::with(|config| {
        config.services.poll_ms = 20;
        config.services.cleanup_retry_ms = 20;
        config.services.max_poll_seconds = 1;
    })
    .await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    broker.switch("provision", Behaviour::Later(1_000_000, "succeeded"));
    let wish = p.wish("mine", "db", "small").await;
    let detail = p.fails(Method::POST, "/v3/service_instances", wish.clone()).await;
    assert!(detail.contains("Service broker theirs was not done in time"), "{detail}");
    settled(p).await;
    assert_eq!((broker.has(), broker.count("DELETE ")), ((0, 0), 1));
    // A deletion that never ends has failed, and is no reason to forget the instance.
    broker.behave();
    let guid = p.guid("/v3/service_instances").await;
    p.done(Method::DELETE, &format!("/v3/service_instances/{guid}"), Value::Null).await;
    let guid = p.instance("other").await;
    broker.switch("deprovision", Behaviour::Later(1_000_000, "succeeded"));
    let path = format!("/v3/service_instances/{guid}");
    assert!(p.fails(Method::DELETE, &path, Value::Null).await.contains("was not done in time"));
    assert_eq!(p.get(&path).await["last_operation"]["type"], "delete");
    // An administrator forgets it, if he must.
    assert_eq!(p.send(Method::DELETE, &format!("{path}?purge=true"), Value::Null).await.0, 204);
    p.refused(Method::GET, &path, Value::Null, 404).await;
}

#[tokio::test]
async fn an_app_that_is_deleted_while_it_is_bound_leaves_nothing() {
    let platform = quick().await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    let instance = p.instance("mine").await;
    let app = p.bare_app("one").await;
    broker.switch_times("bind", Behaviour::DoneAndSilent, 1);
    let bindings = "/v3/service_credential_bindings";
    let answer = p.request(Method::POST, bindings).json(&binding(&instance, &app)).send().await.unwrap();
    let job = answer.headers()["location"].to_str().unwrap().to_owned();
    broker.until("the binding is there", |brain| brain.bindings.len() == 1).await;
    p.delete(&format!("/v3/apps/{app}")).await;
    assert_eq!(p.rows("service_bindings").await, 0);
    p.until(&job, |job| job["state"] == "FAILED").await;
    settled(p).await;
    assert_eq!(broker.has().1, 0);
    // Also where the broker is away for a while.
    let app = p.bare_app("two").await;
    p.bind(&instance, &app).await;
    broker.switch_times("unbind", Behaviour::Says(503, "{}"), 3);
    p.delete(&format!("/v3/apps/{app}")).await;
    settled(p).await;
    assert_eq!(broker.has().1, 0);
    p.done(Method::DELETE, &format!("/v3/service_instances/{instance}"), Value::Null).await;
}

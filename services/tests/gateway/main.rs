//! The gateway as a platform sees it: the rules of the Open Service Broker API over HTTP, with a real bus and nodes that
//! behave.

mod world;

use cupola_protocol::{
    osb::{BindResponse, Catalog},
    services::{BrokerRegistered, RegisterBroker},
};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::eventually;
use world::{Manner, PATIENCE, World, send};

const I: &str = "/v2/service_instances/i1";
const B: &str = "/v2/service_instances/i1/service_bindings/b1";

/// Waits until the gateway makes instances: it has heard of the node.
async fn provisioned(world: &World, plan: &str) {
    let body = world.instance(plan).await;
    eventually(PATIENCE, async || {
        let answer = world.put(I, body.clone()).await;
        if answer.status == 201 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_platforms_with_the_password_and_the_version_are_served() {
    let world = World::make(|_| ()).await;
    let catalog = "/v2/catalog";
    let url = format!("http://{}{catalog}", world.address);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let version = ("X-Broker-API-Version", "2.17");
    for request in [
        http.get(&url).header(version.0, version.1),
        http.get(&url).header(version.0, version.1).basic_auth("cupola", Some("wrong")),
        http.get(&url).header(version.0, version.1).basic_auth("admin", Some(world.password())),
        http.get(&url).header(version.0, version.1).bearer_auth(world.password()),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        assert!(response.headers().contains_key("www-authenticate"));
    }
    for version in [None, Some("1.0"), Some("3.0"), Some("2"), Some("2.x"), Some("")] {
        let mut request = http.get(&url).basic_auth("cupola", Some(world.password()));
        if let Some(version) = version {
            request = request.header("X-Broker-API-Version", version);
        }
        assert_eq!(send(request).await.status, 412, "{version:?}");
    }
    let request = world.request(Method::GET, catalog).header("X-Broker-API-Request-Identity", "r-1");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["X-Broker-API-Request-Identity"], "r-1");
    let catalog: Catalog = response.json().await.unwrap();
    assert_eq!(catalog.services.len(), 2);
    assert_eq!(world.get("/v3/nothing").await.status, 404);
    assert_eq!(world.ask(Method::POST, I, None).await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_and_its_binding_from_beginning_to_end() {
    let world = World::make(|_| ()).await;
    let node = world.node("n1", 3).await;
    provisioned(&world, "small").await;
    let body = world.instance("small").await;
    assert_eq!(world.put(I, body.clone()).await.status, 200, "the same again");
    assert_eq!(*node.asked.lock().unwrap(), 1);
    let mut other = body.clone();
    other["space_guid"] = json!("elsewhere");
    assert_eq!(world.put(I, other).await.status, 409);
    let fetched = world.get(I).await;
    assert_eq!((fetched.status, &fetched.body["plan_id"]), (200, &body["plan_id"]));
    assert_eq!(world.get("/v2/service_instances/other").await.status, 404);
    let last = world.get(&format!("{I}/last_operation")).await;
    assert_eq!((last.status, last.body["state"].as_str()), (200, Some("succeeded")));

    let binding = world.binding("small").await;
    let bound = world.put(B, binding.clone()).await;
    assert_eq!(bound.status, 201, "{bound:?}");
    let again = world.put(B, binding.clone()).await;
    assert_eq!((again.status, &again.body), (200, &bound.body), "the same again has the same credentials");
    assert_eq!(world.get(B).await.body, bound.body);
    let response: BindResponse = serde_json::from_value(bound.body).unwrap();
    let credentials = response.credentials.unwrap();
    assert_eq!(response.endpoints[0].host, credentials["host"].as_str().unwrap());
    assert_eq!(response.endpoints[0].ports, [credentials["port"].to_string()]);
    for key in ["uri", "hostname", "username", "password", "name"] {
        assert!(credentials[key].as_str().is_some_and(|value| !value.is_empty()), "{key}: {credentials:?}");
    }
    let mut key = binding.clone();
    key["bind_resource"] = Value::Null;
    assert_eq!(world.put(B, key.clone()).await.status, 409, "for something else");
    assert_eq!(world.put(&B.replace("b1", "b2"), key).await.status, 201, "a service key");
    assert_eq!(node.handles().bindings_list.len(), 2);
    assert_eq!(world.get(&format!("{B}/last_operation")).await.body["state"], "succeeded");

    assert_eq!(world.delete(B, "small").await.status, 200);
    assert_eq!(world.delete(B, "small").await.status, 410);
    assert_eq!(world.get(B).await.status, 404);
    assert_eq!(world.get(&format!("{B}/last_operation")).await.status, 410);
    assert_eq!(world.delete(I, "small").await.status, 200);
    assert_eq!(world.delete(I, "small").await.status, 410);
    assert_eq!(world.get(I).await.status, 404);
    assert_eq!(world.get(&format!("{I}/last_operation")).await.status, 410);
    assert!(node.names().is_empty());
    assert_eq!(std::fs::read_dir(world.config.data_dir.join("instances")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_the_background_is_followed_to_its_end() {
    let world = World::make(|_| ()).await;
    let node = world.node("n1", 3).await;
    node.manner.send_replace(Manner::Waits);
    let (body, accepts) = (world.instance("large").await, format!("{I}?accepts_incomplete=true"));
    assert_eq!(world.put(I, body.clone()).await.code(), (422, "AsyncRequired"));
    let begun = world.put(&accepts, body.clone()).await;
    assert_eq!(begun.status, 202, "{begun:?}");
    let operation = begun.body["operation"].as_str().expect("an operation").to_owned();
    let again = world.put(&accepts, body.clone()).await;
    assert_eq!((again.status, again.body["operation"].as_str()), (202, Some(operation.as_str())));
    let last = format!("{I}/last_operation?operation={operation}");
    assert_eq!(world.get(&last).await.body["state"], "in progress");
    assert_eq!(world.get(I).await.status, 404, "it is not there yet");
    assert_eq!(world.put(B, world.binding("large").await).await.code(), (422, "ConcurrencyError"));
    assert_eq!(world.delete(&accepts, "large").await.code(), (422, "ConcurrencyError"));
    node.manner.send_replace(Manner::Works);
    let will_be = async |state: &str| {
        eventually(PATIENCE, async || {
            let answer = world.get(&last).await;
            if answer.body["state"] == state { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await
    };
    will_be("succeeded").await;
    assert_eq!(world.put(&accepts, body).await.status, 200);

    assert_eq!(world.delete(I, "large").await.code(), (422, "AsyncRequired"));
    node.manner.send_replace(Manner::Fails);
    assert_eq!(world.delete(&accepts, "large").await.status, 202);
    will_be("failed").await;
    let answer = world.get(&last).await;
    assert_eq!(
        (&answer.body["instance_usable"], &answer.body["description"]),
        (&json!(true), &json!("the disk is broken"))
    );
    node.manner.send_replace(Manner::Works);
    assert_eq!(world.delete(&accepts, "large").await.status, 202);
    eventually(PATIENCE, async || {
        let answer = world.get(&last).await;
        if answer.status == 410 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    assert!(node.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thing_at_a_time_is_done_with_an_instance() {
    let world = World::make(|_| ()).await;
    let node = world.node("n1", 9).await;
    provisioned(&world, "small").await;
    node.manner.send_replace(Manner::Waits);
    let other = "/v2/service_instances/i2";
    let (body, binding) = (world.instance("small").await, world.binding("small").await);
    let busy = (422, "ConcurrencyError");
    let goes_on = async |path: &str| {
        eventually(PATIENCE, async || {
            let answer = world.get(&format!("{path}/last_operation")).await;
            if answer.body["state"] == "in progress" { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    };
    let making = tokio::spawn(send(world.request(Method::PUT, other).json(&body)));
    goes_on(other).await;
    assert_eq!(world.put(other, body.clone()).await.code(), busy);
    assert_eq!(world.delete(other, "small").await.code(), busy);
    let binding_now = tokio::spawn(send(world.request(Method::PUT, B).json(&binding)));
    goes_on(B).await;
    assert_eq!(world.put(B, binding.clone()).await.code(), busy);
    assert_eq!(world.delete(B, "small").await.code(), busy);
    assert_eq!(world.delete(I, "small").await.code(), busy, "one of its bindings is being made");
    node.manner.send_replace(Manner::Works);
    assert_eq!(making.await.unwrap().status, 201);
    assert_eq!(binding_now.await.unwrap().status, 201);
    assert_eq!(node.names().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    let world = World::make(|_| ()).await;
    let node = world.node("n1", 3).await;
    let body = world.instance("small").await;
    let with = |key: &str, value: Value| {
        let mut body = body.clone();
        body[key] = value;
        body
    };
    for bad in [
        with("plan_id", json!("nothing")),
        with("service_id", json!("nothing")),
        with("parameters", json!({"unknown": 1})),
        json!({"service_id": "s"}),
        json!([]),
    ] {
        assert_eq!(world.put(I, bad.clone()).await.status, 400, "{bad}");
    }
    let request = world.request(Method::PUT, I).body("no json");
    assert_eq!(send(request).await.status, 400);
    assert_eq!(world.put(&format!("{I}?accepts_incomplete=perhaps"), body.clone()).await.status, 400);
    assert_eq!(world.ask(Method::DELETE, I, None).await.status, 400, "without its ids");
    assert_eq!(world.put(B, world.binding("small").await).await.status, 404, "of no instance");
    assert!(node.names().is_empty());

    provisioned(&world, "small").await;
    assert_eq!(world.delete(I, "large").await.status, 400, "ids of another plan");
    assert_eq!(world.put(B, world.binding("large").await).await.status, 400);
    let change = |plan: &str| json!({"service_id": body["service_id"], "plan_id": plan});
    let (_, large) = world.ids("large").await;
    assert_eq!(world.ask(Method::PATCH, I, Some(change(&large))).await.status, 422);
    let renamed = json!({"service_id": body["service_id"], "context": {"instance_name": "new"}});
    assert_eq!(world.ask(Method::PATCH, I, Some(renamed)).await.status, 200);
    // Whatever an id is, it is only an id.
    let strange = "/v2/service_instances/..%2F..%2Fetc%2Fpasswd";
    assert_eq!(world.put(strange, body.clone()).await.status, 201);
    assert_eq!(world.get(strange).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_with_the_most_room_is_asked_and_then_the_next() {
    let world = World::make(|_| ()).await;
    let body = world.instance("small").await;
    let answer = world.put(I, body.clone()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body["description"].as_str().unwrap().contains("no service node"), "{answer:?}");
    assert_eq!(world.delete(I, "small").await.status, 200, "what could not be made can be removed");
    let (small, large, gone) =
        (world.node("n1", 2).await, world.node("n2", 5).await, world.node("n3", 9).await);
    // The largest says at the last moment that it is full; one is not there at all.
    large.manner.send_replace(Manner::Full);
    gone.leave();
    provisioned(&world, "small").await;
    assert_eq!((small.names().len(), large.names().len()), (1, 0));
    small.manner.send_replace(Manner::Full);
    let answer = world.put(&I.replace("i1", "i2"), body).await;
    assert_eq!((answer.status, answer.body["description"].as_str()), (503, Some("no room after all")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_fails_or_is_silent_is_told_and_nothing_stays() {
    let world = World::make(|config| {
        config.node_timeout_seconds = 0.5;
        config.orphan_check_seconds = 0.5;
    })
    .await;
    let node = world.node("n1", 5).await;
    provisioned(&world, "small").await;
    let other = "/v2/service_instances/i2";
    let body = world.instance("small").await;
    node.manner.send_replace(Manner::Fails);
    let answer = world.put(other, body.clone()).await;
    assert_eq!((answer.status, answer.body["description"].as_str()), (500, Some("the disk is broken")));
    let answer = world.put(B, world.binding("small").await).await;
    assert_eq!(answer.status, 500, "{answer:?}");
    assert_eq!(world.delete(I, "small").await.status, 500);
    assert_eq!(world.get(I).await.status, 200, "it is there as before");

    // It does it, and nobody hears of that: the platform removes it, or the gateway finds it.
    node.manner.send_replace(Manner::Mute);
    assert_eq!(world.put(other, body.clone()).await.status, 504);
    assert_eq!(world.put(B, world.binding("small").await).await.status, 504);
    assert_eq!((node.names().len(), node.handles().bindings_list.len()), (2, 1));
    // Another gateway's are not its to judge.
    node.has.lock().unwrap().insert("dffffffanother".to_owned(), Default::default());
    node.manner.send_replace(Manner::Works);
    eventually(PATIENCE, async || {
        let (names, bindings) = (node.names(), node.handles().bindings_list);
        if names.len() == 2 && bindings.is_empty() { Ok(()) } else { Err(format!("{names:?} {bindings:?}")) }
    })
    .await;
    assert!(node.names().contains(&"dffffffanother".to_owned()));
    assert_eq!(world.put(B, world.binding("small").await).await.status, 201, "what is known is left alone");
    // The platform may also try again, or remove what it did not see succeed.
    assert_eq!(world.put(other, body).await.status, 201);
    assert_eq!(world.delete(other, "small").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_goes_on_where_it_was() {
    let mut world = World::make(|_| ()).await;
    let node = world.node("n1", 5).await;
    provisioned(&world, "small").await;
    let bound = world.put(B, world.binding("small").await).await;
    assert_eq!(bound.status, 201);
    let (body, password) = (world.instance("large").await, world.password());
    node.manner.send_replace(Manner::Waits);
    let (other, key) = ("/v2/service_instances/i2?accepts_incomplete=true", B.replace("b1", "b2"));
    let begun = world.put(other, body.clone()).await;
    assert_eq!(begun.status, 202);
    let cut = tokio::spawn(world.request(Method::PUT, &key).json(&world.binding("small").await).send());
    eventually(PATIENCE, async || {
        let answer = world.get(&format!("{key}/last_operation")).await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    world.kill().await;
    assert!(cut.await.unwrap().is_err(), "nobody was told that it succeeded");
    node.manner.send_replace(Manner::Works);
    world.start().await;
    assert_eq!(world.password(), password);
    assert_eq!(world.get(B).await.body, bound.body, "what was given out is known");
    let last = other.replace("?", "/last_operation?");
    eventually(PATIENCE, async || {
        let answer = world.get(&last).await;
        if answer.body["state"] == "succeeded" { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    assert_eq!(node.names().len(), 2, "asked twice, made once");
    assert_eq!(
        world.delete(&key, "small").await.status,
        200,
        "the platform removes what it did not see succeed"
    );
    assert_eq!(node.handles().bindings_list.len(), 1);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_hears_of_it_and_hears_again() {
    let world = World::make(|config| config.register_seconds = 0.2).await;
    let mut heard = world.bus.subscribe::<RegisterBroker>().await.unwrap();
    for answer in [None, Some("the catalog is bad".to_owned()), None] {
        let request = tokio::time::timeout(PATIENCE, heard.next()).await.expect("a registration").unwrap();
        let RegisterBroker { name, url, username, password } = &request.message;
        assert_eq!((name.as_str(), username.as_str(), password), ("cupola", "cupola", &world.password()));
        assert_eq!(*url, format!("http://{}", world.address));
        request.reply(&BrokerRegistered { error: answer }).await.unwrap();
    }
}

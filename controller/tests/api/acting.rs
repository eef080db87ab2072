//! Placing, crashing, and what the health manager asks for.

use crate::{
    fakes::{FakeDea, FakeStager},
    platform::{PATIENCE, Platform},
};
use cupola_protocol::{
    InstanceId, Version,
    controller::{BulkApps, BulkCredentialsRequest, DesiredState, PackageState},
    dea::{InstanceState, Limits},
    health::{StartInstance, StopInstance},
    message::Subject,
    router,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const MANIFEST: &str = "applications:\n- name: one\n  no-route: true\n  memory: 64M\n";

#[tokio::test]
async fn a_node_that_refuses_is_passed_over() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let bad = FakeDea::start(&platform.bus, "dea-bad", 4096).await;
    let good = FakeDea::start(&platform.bus, "dea-good", 4096).await;
    bad.refuse("my disk is broken");
    let app = platform.push(&MANIFEST.replace("memory", "instances: 4\n  memory"), "one").await;
    platform.until_states(&app, &["RUNNING"; 4]).await;
    assert_eq!((bad.instances().len(), good.instances().len()), (0, 4));
}

#[tokio::test]
async fn instances_are_spread_over_nodes() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let nodes = [
        FakeDea::start(&platform.bus, "dea-1", 1024).await,
        FakeDea::start(&platform.bus, "dea-2", 1024).await,
        FakeDea::start(&platform.bus, "dea-3", 1024).await,
    ];
    let app = platform.push(&MANIFEST.replace("memory", "instances: 6\n  memory"), "one").await;
    platform.until_states(&app, &["RUNNING"; 6]).await;
    assert_eq!(nodes.each_ref().map(|node| node.instances().len()), [2, 2, 2]);
}

#[tokio::test]
async fn no_room_is_told_with_what_to_do_and_room_that_comes_is_used() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 100).await;
    let app = platform.push(&MANIFEST.replace("memory", "instances: 2\n  memory"), "one").await;
    let stats = platform.until_states(&app, &["RUNNING", "DOWN"]).await;
    let details = stats["resources"][1]["details"].as_str().unwrap();
    assert!(details.contains("no node has room for 64M") && details.contains("scale down"), "{details}");
    platform.until_line(&app, "Could not start instance 1").await;
    let second = FakeDea::start(&platform.bus, "dea-2", 1000).await;
    let version = node.instances()[0].start.version.clone();
    let wish = StartInstance {
        message_id: "m".to_owned(),
        droplet: app.as_str().into(),
        version,
        instance_index: 1,
    };
    platform.bus.publish(&wish).await.unwrap();
    platform.until_states(&app, &["RUNNING", "RUNNING"]).await;
    assert_eq!(second.instances().len(), 1);
}

#[tokio::test]
async fn what_no_node_could_ever_hold_is_refused_at_once() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let _node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let app = platform.push(MANIFEST, "one").await;
    platform.until_states(&app, &["RUNNING"]).await;
    let scale = format!("/v3/processes/{app}/actions/scale");
    let detail = platform.refused(Method::POST, &scale, json!({"memory_in_mb": 2000}), 422).await;
    assert!(detail.contains("2000M of memory is more than any node has (1000M at most)"), "{detail}");
    let detail = platform.refused(Method::POST, &scale, json!({"instances": 5000}), 422).await;
    assert!(detail.contains("1000"), "{detail}");
    let path = format!("/v3/spaces/{}/actions/apply_manifest", platform.space().await);
    let request = platform.request(Method::POST, &path).body("applications:\n- name: huge\n  memory: 9G\n");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 422);
    assert!(answer.text().await.unwrap().contains("9G of memory"));
    assert_eq!(platform.rows("apps").await, 1);
}

#[tokio::test]
async fn a_crash_is_shown_with_its_reason() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let app = platform.push(MANIFEST, "one").await;
    platform.until_states(&app, &["RUNNING"]).await;
    node.crash(0).await;
    platform.until_line(&app, "Instance 0 crashed, exit status 137: out of memory").await;
    let stats = platform.until_states(&app, &["CRASHED"]).await;
    assert_eq!(stats["resources"][0]["details"], "crashed with exit status 137: out of memory");
    // The reason stays when the node forgets the instance.
    node.node.lock().unwrap().instances.clear();
    platform.until_states(&app, &["CRASHED"]).await;
}

#[tokio::test]
async fn wishes_of_the_health_manager_are_honoured_by_rule() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let app = platform.push(MANIFEST, "one").await;
    let first = node.until_indices(&[0]).await.remove(0);
    let version = first.start.version.clone();
    let start = |version: &Version, index| StartInstance {
        message_id: "m".to_owned(),
        droplet: app.as_str().into(),
        version: version.clone(),
        instance_index: index,
    };
    let stop = |version: &Version, index, instance: &InstanceId| StopInstance {
        message_id: "m".to_owned(),
        droplet: app.as_str().into(),
        version: version.clone(),
        instance_guid: instance.clone(),
        instance_index: index,
        is_duplicate: false,
    };
    // Another version, an index out of range, a wanted instance: nothing happens. The good wish behind them is
    // the proof that they were heard.
    platform.bus.publish(&start(&Version::new("other"), 0)).await.unwrap();
    platform.bus.publish(&start(&version, 7)).await.unwrap();
    platform.bus.publish(&stop(&version, 0, &first.id)).await.unwrap();
    node.node.lock().unwrap().instances.clear();
    platform.bus.publish(&start(&version, 0)).await.unwrap();
    let again = node.until_indices(&[0]).await.remove(0);
    assert_ne!(again.id, first.id);
    // An instance of an old version goes.
    let mut extra = again.clone();
    extra.id = InstanceId::new("extra");
    extra.start.index = 1;
    extra.state = InstanceState::Running;
    node.node.lock().unwrap().instances.push(extra);
    platform.bus.publish(&stop(&Version::new("old"), 1, &InstanceId::new("extra"))).await.unwrap();
    let left = node.until_indices(&[0]).await;
    assert_eq!(left[0].id, again.id);
}

#[tokio::test]
async fn the_desired_state_is_read_in_batches_with_the_credentials_from_the_bus() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let _node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let app = platform.push(MANIFEST, "one").await;
    platform.apply("applications:\n- name: two\n- name: three\n").await;
    let subject = Subject::of::<BulkCredentialsRequest>();
    let credentials = platform.bus.request(&subject, &BulkCredentialsRequest {}, PATIENCE).await.unwrap();
    let url = credentials.url.clone().unwrap();
    let mut all = Vec::new();
    let mut token = json!({});
    loop {
        let request = platform
            .client
            .get(format!("{url}/bulk/apps"))
            .basic_auth(&credentials.user, Some(&credentials.password));
        let request = request.query(&[("batch_size", "2"), ("bulk_token", &token.to_string())]);
        let page: BulkApps = request.send().await.unwrap().json().await.unwrap();
        if page.results.is_empty() {
            break;
        }
        token = page.bulk_token;
        all.extend(page.results.into_values());
    }
    assert_eq!(all.len(), 3);
    let one = all.iter().find(|one| one.id.as_str() == app).unwrap();
    assert_eq!(
        (one.state, one.package_state, one.memory.0),
        (DesiredState::Started, PackageState::Staged, 64)
    );
    let two = all.iter().find(|one| one.id.as_str() != app).unwrap();
    assert_eq!((two.state, two.package_state), (DesiredState::Stopped, PackageState::Pending));
    let wrong = platform
        .client
        .get(format!("{url}/bulk/apps"))
        .basic_auth("bulk", Some("wrong"))
        .send()
        .await
        .unwrap();
    assert_eq!(wrong.status().as_u16(), 401);
}

#[tokio::test]
async fn the_api_is_on_the_routers_until_it_goes() {
    let mut platform = Platform::with(|config| config.register_seconds = 1).await;
    let mut registered = platform.bus.subscribe::<router::Register>().await.unwrap();
    let mut unregistered = platform.bus.subscribe::<router::Unregister>().await.unwrap();
    let first = tokio::time::timeout(PATIENCE, registered.next()).await.unwrap().unwrap().message;
    assert_eq!(first.uris, ["api.apps.test", "login.apps.test", "uaa.apps.test", "log-cache.apps.test"]);
    assert_eq!(format!("http://{}:{}", first.host, first.port), platform.base);
    platform.stop().await;
    let last = tokio::time::timeout(PATIENCE, unregistered.next()).await.unwrap().unwrap().message;
    assert_eq!(last.0, first);
}

#[tokio::test]
async fn a_restart_replaces_instances_by_those_of_a_new_version() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let app = platform.push(MANIFEST, "one").await;
    let old = node.until_indices(&[0]).await.remove(0);
    platform.post(&format!("/v3/processes/{app}/actions/scale"), json!({"memory_in_mb": 96})).await;
    assert_eq!(node.instances()[0].start.limits.mem.0, 64);
    platform.post(&format!("/v3/apps/{app}/actions/restart"), Value::Null).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let instances = node.instances();
        if instances.len() == 1 && instances[0].id != old.id {
            let Limits { mem, .. } = instances[0].start.limits;
            assert_eq!(mem.0, 96);
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{instances:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

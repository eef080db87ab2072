//! Files, crashes and figures of instances, as API v2 has them.

use crate::{
    fakes::{FakeDea, FakeStager},
    platform::Platform,
};
use cupola_protocol::dea::InstanceState;
use reqwest::Method;
use serde_json::Value;

const MANIFEST: &str = "applications:\n- name: one\n  no-route: true\n  memory: 64M\n  instances: 2\n";

/// A platform with an app that runs, and its node.
async fn running() -> (Platform, FakeStager, FakeDea, String) {
    let platform = Platform::start().await;
    let stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let app = platform.push(MANIFEST, "one").await;
    platform.until_states(&app, &["RUNNING"; 2]).await;
    node.node.lock().unwrap().files.insert("logs/a.log".to_owned(), "it says".to_owned());
    (platform, stager, node, app)
}

fn id(node: &FakeDea, index: u32) -> String {
    let instances = node.instances();
    instances.iter().find(|one| one.start.index == index).expect("it is here").id.to_string()
}

#[tokio::test]
async fn a_file_is_at_its_node_or_fetched_there() {
    let (platform, _stager, node, app) = running().await;
    let second = id(&node, 1);
    let client = &platform.client;
    for which in ["1", second.as_str()] {
        let url =
            format!("{}/v2/apps/{app}/instances/{which}/files/logs/a.log?tail&tail_offset=3", platform.base);
        let answer = client.get(&url).bearer_auth(&platform.token).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 302);
        assert_eq!(
            answer.headers()["location"],
            format!(
                "http://dea-1.apps.test/instance_paths/{second}?path=logs/a.log&timestamp=1&hmac=good&tail=&tail_offset=3"
            )
        );
        assert_eq!(answer.headers()["cache-control"], "no-store");
    }
    assert!(node.node.lock().unwrap().asked.is_empty(), "the controller has fetched what it need not");

    let path = format!("/v2/apps/{app}/instances/0/files/logs/a.log?redirect=false&tail_offset=0&other=1");
    let answer = platform.request(Method::GET, &path).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "it says"));
    assert_eq!(node.node.lock().unwrap().asked, ["&tail_offset=0"]);
    for home in ["files", "files/"] {
        let path = format!("/v2/apps/{app}/instances/0/{home}?redirect=false");
        let detail = platform.refused(Method::GET, &path, Value::Null, 404).await;
        assert_eq!(detail, "there is no file or directory \"\" in the instance.");
    }
    let anonymous = client.get(format!("{}{path}", platform.base)).send().await.unwrap();
    assert_eq!(anonymous.status().as_u16(), 401);
}

#[tokio::test]
async fn files_that_cannot_be_had_are_refused_with_the_reason() {
    let (platform, _stager, node, app) = running().await;
    let refused = async |which: &str| {
        let path = format!("/v2/apps/{app}/instances/{which}/files/logs/a.log");
        platform.refused(Method::GET, &path, Value::Null, 400).await
    };
    assert_eq!(refused("2").await, "App one has 2 instances: there is no index 2, the highest is 1.");
    let detail = refused("no-such-instance").await;
    assert!(detail.contains("No node has the instance no-such-instance of app one"), "{detail}");
    let path = "/v2/apps/no-such-app/instances/0/files/x";
    platform.refused(Method::GET, path, Value::Null, 404).await;

    // The last crash at an index is as good as its instance, and worse than one that runs.
    let (first, second) = (id(&node, 0), id(&node, 1));
    node.crash(1).await;
    let location = async |which: &str| {
        let url = format!("{}/v2/apps/{app}/instances/{which}/files/x", platform.base);
        let answer = platform.client.get(url).bearer_auth(&platform.token).send().await.unwrap();
        answer.headers()["location"].to_str().unwrap().to_owned()
    };
    assert!(location("1").await.contains(&second));
    node.node.lock().unwrap().instances.iter_mut().for_each(|one| one.start.index = 0);
    assert!(location("0").await.contains(&first), "a crash before what runs");

    node.node.lock().unwrap().instances.clear();
    assert!(refused("0").await.contains("`cupola app one` tells"));
    platform.post(&format!("/v3/apps/{app}/actions/stop"), Value::Null).await;
    assert!(refused("0").await.starts_with("App one is stopped"));
}

#[tokio::test]
async fn crashes_states_and_figures_are_told() {
    let (platform, _stager, node, app) = running().await;
    let stats = platform.get(&format!("/v2/apps/{app}/stats")).await;
    assert_eq!(stats["0"]["state"], "RUNNING");
    assert_eq!(stats["1"]["stats"]["usage"]["cpu"], 0.5);
    assert_eq!(stats["1"]["stats"]["name"], "one");
    let instances = platform.get(&format!("/v2/apps/{app}/instances")).await;
    assert_eq!((&instances["0"]["state"], &instances["0"]["uptime"]), (&"RUNNING".into(), &5.into()));
    assert_eq!(platform.get(&format!("/v2/apps/{app}/crashes")).await, Value::Array(vec![]));

    let crashed = id(&node, 1);
    node.crash(1).await;
    platform.until_states(&app, &["RUNNING", "CRASHED"]).await;
    let crashes = platform.get(&format!("/v2/apps/{app}/crashes")).await;
    assert_eq!(crashes.as_array().unwrap().len(), 1, "{crashes}");
    assert_eq!(crashes[0]["instance"], crashed.as_str());
    assert_eq!((&crashes[0]["since"], &crashes[0]["index"]), (&1.0.into(), &1.into()));
    let instances = platform.get(&format!("/v2/apps/{app}/instances")).await;
    assert_eq!(instances["1"]["state"], "CRASHED");
    assert!(instances["1"]["details"].as_str().unwrap().contains("out of memory"), "{instances}");

    platform.post(&format!("/v3/apps/{app}/actions/stop"), Value::Null).await;
    for (what, words) in [("instances", "stopped state"), ("stats", "stopped app")] {
        let path = format!("/v2/apps/{app}/{what}");
        let detail = platform.refused(Method::GET, &path, Value::Null, 400).await;
        assert!(detail.contains(words), "{detail}");
    }
    let space = platform.space().await;
    let relationships = serde_json::json!({"space": {"data": {"guid": space}}});
    let body = serde_json::json!({"name": "bare", "relationships": relationships});
    let bare = platform.post("/v3/apps", body).await;
    let path = format!("/v2/apps/{}/stats", bare["guid"].as_str().unwrap());
    let detail = platform.refused(Method::GET, &path, Value::Null, 400).await;
    assert!(detail.contains("not been staged"), "{detail}");
    assert_eq!(node.instances().iter().filter(|one| one.state == InstanceState::Running).count(), 0);
}

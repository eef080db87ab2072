//! Requests that cannot be served: each is told so in the form of the API, with what to do.

use crate::platform::Platform;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn mistakes_are_told_in_the_form_of_the_api() {
    let platform = Platform::start().await;
    let p = &platform;
    p.refused(Method::GET, "/v3/nothing", Value::Null, 404).await;
    p.refused(Method::PUT, "/v3/apps", Value::Null, 404).await;
    p.refused(Method::GET, "/v3/apps/unknown", Value::Null, 404).await;
    p.refused(Method::GET, "/v3/apps?page=0", Value::Null, 400).await;
    p.refused(Method::GET, "/v3/apps?per_page=x", Value::Null, 400).await;
    p.refused(Method::GET, "/v3/apps?order_by=password", Value::Null, 400).await;
    p.refused(Method::POST, "/v3/apps", json!({"name": 3}), 422).await;
    let answer = p.request(Method::POST, "/v3/apps").body("{not json").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 400);
    assert_eq!(answer.json::<Value>().await.unwrap()["errors"][0]["code"], 1001);
    let space = json!({"space": {"data": {"guid": p.space().await}}});
    let wish = json!({"name": "one", "relationships": space});
    let app = p.post("/v3/apps", wish.clone()).await;
    assert!(p.refused(Method::POST, "/v3/apps", wish, 422).await.contains("already exists"));
    let path = format!("/v3/apps/{}", app["guid"].as_str().unwrap());
    for name in ["PORT", "VCAP_SERVICES", "VMC_X"] {
        let variables = format!("{path}/environment_variables");
        let detail = p.refused(Method::PATCH, &variables, json!({"var": {name: "x"}}), 422).await;
        assert!(detail.contains(name), "{detail}");
    }
    assert!(p.refused(Method::POST, "/v3/deployments", json!({}), 422).await.contains("not supported yet"));
    p.refused(Method::POST, &format!("{path}/actions/explode"), Value::Null, 404).await;
    let check = json!({"health_check": {"type": "http", "data": {"timeout": 999}}});
    let process = format!("/v3/processes/{}", app["guid"].as_str().unwrap());
    assert!(p.refused(Method::PATCH, &process, check, 422).await.contains("180"));
    assert_eq!(p.get("/v3/service_instances").await["resources"], json!([]));
    assert_eq!(p.get("/v3/info").await["name"], "cupola");
    assert!(p.get("/v3").await["links"]["apps"]["href"].as_str().unwrap().ends_with("/v3/apps"));
}

#[tokio::test]
async fn a_bad_manifest_changes_nothing() {
    let platform = Platform::start().await;
    let path = format!("/v3/spaces/{}/actions/apply_manifest", platform.space().await);
    for (yaml, part) in [
        ("applications:\n- name: a\n  memory: lots\n", "lots"),
        (
            "applications:\n- name: a\n  memory: 64M\n- name: b\n  routes:\n  - route: b.elsewhere.test\n",
            "apps.test",
        ),
        ("applications:\n- name: a\n  docker:\n    image: x\n", "docker"),
        ("applications:\n- name: a\n  processes:\n  - type: worker\n", "worker"),
        ("applications:\n- name: a\n  env:\n    PORT: 3\n", "PORT"),
        ("applications:\n- name: a\n- name: a\n", "twice"),
        ("applications:\n- name: a\n  routes:\n  - route: api.apps.test\n", "belongs to the platform"),
        ("applications:\n- name: a\n  buildpacks: [x, y]\n", "Several buildpacks"),
        ("applications:\n- name: a\n  disk_quota: 100G\n", "platform's limit"),
        ("nonsense", "cannot be read"),
    ] {
        let request = platform.request(Method::POST, &path).body(yaml).send().await.unwrap();
        assert_eq!(request.status().as_u16(), 422, "{yaml}");
        let answer: Value = request.json().await.unwrap();
        assert!(answer["errors"][0]["detail"].as_str().unwrap().contains(part), "{yaml}: {answer}");
    }
    assert_eq!(platform.rows("apps").await, 0);
    assert_eq!(platform.rows("routes").await, 0);
    // A second manifest changes what it names and leaves the rest.
    platform
        .apply("applications:\n- name: a\n  memory: 64M\n  instances: 2\n  command: x\n  env: {A: 1}\n")
        .await;
    platform
        .apply("applications:\n- name: a\n  disk_quota: 512M\n  env: {B: true}\n  health-check-type: http\n")
        .await;
    let app = platform.app("a").await;
    let process = platform.get(&format!("/v3/processes/{app}")).await;
    assert_eq!(
        (&process["memory_in_mb"], &process["disk_in_mb"], &process["instances"]),
        (&json!(64), &json!(512), &json!(2))
    );
    assert_eq!(process["health_check"]["data"]["endpoint"], "/");
    let variables = platform.get(&format!("/v3/apps/{app}/environment_variables")).await;
    assert_eq!(variables["var"], json!({"A": "1", "B": "true"}));
}

#[tokio::test]
async fn pages_are_cut_and_linked() {
    let platform = Platform::start().await;
    let names: Vec<String> = (0..5).map(|n| format!("- name: app{n}\n")).collect();
    platform.apply(&format!("applications:\n{}", names.concat())).await;
    let page = platform.get("/v3/apps?order_by=-name&per_page=2&page=2").await;
    let names: Vec<_> =
        page["resources"].as_array().unwrap().iter().map(|app| app["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["app2", "app1"]);
    assert_eq!(
        (&page["pagination"]["total_results"], &page["pagination"]["total_pages"]),
        (&json!(5), &json!(3))
    );
    let next = page["pagination"]["next"]["href"].as_str().unwrap();
    assert_eq!(platform.get(next).await["resources"][0]["name"], "app0");
}

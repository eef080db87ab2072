//! Quotas: the last instance that fits runs, the next is refused, and two that race do not both pass.

use crate::{
    fakes::{FakeDea, FakeStager},
    platform::{Platform, text},
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

const MANIFEST: &str = "applications:\n- name: one\n  no-route: true\n  memory: 64M\n";

/// A quota of the platform's organization, and one of its space.
async fn limit(platform: &Platform, of_space: bool, limits: Value) -> String {
    let organization = platform.named("/v3/organizations", &platform.config.organization).await;
    let (path, sides) = if of_space {
        let space = json!({"data": [{"guid": platform.space().await}]});
        ("/v3/space_quotas", json!({"organization": {"data": {"guid": organization}}, "spaces": space}))
    } else {
        ("/v3/organization_quotas", json!({"organizations": {"data": [{"guid": organization}]}}))
    };
    let mut wish = limits;
    wish["name"] = json!("tight");
    wish["relationships"] = sides;
    format!("{path}/{}", text(&platform.post(path, wish).await, "guid"))
}

async fn scale(platform: &Platform, app: &str, wish: Value) -> (u16, u64, String) {
    let path = format!("/v3/processes/{app}/actions/scale");
    let (status, answer) = platform.send(Method::POST, &path, wish).await;
    let error = &answer["errors"][0];
    let detail = error["detail"].as_str().unwrap_or_default().to_owned();
    (status.as_u16(), error["code"].as_u64().unwrap_or_default(), detail)
}

#[tokio::test]
async fn what_grows_must_fit_into_both_quotas() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let _node = FakeDea::start(&platform.bus, "dea-1", 4096).await;
    let p = &platform;
    let app = p.push(MANIFEST, "one").await;
    p.until_states(&app, &["RUNNING"]).await;
    for (of_space, codes) in [(false, [100_005, 100_007, 100_008]), (true, [310_003, 310_004, 310_008])] {
        let limits = json!({"apps": {"total_memory_in_mb": 128, "per_process_memory_in_mb": 100, "total_instances": 5}});
        let quota = limit(p, of_space, limits).await;
        assert_eq!(scale(p, &app, json!({"instances": 2})).await.0, 202);
        let (status, code, detail) = scale(p, &app, json!({"instances": 3})).await;
        assert_eq!((status, code), (400, codes[0]), "{detail}");
        assert!(detail.contains("memory limit") && detail.contains("192"), "{detail}");
        let (status, code, detail) = scale(p, &app, json!({"memory_in_mb": 101})).await;
        assert_eq!((status, code), (400, codes[1]), "{detail}");
        p.ok(Method::PATCH, &quota, json!({"apps": {"total_memory_in_mb": null}})).await;
        assert_eq!(p.get(&quota).await["apps"]["total_instances"], 5);
        let (status, code, detail) = scale(p, &app, json!({"instances": 6})).await;
        assert_eq!((status, code), (400, codes[2]), "{detail}");
        // Nothing was changed by what was refused; a lower limit stops nobody, and lets all shrink.
        assert_eq!(p.get(&format!("/v3/processes/{app}")).await["instances"], 2);
        p.ok(Method::PATCH, &quota, json!({"apps": {"total_instances": 0, "total_memory_in_mb": 0}})).await;
        p.post(&format!("/v3/apps/{app}/actions/restart"), Value::Null).await;
        assert_eq!(scale(p, &app, json!({"instances": 1})).await.0, 202);
        // What is stopped takes no room, and cannot be started without.
        p.post(&format!("/v3/apps/{app}/actions/stop"), Value::Null).await;
        assert_eq!(scale(p, &app, json!({"instances": 1, "memory_in_mb": 90})).await.0, 202);
        let start = format!("/v3/apps/{app}/actions/start");
        let detail = p.refused(Method::POST, &start, Value::Null, 400).await;
        assert!(detail.contains("memory limit"), "{detail}");
        assert_eq!(p.get(&format!("/v3/apps/{app}")).await["state"], "STOPPED");
        p.ok(Method::PATCH, &quota, json!({"apps": {"total_instances": null, "total_memory_in_mb": null}}))
            .await;
        p.post(&start, Value::Null).await;
        let wish = json!({"instances": 1, "memory_in_mb": 64});
        assert_eq!(scale(p, &app, wish).await.0, 202);
        // A manifest asks for the same.
        let path = format!("/v3/spaces/{}/actions/apply_manifest", p.space().await);
        let yaml = MANIFEST.replace("64M", "101M");
        let answer = p.request(Method::POST, &path).body(yaml).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 400);
        if of_space {
            p.delete(&quota).await;
        } else {
            assert!(p.refused(Method::DELETE, &quota, Value::Null, 422).await.contains("applied"));
            p.ok(Method::PATCH, &quota, json!({"apps": {"per_process_memory_in_mb": null}, "name": "wide"}))
                .await;
        }
    }
    let organization = p.named("/v3/organizations", &p.config.organization).await;
    for path in [format!("/v3/organizations/{organization}"), format!("/v3/spaces/{}", p.space().await)] {
        let usage = p.get(&format!("{path}/usage_summary")).await;
        let usage = &usage["usage_summary"];
        assert_eq!((&usage["started_instances"], &usage["memory_in_mb"]), (&json!(1), &json!(64)), "{usage}");
    }
}

#[tokio::test]
async fn routes_are_counted() {
    let platform = Platform::start().await;
    let p = &platform;
    let domain = text(&p.get("/v3/domains").await["resources"][0], "guid");
    let sides = json!({"space": {"data": {"guid": p.space().await}}, "domain": {"data": {"guid": domain}}});
    let route = |host: &str| json!({"host": host, "relationships": sides});
    limit(p, false, json!({"routes": {"total_routes": 3}})).await;
    p.post("/v3/routes", route("a")).await;
    let quota = limit(p, true, json!({"routes": {"total_routes": 2}})).await;
    p.post("/v3/routes", route("b")).await;
    let (_, answer) = p.send(Method::POST, "/v3/routes", route("c")).await;
    assert_eq!(answer["errors"][0]["code"], 310_005, "{answer}");
    p.delete(&quota).await;
    p.apply("applications:\n- name: x\n  routes:\n  - route: c.apps.test\n").await;
    let (_, answer) = p.send(Method::POST, "/v3/routes", route("d")).await;
    assert_eq!(answer["errors"][0]["code"], 310_006, "{answer}");
    // What is there already is told as such.
    let (_, answer) = p.send(Method::POST, "/v3/routes", route("a")).await;
    assert!(answer["errors"][0]["detail"].is_string(), "{answer}");
    assert_eq!(p.rows("routes").await, 3);
}

#[tokio::test]
async fn of_two_that_race_for_the_last_room_one_gets_it() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let _node = FakeDea::start(&platform.bus, "dea-1", 1 << 20).await;
    let p = &platform;
    let names = ["one", "two", "three", "four"];
    let mut apps = Vec::new();
    for name in names {
        apps.push(p.push(&MANIFEST.replace("one", name), name).await);
    }
    // Four instances of 64 MiB run, and there is room for one more.
    limit(p, false, json!({"apps": {"total_memory_in_mb": 320}})).await;
    for _ in 0..5 {
        let all = join_all(apps.iter().map(|app| scale(p, app, json!({"instances": 2})))).await;
        let passed = all.iter().filter(|(status, ..)| *status == 202).count();
        let refused = all.iter().filter(|(status, code, _)| (*status, *code) == (400, 100_005)).count();
        assert_eq!((passed, refused), (1, names.len() - 1), "{all:?}");
        for app in &apps {
            assert_eq!(scale(p, app, json!({"instances": 1})).await.0, 202);
        }
    }
}

#[tokio::test]
async fn limits_that_nothing_enforces_and_names_that_are_taken_are_refused() {
    let platform = Platform::start().await;
    let p = &platform;
    let path = "/v3/organization_quotas";
    for (wish, part) in [
        (json!({"name": "x", "apps": {"per_app_tasks": 3}}), "per_app_tasks"),
        (json!({"name": "x", "routes": {"total_reserved_ports": 3}}), "total_reserved_ports"),
        (json!({"name": "default"}), "already exists"),
        (json!({}), "Name must be"),
        (json!({"name": "x", "apps": {"total_memory_in_mb": -1}}), "invalid value"),
        (json!({"name": "x", "relationships": {"organizations": {"data": [{"guid": "y"}]}}}), "do not exist"),
    ] {
        let detail = p.refused(Method::POST, path, wish, 422).await;
        assert!(detail.contains(part), "{detail}");
    }
    assert_eq!(p.rows("organization_quotas").await, 1);
    let default = p.named(path, "default").await;
    assert!(p.get(&format!("{path}/{default}")).await["apps"]["total_memory_in_mb"].is_null());
    let organization = p.named("/v3/organizations", &p.config.organization).await;
    let organization = p.get(&format!("/v3/organizations/{organization}")).await;
    assert_eq!(organization["relationships"]["quota"]["data"]["guid"], default.as_str());
    p.refused(Method::DELETE, &format!("{path}/{default}"), Value::Null, 422).await;
    // A quota of another organization's spaces is none for this space.
    let other = text(&p.post("/v3/organizations", json!({"name": "other"})).await, "guid");
    let sides = json!({"organization": {"data": {"guid": other}}});
    let quota = text(&p.post("/v3/space_quotas", json!({"name": "q", "relationships": sides})).await, "guid");
    let apply = format!("/v3/space_quotas/{quota}/relationships/spaces");
    p.refused(Method::POST, &apply, json!({"data": [{"guid": p.space().await}]}), 422).await;
}

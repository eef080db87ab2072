//! The whole way of an app, as the `cf` CLI walks it.

use crate::{
    fakes::{FakeDea, FakeStager},
    platform::{Platform, zip},
};
use cupola_protocol::router::KnownRoutes;
use reqwest::Method;
use serde_json::{Value, json};

/// The requests of `cf push`, `cf app`, `cf scale`, `cf restart` and `cf delete` in the order in which cf 8.0.0
/// sends them (recorded), each answered as it needs.
#[tokio::test]
async fn the_recorded_order_of_cf_push_works() {
    let platform = Platform::start().await;
    let stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1024).await;
    let p = &platform;

    let root = p.get("/").await;
    assert_eq!(root["links"]["login"]["href"], p.base);
    assert!(root["links"]["cloud_controller_v3"]["meta"]["version"].as_str().unwrap().starts_with("3."));
    let organization = p.get("/v3/organizations?names=cupola").await;
    let organization = organization["resources"][0]["guid"].as_str().unwrap();
    let spaces = p.get(&format!("/v3/spaces?names=dev&organization_guids={organization}")).await;
    assert_eq!(spaces["pagination"]["total_results"], 1);
    let space = spaces["resources"][0]["guid"].as_str().unwrap().to_owned();

    p.apply("applications:\n- name: myapp\n  path: /home/dev/app\n  default-route: true\n  memory: 128M\n")
        .await;
    let apps = p.get(&format!("/v3/apps?names=myapp&space_guids={space}")).await;
    let app = apps["resources"][0]["guid"].as_str().unwrap().to_owned();
    let file = json!({"path": "Procfile", "mode": "644", "size_in_bytes": 17,
        "checksum": {"value": "b3d7f7eeb9c0371bf6b9ae25e40b75eda84a6c17"}});
    let matched = p.post("/v3/resource_matches", json!({"resources": [file]})).await;
    assert_eq!(matched, json!({"resources": []}));
    let (package, status, answer) = p.upload(&app, zip(&[("Procfile", b"web: ./run")]), json!([])).await;
    assert!(status.is_success(), "{answer}");
    assert_eq!(p.get(&format!("/v3/packages/{package}")).await["state"], "READY");
    let build = p.post("/v3/builds", json!({"package": {"guid": package}})).await;
    assert_eq!(build["state"], "STAGING");
    assert_eq!(p.get("/api/v1/info").await["version"], "2.11.0");
    p.get(&format!("/api/v1/read/{app}?descending=true&limit=1&start_time=-6795364578871345152")).await;
    let path = format!("/v3/builds/{}", build["guid"].as_str().unwrap());
    let build = p.until(&path, |build| build["state"] != "STAGING").await;
    assert_eq!((&build["state"], &build["error"]), (&json!("STAGED"), &Value::Null));
    let droplet = build["droplet"]["guid"].as_str().unwrap();
    assert_eq!(p.get(&format!("/v3/droplets/{droplet}")).await["state"], "STAGED");
    let current = format!("/v3/apps/{app}/relationships/current_droplet");
    p.ok(Method::PATCH, &current, json!({"data": {"guid": droplet}})).await;
    p.post(&format!("/v3/apps/{app}/actions/restart"), Value::Null).await;
    let processes = p.get(&format!("/v3/apps/{app}/processes")).await;
    let process = processes["resources"][0]["guid"].as_str().unwrap().to_owned();
    let stats = p.until_states(&process, &["RUNNING"]).await;
    assert_eq!(stats["resources"][0]["instance_ports"][0]["external"], 61_001);
    assert_eq!(stats["resources"][0]["mem_quota"], 128 << 20);
    assert_eq!(p.get(&format!("/v3/processes/{process}")).await["command"], "./run");
    assert_eq!(p.get(&format!("/v3/processes/{process}/sidecars")).await["resources"], json!([]));
    let routes = p.get(&format!("/v3/apps/{app}/routes")).await;
    assert_eq!(routes["resources"][0]["url"], "myapp.apps.test");
    let current = p.get(&format!("/v3/apps/{app}/droplets/current")).await;
    assert_eq!(current["buildpacks"][0]["detect_output"], "a procfile");
    p.get(&format!("/v3/deployments?app_guids={app}&status_values=ACTIVE&per_page=1")).await;

    // What the stager and the node were told.
    let staging = stager.seen.lock().unwrap()[0].clone();
    assert_eq!((staging.memory_limit.0, staging.disk_limit.0), (1024, 4096));
    let start = node.until_indices(&[0]).await.remove(0).start;
    assert_eq!(start.uris, ["myapp.apps.test"]);
    assert_eq!((start.limits.mem.0, start.name.as_str()), (128, "myapp"));
    let application = Value::Object(start.vcap_application);
    for (key, value) in
        [("application_name", json!("myapp")), ("space_name", json!("dev")), ("users", Value::Null)]
    {
        assert_eq!(application[key], value, "{application}");
    }
    assert_eq!(application["limits"]["mem"], 128);
    p.until_line(&app, "compiling").await;
    p.until_line(&app, "Starting app myapp").await;

    // cf scale -i 3, cf scale -i 1
    let scale = format!("/v3/apps/{app}/processes/web/actions/scale");
    p.post(&scale, json!({"instances": 3})).await;
    p.until_states(&app, &["RUNNING", "RUNNING", "RUNNING"]).await;
    p.post(&scale, json!({"instances": 1})).await;
    node.until_indices(&[0]).await;
    p.until_states(&app, &["RUNNING"]).await;

    // cf set-env, cf env
    let variables = format!("/v3/apps/{app}/environment_variables");
    p.ok(Method::PATCH, &variables, json!({"var": {"A": "b"}})).await;
    let env = p.get(&format!("/v3/apps/{app}/env")).await;
    assert_eq!(env["environment_variables"], json!({"A": "b"}));
    assert_eq!(env["application_env_json"]["VCAP_APPLICATION"]["name"], "myapp");

    // cf restart
    p.get(&format!("/v3/packages?app_guids={app}&order_by=-created_at&per_page=1")).await;
    let droplets = p.get(&format!("/v3/packages/{package}/droplets?per_page=1&states=STAGED")).await;
    assert_eq!(droplets["resources"][0]["guid"], droplet);
    let before = node.instances()[0].start.version.clone();
    p.post(&format!("/v3/apps/{app}/actions/stop"), Value::Null).await;
    node.until_indices(&[]).await;
    p.until_states(&app, &["DOWN"]).await;
    p.post(&format!("/v3/apps/{app}/actions/start"), Value::Null).await;
    let again = node.until_indices(&[0]).await.remove(0).start;
    assert_ne!(again.version, before);
    assert!(again.env.contains(&"A=b".to_owned()), "{:?}", again.env);

    // cf delete -f -r
    let route = routes["resources"][0]["guid"].as_str().unwrap();
    p.delete(&format!("/v3/apps/{app}")).await;
    p.delete(&format!("/v3/routes/{route}")).await;
    node.until_indices(&[]).await;
    assert_eq!(p.blobs(), Vec::<std::path::PathBuf>::new());
    for table in
        ["apps", "packages", "package_files", "builds", "droplets", "routes", "destinations", "crashes"]
    {
        assert_eq!(p.rows(table).await, 0, "{table}");
    }
    p.refused(Method::GET, &format!("/v3/apps/{app}"), Value::Null, 404).await;
}

#[tokio::test]
async fn two_apps_of_the_same_bytes_share_a_droplet_until_the_last_goes() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let _node = FakeDea::start(&platform.bus, "dea-1", 1024).await;
    let one = platform.push("applications:\n- name: one\n  no-route: true\n", "one").await;
    let two = platform.push("applications:\n- name: two\n  no-route: true\n", "two").await;
    let droplets =
        || platform.blobs().iter().filter(|path| path.parent().unwrap().ends_with("droplets")).count();
    assert_eq!(droplets(), 1);
    platform.delete(&format!("/v3/apps/{one}")).await;
    assert_eq!(droplets(), 1);
    platform.delete(&format!("/v3/apps/{two}")).await;
    assert_eq!(platform.blobs(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn a_pushed_app_keeps_few_packages_and_droplets() {
    let platform = Platform::with(|config| {
        config.packages_kept = 2;
        config.droplets_kept = 1;
    })
    .await;
    let _stager = FakeStager::start(&platform.bus).await;
    let _node = FakeDea::start(&platform.bus, "dea-1", 1024).await;
    let manifest = "applications:\n- name: one\n  no-route: true\n";
    let app = platform.push(manifest, "one").await;
    for round in 0..4u8 {
        let (package, ..) =
            platform.upload(&app, zip(&[("Procfile", b"web: x"), ("n", &[round])]), json!([])).await;
        assert_eq!(platform.stage(&package).await["state"], "STAGED");
    }
    platform
        .until(&format!("/v3/apps/{app}/packages"), |page| page["pagination"]["total_results"] == 2)
        .await;
    // The current one, and one more.
    platform
        .until(&format!("/v3/apps/{app}/droplets"), |page| page["pagination"]["total_results"] == 2)
        .await;
    platform.until(&format!("/v3/apps/{app}/builds"), |page| page["pagination"]["total_results"] == 2).await;
    let blobs = platform.blobs();
    let files = blobs.iter().filter(|path| path.is_file()).count();
    assert_eq!(files, 2 + 2 + 1, "packages, droplets and a cache: {blobs:?}");
}

#[tokio::test]
async fn routes_are_mapped_and_everybody_is_told() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1024).await;
    let mut known = platform.bus.subscribe::<KnownRoutes>().await.unwrap();
    let app = platform.push("applications:\n- name: one\n  default-route: true\n", "one").await;
    node.until_indices(&[0]).await;
    let domains = platform.get("/v3/domains?names=apps.test").await;
    let domain = domains["resources"][0]["guid"].as_str().unwrap();
    let side = |guid: &str| json!({"data": {"guid": guid}});
    let wish = json!({"host": "other", "path": "/x",
        "relationships": {"space": side(&platform.space().await), "domain": side(domain)}});
    let route = platform.post("/v3/routes", wish.clone()).await;
    assert_eq!(route["url"], "other.apps.test/x");
    assert!(platform.refused(Method::POST, "/v3/routes", wish, 422).await.contains("already exists"));
    let path = format!("/v3/routes/{}", route["guid"].as_str().unwrap());
    let added = platform
        .post(&format!("{path}/destinations"), json!({"destinations": [{"app": {"guid": app}}]}))
        .await;
    let destination = added["destinations"][0]["guid"].as_str().unwrap();
    let found = platform.get(&format!("/v3/routes?domain_guids={domain}&hosts=other&paths=%2Fx")).await;
    assert_eq!(found["pagination"]["total_results"], 1);
    let found = platform.get(&format!("/v3/routes?domain_guids={domain}&hosts=other&paths=")).await;
    assert_eq!(found["pagination"]["total_results"], 0);
    let told = async |wanted: &[&str]| {
        let deadline = std::time::Instant::now() + crate::platform::PATIENCE;
        loop {
            let update = node.node.lock().unwrap().updates.last().cloned();
            if update.as_ref().is_some_and(|update| update.uris == wanted) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "the node was told {update:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    told(&["one.apps.test", "other.apps.test/x"]).await;
    loop {
        let all =
            tokio::time::timeout(crate::platform::PATIENCE, known.next()).await.unwrap().unwrap().message;
        if all.uris.iter().any(|uri| uri == "other.apps.test/x") {
            assert!(all.uris.contains(&"api.apps.test".to_owned()), "{all:?}");
            break;
        }
    }
    let answer =
        platform.request(Method::DELETE, &format!("{path}/destinations/{destination}")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 204);
    told(&["one.apps.test"]).await;
}

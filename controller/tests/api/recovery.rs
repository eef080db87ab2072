//! What a death leaves, and what the loss of the database does.

use crate::{
    fakes::{FakeDea, FakeStager},
    platform::{PATIENCE, Platform, zip},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::fs;
use testkit::eventually;

#[tokio::test]
async fn a_start_takes_up_builds_that_were_at_work_and_removes_what_nothing_names() {
    let mut platform = Platform::start().await;
    let stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let app = platform.push("applications:\n- name: one\n  no-route: true\n", "one").await;
    node.until_indices(&[0]).await;
    platform.apply("applications:\n- name: two\n  no-route: true\n").await;
    let two = platform.app("two").await;
    let (package, ..) = platform.upload(&two, zip(&[("Procfile", b"hang once")]), json!([])).await;
    let build = platform.post("/v3/builds", json!({"package": {"guid": package}})).await;
    let again = json!({"package": {"guid": package}});
    assert!(platform.refused(Method::POST, "/v3/builds", again, 422).await.contains("staged already"));
    eventually(PATIENCE, async || stager.starts(2)).await;
    let blobs = platform.config.data_dir.join("blobs");
    for orphan in ["droplets/0123", "packages/none", "caches/none", "resources/ab/abcd", "other/x"] {
        let path = blobs.join(orphan);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "left behind").unwrap();
    }
    let half = platform.config.data_dir.join("incoming/half");
    fs::write(&half, "half an upload").unwrap();
    platform.die_and_return().await;
    let path = format!("/v3/builds/{}", build["guid"].as_str().unwrap());
    let build = platform.until(&path, |build| build["state"] != "STAGING").await;
    assert_eq!(build["state"], "STAGED", "{build}");
    eventually(PATIENCE, async || stager.starts(3)).await;
    assert!(!half.exists());
    let left: Vec<_> = platform.blobs().into_iter().filter(|path| path.is_file()).collect();
    // A package, a droplet and a cache of each app.
    assert_eq!(left.len(), 6, "{left:?}");
    // Instances were not touched, and are seen again.
    assert_eq!(node.instances().len(), 1);
    platform.until_states(&app, &["RUNNING"]).await;
}

#[tokio::test]
async fn a_build_that_ends_its_controllers_fails_and_leaves_nothing() {
    let mut platform = Platform::start().await;
    let stager = FakeStager::start(&platform.bus).await;
    platform.apply("applications:\n- name: one\n  no-route: true\n").await;
    let app = platform.app("one").await;
    let (package, ..) = platform.upload(&app, zip(&[("Procfile", b"hang")]), json!([])).await;
    let build = platform.post("/v3/builds", json!({"package": {"guid": package}})).await;
    for starts in 1..=3 {
        eventually(PATIENCE, async || stager.starts(starts)).await;
        platform.die_and_return().await;
    }
    let path = format!("/v3/builds/{}", build["guid"].as_str().unwrap());
    let build = platform.until(&path, |build| build["state"] != "STAGING").await;
    assert_eq!(build["state"], "FAILED");
    assert!(build["error"].as_str().unwrap().contains("push it again"), "{build}");
    let left: Vec<_> = platform.blobs().into_iter().filter(|path| path.is_file()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_lost_database_is_a_503_and_stops_nothing() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let app = platform.push("applications:\n- name: one\n  no-route: true\n", "one").await;
    let one = node.until_indices(&[0]).await.remove(0);
    // As if the tables were gone: every read of an app fails.
    let mut database = platform.database().await;
    sqlx::query("ALTER TABLE apps RENAME TO lost").execute(&mut database).await.unwrap();
    let detail = platform.refused(Method::GET, &format!("/v3/apps/{app}"), Value::Null, 503).await;
    assert!(detail.contains("database") && detail.contains("later"), "{detail}");
    let stop = cupola_protocol::health::StopInstance {
        message_id: "m".to_owned(),
        droplet: app.as_str().into(),
        version: "other".into(),
        instance_guid: one.id.clone(),
        instance_index: 0,
        is_duplicate: true,
    };
    platform.bus.publish(&stop).await.unwrap();
    platform.refused(Method::GET, &format!("/v3/apps/{app}"), Value::Null, 503).await;
    assert_eq!(node.instances().len(), 1);
    sqlx::query("ALTER TABLE lost RENAME TO apps").execute(&mut database).await.unwrap();
    platform.get(&format!("/v3/apps/{app}")).await;
    let health = platform.client.get(format!("{}/healthz", platform.base)).send().await.unwrap();
    assert_eq!(health.status().as_u16(), 200);
}

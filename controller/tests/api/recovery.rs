//! What a death leaves, and what the loss of the database does.

use crate::{
    fakes::{FakeDea, FakeStager},
    platform::{Platform, zip},
};
use reqwest::Method;
use serde_json::{Value, json};
use std::fs;

#[tokio::test]
async fn a_start_fails_builds_that_were_at_work_and_removes_what_nothing_names() {
    let mut platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let app = platform.push("applications:\n- name: one\n  no-route: true\n", "one").await;
    node.until_indices(&[0]).await;
    let (package, ..) = platform.upload(&app, zip(&[("Procfile", b"hang")]), json!([])).await;
    let build = platform.post("/v3/builds", json!({"package": {"guid": package}})).await;
    let again = json!({"package": {"guid": package}});
    assert!(platform.refused(Method::POST, "/v3/builds", again, 422).await.contains("staged already"));
    let blobs = platform.config.data_dir.join("blobs");
    for orphan in ["droplets/0123", "packages/none", "caches/none", "resources/ab/abcd", "other/x"] {
        let path = blobs.join(orphan);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "left behind").unwrap();
    }
    let half = platform.config.data_dir.join("incoming/half");
    fs::write(&half, "half an upload").unwrap();
    platform.die_and_return().await;
    let build = platform.get(&format!("/v3/builds/{}", build["guid"].as_str().unwrap())).await;
    assert_eq!(build["state"], "FAILED");
    assert!(build["error"].as_str().unwrap().contains("restarted"), "{build}");
    assert!(!half.exists());
    let left: Vec<_> = platform.blobs().into_iter().filter(|path| path.is_file()).collect();
    // Two packages, one droplet, one cache: those of the app.
    assert_eq!(left.len(), 4, "{left:?}");
    // Instances were not touched, and are seen again.
    assert_eq!(node.instances().len(), 1);
    platform.until_states(&app, &["RUNNING"]).await;
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

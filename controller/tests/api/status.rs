//! What the controller counts, read from its status page, which is found by `vcap.component.discover`.

use crate::{
    fakes::{FakeDea, FakeStager},
    platform::{PATIENCE, Platform},
};
use cupola_protocol::{
    Subject,
    component::{Announce, Discover},
};
use cupola_status::Snapshot;
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

impl Platform {
    /// A page of the controller's status page.
    async fn page(&self, path: &str) -> String {
        let subject = Subject::of::<Discover>();
        let announce: Announce = self.bus.request(&subject, &Discover {}, PATIENCE).await.unwrap();
        assert_eq!(announce.kind, "CloudController");
        let [user, password] = announce.credentials.as_slice() else { panic!("no credentials") };
        let url = format!("http://{}{path}", announce.host);
        let answer = self.client.get(url).basic_auth(user, Some(password)).send().await.unwrap();
        answer.text().await.unwrap()
    }

    async fn figures(&self) -> Snapshot {
        Snapshot::parse(&self.page("/metrics").await)
    }

    /// Waits until a figure is as wanted.
    async fn figure(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.figures().await.value(name, labels);
            if now == Some(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{name}{labels:?} is {now:?} and not {wanted}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn requests_builds_apps_and_nodes_are_counted() {
    let platform = Platform::start().await;
    let _stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1024).await;
    assert_eq!(platform.page("/healthz").await, "ok\n");
    platform.figure("cupola_controller_database_up", &[], 1.0).await;
    platform.figure("cupola_controller_apps", &[], 0.0).await;
    platform.figure("cupola_controller_users", &[], 1.0).await;

    let app = platform.push("applications:\n- name: one\n  instances: 2\n  memory: 64M\n", "one").await;
    node.until_indices(&[0, 1]).await;
    platform.figure("cupola_controller_builds_total", &[("result", "staged")], 1.0).await;
    platform.figure("cupola_controller_staging_seconds_count", &[], 1.0).await;
    platform.figure("cupola_controller_apps", &[], 1.0).await;
    platform.figure("cupola_controller_started_apps", &[], 1.0).await;
    platform.figure("cupola_controller_desired_instances", &[], 2.0).await;
    node.advertise().await;
    platform.figure("cupola_controller_nodes", &[], 1.0).await;

    let requests = "cupola_controller_requests_total";
    let before = platform.figures().await.value(requests, &[("class", "4xx")]).unwrap();
    platform.refused(Method::GET, "/v3/apps/none", Value::Null, 404).await;
    platform.figure(requests, &[("class", "4xx")], before + 1.0).await;
    assert!(platform.figures().await.value(requests, &[("class", "2xx")]) > Some(5.0));

    node.crash(1).await;
    platform.figure("cupola_controller_crashes_total", &[], 1.0).await;
    platform.post(&format!("/v3/apps/{app}/actions/stop"), Value::Null).await;
    platform.figure("cupola_controller_desired_instances", &[], 0.0).await;
    platform.figure("cupola_controller_started_apps", &[], 0.0).await;
}

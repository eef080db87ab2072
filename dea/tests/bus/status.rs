//! What the agent counts, read from its status page, which is found by `vcap.component.discover`.

use crate::world::World;
use cupola_protocol::{
    Mebibytes, Subject,
    component::{Announce, Discover},
    dea::InstanceState,
};
use cupola_status::Snapshot;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(20);

impl World {
    /// A page of the agent's status page.
    async fn page(&self, path: &str) -> String {
        let subject = Subject::of::<Discover>();
        let announce: Announce = self.bus.request(&subject, &Discover {}, PATIENCE).await.unwrap();
        assert_eq!(announce.kind, "DEA");
        assert_eq!(announce.uuid, format!("0-{}", self.id()));
        let [user, password] = announce.credentials.as_slice() else { panic!("no credentials") };
        let url = format!("http://{}{path}", announce.host);
        let answer = reqwest::Client::new().get(url).basic_auth(user, Some(password)).send().await.unwrap();
        answer.text().await.unwrap()
    }

    /// Waits until a figure is as wanted.
    async fn until(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Snapshot::parse(&self.page("/metrics").await).value(name, labels);
            if now == Some(wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{name}{labels:?} is {now:?} and not {wanted}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_resources_and_troubles_are_counted() {
    let mut world = World::new().await;
    assert_eq!(world.page("/healthz").await, "ok\n");
    let instance = world.run(&world.message("hello")).await;
    world.until("cupola_dea_instances", &[("state", "running")], 1.0).await;
    world.until("cupola_dea_starts_total", &[], 1.0).await;
    world.until("cupola_dea_start_seconds_count", &[], 1.0).await;
    world.until("cupola_dea_droplet_downloads_total", &[("result", "ok")], 1.0).await;
    world.until("cupola_dea_memory_total_bytes", &[], f64::from(256 << 20)).await;
    world.until("cupola_dea_memory_reserved_bytes", &[], f64::from(64 << 20)).await;
    world.until("cupola_dea_memory_used_bytes", &[], f64::from(5 << 20)).await;
    world.until("cupola_dea_containers", &[], 1.0).await;

    let mut large = world.message("large");
    large.limits.mem = Mebibytes(512);
    assert!(world.ask(&large).await.error.is_some());
    world.until("cupola_dea_start_refusals_total", &[], 1.0).await;

    world.warden.exit(&world.handle(&instance), 3);
    world.wait_for_state(&instance, InstanceState::Crashed).await;
    world.until("cupola_dea_crashes_total", &[], 1.0).await;
    world.until("cupola_dea_instances", &[("state", "crashed")], 1.0).await;
    world.until("cupola_dea_memory_reserved_bytes", &[], 0.0).await;

    world.warden.go_away();
    world.until("cupola_dea_warden_up", &[], 0.0).await;
    world.until("cupola_dea_healthy", &[], 0.0).await;
    let health = world.page("/healthz").await;
    assert!(health.contains("the warden"), "{health}");
    let errors = Snapshot::parse(&world.page("/metrics").await).value("cupola_dea_warden_errors_total", &[]);
    assert!(errors > Some(0.0), "{errors:?}");
    world.warden.come_back();
    world.until("cupola_dea_healthy", &[], 1.0).await;
}

//! The health manager on a real bus, with a controller that gives out a desired state over HTTP.

#[path = "bus/lease.rs"]
mod lease;
#[path = "bus/world.rs"]
mod world;

use cupola_protocol::{
    AppId, Subject, Version,
    dea::{InstanceState, default_partition},
    droplet::Updated,
    health::{AppState, AppStateRequest},
};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use world::{PATIENCE, World, beat, crashed};

#[tokio::test(flavor = "multi_thread")]
async fn missing_instances_are_started_and_a_crash_at_once() {
    let mut world = World::new().await;
    world.desire("app", 1);
    world.desire("other", 1);
    world.beat(&[beat("other", "o", 0, InstanceState::Running)]).await;
    let start = world.next_start().await;
    assert_eq!((start.droplet.as_str(), start.instance_index), ("app", 0));
    let both = [beat("other", "o", 0, InstanceState::Running), beat("app", "i", 0, InstanceState::Running)];
    world.beat(&both).await;
    // Heartbeats and crashes come by two subscriptions: the crash is told when the instance is known.
    world.state_until("app", |state| state.instance_heartbeats.len() == 1).await;

    world.bus.publish(&crashed("app", "i")).await.unwrap();
    let start = world.next_start().await;
    assert_eq!(start.droplet.as_str(), "app");
    world
        .state_until("app", |state| state.crash_counts.first().is_some_and(|crash| crash.crash_count == 1))
        .await;

    world.managers.pop().expect("there is one").end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_gone_is_stopped_as_soon_as_that_is_known() {
    let mut world = World::new().await;
    world.desire("stays", 1);
    world.desire("goes", 1);
    let all = [beat("stays", "s", 0, InstanceState::Running), beat("goes", "g", 0, InstanceState::Running)];
    world.beat(&all).await;
    sleep(Duration::from_millis(700)).await;
    world.forget("goes");
    let updated = Updated { droplet: AppId::new("goes"), cc_partition: default_partition() };
    world.bus.publish(&updated).await.unwrap();
    let stop = timeout(PATIENCE, world.stops.next()).await.expect("nothing is stopped").unwrap().message;
    assert_eq!((stop.instance_guid.as_str(), stop.is_duplicate), ("g", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_agent_nothing_is_done() {
    let mut world = World::new().await;
    world.desire("app", 1);
    let nothing = timeout(Duration::from_secs(2), world.starts.next()).await;
    assert!(nothing.is_err(), "started {:?}", nothing.unwrap().unwrap().message);
    let asked = AppStateRequest { droplet: AppId::new("app"), version: Version::new("v1") };
    let state: AppState =
        world.bus.request(&Subject::of::<AppStateRequest>(), &asked, PATIENCE).await.unwrap();
    assert_eq!(state, AppState::default());
}

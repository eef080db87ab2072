//! Several health managers: one acts, and another takes over.

use crate::world::{PATIENCE, World, beat, config, connect};
use cupola_protocol::dea::InstanceState::Running;
use health_manager::Error;
use std::time::Duration;
use testkit::{NatsServer, eventually};
use tokio::time::timeout;

/// Two health managers that share a lease; the first acts.
async fn two() -> World {
    let mut world = World::without_managers().await;
    world.manage(true).await;
    eventually(PATIENCE, async || world.managers[0].acts().await.then_some(()).ok_or("it does not act"))
        .await;
    world.manage(true).await;
    assert!(!world.managers[1].acts().await);
    world
}

/// Waits for a start of `app`. Whatever else is asked for meanwhile fails the test.
async fn started(world: &mut World, app: &str) {
    let start = world.next_start().await;
    assert_eq!(start.droplet.as_str(), app);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_one_asks_and_the_other_takes_over_when_it_ends() {
    let mut world = two().await;
    world.desire("first", 1);
    world.beat(&[beat("other", "o", 0, Running)]).await;
    started(&mut world, "first").await;
    // Both see the same; one asked. The wish of a second would be there by now.
    world.state_until("other", |state| state.instance_heartbeats.len() == 1).await;
    let more = timeout(Duration::from_millis(500), world.starts.next()).await;
    assert!(more.is_err(), "both have asked");

    world.managers.remove(0).end().await;
    world.beat(&[beat("first", "i", 0, Running)]).await;
    world.desire("second", 1);
    started(&mut world, "second").await;
    assert!(world.managers[0].acts().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_is_replaced_and_its_wishes_are_not_repeated_at_once() {
    let mut world = two().await;
    world.desire("first", 1);
    world.beat(&[]).await;
    started(&mut world, "first").await;
    world.managers.remove(0).kill().await;
    // The agent has started it.
    world.beat(&[beat("first", "i", 0, Running)]).await;
    world.desire("second", 1);
    started(&mut world, "second").await;
    assert!(world.managers[0].acts().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_jetstream_it_does_not_start_unless_it_is_told_that_it_is_alone() {
    let nats = NatsServer::start_without_jetstream();
    match health_manager::bind(config(true), connect(&nats).await).await {
        Err(error @ Error::NoJetStream) => {
            let words = error.to_string();
            assert!(words.contains("health_manager.lease = false"), "{words}");
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it would act, or never act"),
    }
    health_manager::bind(config(false), connect(&nats).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_cannot_be_kept_is_told_and_nobody_acts() {
    let world = World::without_managers().await;
    // One server cannot keep three replicas.
    let config = health_manager::Config { lease_replicas: 3, ..config(true) };
    let server = health_manager::bind(config, connect(&world.nats).await).await.unwrap();
    let address = server.status_addr();
    let running = tokio::spawn(server.run(tokio_util::sync::CancellationToken::new()));
    eventually(PATIENCE, async || {
        let said = reqwest::get(format!("http://{address}/healthz")).await.unwrap().text().await.unwrap();
        if said.contains("3 replicas") { Ok(()) } else { Err(said) }
    })
    .await;
    running.abort();
}

//! The agent on a real bus, with a warden that keeps its containers in memory.

#[path = "bus/fake_warden.rs"]
mod fake_warden;
#[path = "bus/status.rs"]
mod status;
#[path = "bus/world.rs"]
mod world;

use cupola_protocol::{
    Bytes, Mebibytes, Subject, Version,
    dea::{DeaStatus, FindDroplet, InstanceState, StatusRequest, Stop, Update},
    droplet::ExitReason,
};
use dea::OnShutdown;
use std::time::Duration;
use world::{World, last_beat};

fn stop(app: &str) -> Stop {
    Stop { droplet: app.into(), version: None, instances: None, indices: None, states: None }
}

fn find(app: &str) -> FindDroplet {
    FindDroplet {
        droplet: app.into(),
        version: None,
        instances: None,
        indices: None,
        states: None,
        include_stats: true,
        path: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_starts_runs_and_crashes() {
    let world = World::new().await;
    let mut message = world.message("hello");
    message.env = vec!["GREETING=it's \"me\"; $(id)".to_owned(), "PORT=1".to_owned()];
    let instance = world.run(&message).await;
    let handle = world.handle(&instance);
    world.wait("a route", |heard| !heard.registers.is_empty()).await;
    let route = world.heard(|heard| heard.registers[0].clone());
    assert_eq!(
        (route.host.as_str(), route.uris.as_slice()),
        ("127.0.0.1", &["hello.example".to_owned()][..])
    );
    assert_eq!(route.private_instance_id.as_ref(), Some(&instance));
    let (env, memory) = world.warden.look(&handle, |container| (container.env.clone(), container.memory));
    assert!(env.contains(&"GREETING=it's \"me\"; $(id)".to_owned()));
    assert!(env.contains(&format!("PORT={}", route.port)) && !env.contains(&"PORT=1".to_owned()));
    assert!(env.contains(&"CUPOLA_START_COMMAND=from the droplet".to_owned()));
    assert_eq!(memory, 64 << 20);

    world.warden.write(&handle, "stdout", "one\ntwo");
    world.warden.write(&handle, "stderr", "oops\n");
    world.warden.write(&handle, "stdout", " halves\n");
    world.wait("the lines", |heard| heard.lines.iter().any(|line| line == "two halves")).await;
    world.heard(|heard| assert!(heard.lines.contains(&"oops".to_owned())));

    let found = world.bus.request_replies(&Subject::of::<FindDroplet>(), &find("hello")).await.unwrap();
    let found = found.collect(Duration::from_secs(5), |found| !found.is_empty()).await;
    let stats = found[0].stats.clone().expect("no figures");
    assert_eq!((stats.usage.mem, stats.mem_quota, stats.port), (Bytes(5 << 20), Bytes(64 << 20), route.port));

    world.warden.exit(&handle, 3);
    world.wait_for_state(&instance, InstanceState::Crashed).await;
    world.wait("the exit", |heard| !heard.exits.is_empty()).await;
    world.heard(|heard| {
        assert_eq!(heard.exits[0].reason, ExitReason::Crashed);
        assert_eq!(heard.exits[0].exit_status, 3);
        assert_eq!(heard.exits[0].exit_description, "app instance exited with status 3");
        assert_eq!(heard.unregisters.len(), 1);
    });
    world.wait_until("the container is destroyed", || world.warden.handles().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_with_the_reason_and_nothing_else_happens() {
    let world = World::new().await;
    let mut large = world.message("large");
    large.limits.mem = Mebibytes(512);
    let reply = world.ask(&large).await;
    assert_eq!(reply.instance, None);
    let error = reply.error.unwrap();
    assert_eq!(error, "not enough memory on this node: 512M wanted, 256M of 256M left");
    let mut other = world.message("other");
    other.stack = "nowhere".to_owned();
    let error = world.ask(&other).await.error.unwrap();
    assert!(error.contains("cupola stack build"), "{error}");

    // Room is reserved from the answer on.
    for index in 0..4 {
        let mut message = world.message("many");
        message.index = index;
        assert!(world.ask(&message).await.instance.is_some());
    }
    assert!(world.ask(&world.message("many")).await.error.is_some());
    let status: DeaStatus = world
        .bus
        .request(&Subject::of::<StatusRequest>(), &StatusRequest {}, Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!((status.max_memory, status.reserved_memory), (Mebibytes(256), Mebibytes(256)));
    world.heard(|heard| assert!(heard.exits.is_empty(), "{:?}", heard.exits));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_takes_the_matching_instances_only() {
    let world = World::new().await;
    let stays = world.run(&world.message("stays")).await;
    let mut second = world.message("goes");
    second.index = 1;
    let first = world.run(&world.message("goes")).await;
    let second = world.run(&second).await;
    world.bus.publish(&Stop { indices: Some(vec![1]), ..stop("goes") }).await.unwrap();
    world
        .wait("the second has stopped", |heard| heard.exits.iter().any(|exit| exit.instance == second))
        .await;
    world.heard(|heard| assert_eq!(heard.exits[0].reason, ExitReason::Stopped));
    world.wait_until("two are left", || world.warden.handles().len() == 2).await;
    world.bus.publish(&stop("goes")).await.unwrap();
    world.wait("the first has stopped", |heard| heard.exits.iter().any(|exit| exit.instance == first)).await;
    world.wait_until("one is left", || world.warden.handles() == [world.handle(&stays)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_and_version_change_while_it_runs() {
    let world = World::new().await;
    let instance = world.run(&world.message("hello")).await;
    let uris = vec!["new.example".to_owned()];
    let update = Update { droplet: "hello".into(), uris: uris.clone(), version: Some(Version::new("v2")) };
    world.bus.publish(&update).await.unwrap();
    world.wait("the new route", |heard| heard.registers.iter().any(|route| route.uris == uris)).await;
    world.heard(|heard| assert_eq!(heard.unregisters[0].0.uris, ["hello.example"]));
    world
        .wait("the version", |heard| {
            last_beat(heard, &instance).is_some_and(|beat| beat.version == Version::new("v2"))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_never_listens_crashes_with_advice() {
    let world = World::new().await;
    let mut message = world.message("deaf");
    message.env = vec!["DEAF=1".to_owned()];
    message.health_check_timeout = Some(1);
    world.ask(&message).await.instance.unwrap();
    world.wait("the exit", |heard| !heard.exits.is_empty()).await;
    world.heard(|heard| {
        let why = &heard.exits[0].exit_description;
        assert!(why.starts_with("failed to accept connections within health check timeout"), "{why}");
        assert!(why.contains("PORT"), "{why}");
        assert!(heard.registers.is_empty());
    });
    world.wait_until("the container is destroyed", || world.warden.handles().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_takes_its_instances_up_again() {
    let mut world = World::new().await;
    let instance = world.run(&world.message("hello")).await;
    let handle = world.handle(&instance);
    world.warden.write(&handle, "stdout", "before\n");
    world.wait("before", |heard| heard.lines.contains(&"before".to_owned())).await;
    let journal = world.config.data_dir.join("dea/instances.json");
    world
        .wait_until("the offset is noted", || {
            std::fs::read_to_string(&journal).unwrap().contains("\"offset\":7")
        })
        .await;
    world.kill_agent().await;
    let prefix = handle.strip_suffix(instance.as_str()).unwrap().to_owned();
    world.warden.add_stray(&format!("{prefix}stray"));
    world.warden.add_stray("somebody-else");
    world.warden.write(&handle, "stdout", "meanwhile\n");
    world.heard(|heard| {
        heard.heartbeats.clear();
        heard.registers.clear();
    });

    world.start_agent().await;
    world.wait_for_state(&instance, InstanceState::Running).await;
    world.wait("its route", |heard| !heard.registers.is_empty()).await;
    world.wait("meanwhile", |heard| heard.lines.contains(&"meanwhile".to_owned())).await;
    world.heard(|heard| {
        assert!(heard.exits.is_empty(), "{:?}", heard.exits);
        assert_eq!(heard.lines.iter().filter(|line| *line == "before").count(), 1, "{:?}", heard.lines);
    });
    world
        .wait_until("the stray container is gone", || {
            world.warden.handles() == [handle.clone(), "somebody-else".to_owned()]
        })
        .await;
    world.warden.exit(&handle, 1);
    world.wait_for_state(&instance, InstanceState::Crashed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_starting_when_the_agent_was_killed_has_crashed() {
    let mut world = World::new().await;
    let mut message = world.message("slow");
    message.env = vec!["DEAF=1".to_owned()];
    let instance = world.ask(&message).await.instance.unwrap();
    world.wait_until("its container", || !world.warden.handles().is_empty()).await;
    world.wait_for_state(&instance, InstanceState::Starting).await;
    world.kill_agent().await;
    world.start_agent().await;
    world.wait("the exit", |heard| !heard.exits.is_empty()).await;
    world.wait_for_state(&instance, InstanceState::Crashed).await;
    world.wait_until("the container is destroyed", || world.warden.handles().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warden_that_is_away_is_waited_for() {
    let mut world = World::new().await;
    let instance = world.run(&world.message("hello")).await;
    let handle = world.handle(&instance);
    world.warden.write(&handle, "stdout", "before\n");
    world.wait("before", |heard| heard.lines.contains(&"before".to_owned())).await;
    world.warden.go_away();
    world.warden.write(&handle, "stdout", "after\n");
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.warden.come_back();
    world.wait("after", |heard| heard.lines.contains(&"after".to_owned())).await;
    world.heard(|heard| {
        assert_eq!(heard.lines.iter().filter(|line| *line == "before").count(), 1);
        assert!(heard.exits.is_empty(), "{:?}", heard.exits);
        assert_eq!(last_beat(heard, &instance).unwrap().state, InstanceState::Running);
    });
    world.bus.publish(&stop("hello")).await.unwrap();
    world.wait_until("the container is destroyed", || world.warden.handles().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_stops_its_instances_or_keeps_them() {
    let mut world = World::new().await;
    world.config.on_shutdown = OnShutdown::Keep;
    world.end_agent().await;
    world.start_agent().await;
    let instance = world.run(&world.message("hello")).await;
    world.end_agent().await;
    world.wait("the goodbyes", |heard| heard.shutdowns.len() == 2).await;
    world.heard(|heard| assert!(heard.exits.is_empty()));
    assert_eq!(world.warden.handles().len(), 1);

    world.config.on_shutdown = OnShutdown::Stop;
    world.heard(|heard| heard.heartbeats.clear());
    world.start_agent().await;
    world.wait_for_state(&instance, InstanceState::Running).await;
    world.end_agent().await;
    assert!(world.warden.handles().is_empty());
    world.wait("the exit", |heard| !heard.exits.is_empty()).await;
    world.heard(|heard| assert_eq!(heard.exits[0].reason, ExitReason::DeaShutdown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_lines_is_cut_and_counted() {
    let world = World::new().await;
    let instance = world.run(&world.message("loud")).await;
    let handle = world.handle(&instance);
    let lines = 20_000u64;
    let flood: String = (0..lines).map(|nth| format!("line {nth}\n")).collect();
    world.warden.write(&handle, "stdout", &flood);
    let dropped = |heard: &world::Heard| {
        heard
            .lines
            .iter()
            .filter_map(|line| {
                line.strip_suffix(" lines were dropped: an instance may log 500 lines per second")
            })
            .map(|count| count.parse::<u64>().unwrap())
            .sum::<u64>()
    };
    let passed =
        |heard: &world::Heard| heard.lines.iter().filter(|line| line.starts_with("line ")).count() as u64;
    world.wait("every line is passed or counted", |heard| dropped(heard) + passed(heard) == lines).await;
    world.heard(|heard| assert!(dropped(heard) > lines / 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_away_disturbs_no_instance_and_then_hears_everything() {
    let mut world = World::new().await;
    let stays = world.run(&world.message("stays")).await;
    let ends = world.run(&world.message("ends")).await;
    world.kill_bus();
    world.warden.write(&world.handle(&stays), "stdout", "meanwhile\n");
    world.warden.exit(&world.handle(&ends), 5);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.heard(|heard| {
        heard.heartbeats.clear();
        heard.registers.clear();
    });
    world.restart_bus();
    world.wait_for_state(&stays, InstanceState::Running).await;
    world
        .wait("its route", |heard| {
            heard.registers.iter().any(|route| route.private_instance_id.as_ref() == Some(&stays))
        })
        .await;
    // What was published while nobody could hear may be lost: this listener comes back later than the agent. What is
    // true is told again, and what happens from now on is heard.
    world.wait_for_state(&ends, InstanceState::Crashed).await;
    world
        .wait("the crash in a heartbeat", |heard| {
            let beats = heard.heartbeats.iter().flat_map(|beat| &beat.droplets);
            beats.into_iter().any(|beat| beat.instance == ends && beat.state == InstanceState::Crashed)
        })
        .await;
    world.warden.write(&world.handle(&stays), "stdout", "afterwards\n");
    world.wait("what it says now", |heard| heard.lines.contains(&"afterwards".to_owned())).await;
    world.heard(|heard| assert!(heard.exits.len() <= 1, "told twice: {:?}", heard.exits));
}

//! The agent on a real warden, a real nats-server and a real stack: needs root and the programs that `make build`
//! makes.

mod files;
mod scene;

use cupola_protocol::{
    Bytes, Mebibytes, Subject,
    dea::{FindDroplet, InstanceState, Stop},
    droplet::ExitReason,
};
use scene::{Scene, get, poke};
use std::time::Duration;

fn stop() -> Stop {
    Stop { droplet: "app".into(), version: None, instances: None, indices: None, states: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_runs_with_its_environment_its_logs_and_its_figures_and_stops() {
    let scene = Scene::set(0).await;
    let (instance, url) =
        scene.run(&scene.message(64, &["QUOTED=a 'b' \"c\" $(id)", "VCAP_SERVICES=x"])).await;
    assert_eq!(get(&url, "/").await, "hello");
    assert_eq!(get(&url, "/env/QUOTED").await, "a 'b' \"c\" $(id)");
    assert_eq!(get(&url, "/env/VCAP_SERVICES").await, "{}");
    assert_eq!(get(&url, "/env/MEMORY_LIMIT").await, "64m");
    assert_eq!(get(&url, "/env/HOME").await, "/home/vcap/app");
    assert_eq!(get(&url, "/env/FROM_PROFILE").await, "yes");
    assert_eq!(get(&url, "/env/CUPOLA_START_COMMAND").await, "unset");
    get(&url, "/say/something").await;
    scene.wait_for_line("something").await;
    scene.wait_for_line("error: something").await;

    let find = FindDroplet {
        droplet: "app".into(),
        version: None,
        instances: None,
        indices: None,
        states: None,
        include_stats: true,
        path: None,
    };
    let found = scene.bus.request_replies(&Subject::of::<FindDroplet>(), &find).await.unwrap();
    let found = found.collect(Duration::from_secs(5), |found| !found.is_empty()).await;
    let stats = found[0].stats.clone().expect("no figures");
    assert!(stats.usage.mem > Bytes(1 << 20) && stats.usage.mem < Bytes(64 << 20), "{stats:?}");
    assert!(stats.usage.disk > Bytes(0), "{stats:?}");

    scene.bus.publish(&stop()).await.unwrap();
    assert_eq!(scene.wait_for_exit(&instance).await.reason, ExitReason::Stopped);
    scene.heard(|heard| {
        assert!(heard.lines.contains(&"bye".to_owned()), "not told to end: {:?}", heard.lines)
    });
    scene.nothing_is_left().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_told_with_their_reason() {
    let scene = Scene::set(0).await;
    let (instance, url) = scene.run(&scene.message(64, &[])).await;
    poke(&url, "/exit/3").await;
    let exit = scene.wait_for_exit(&instance).await;
    assert_eq!((exit.reason, exit.exit_status), (ExitReason::Crashed, 3), "{exit:?}");

    let (instance, url) = scene.run(&scene.message(64, &[])).await;
    poke(&url, "/kill").await;
    assert_eq!(scene.wait_for_exit(&instance).await.exit_status, 255);

    let (instance, url) = scene.run(&scene.message(64, &[])).await;
    poke(&url, "/eat/200").await;
    let exit = scene.wait_for_exit(&instance).await;
    assert_eq!(exit.exit_description, "out of memory: limit 64M; raise it with cupola scale -m");

    let (instance, url) = scene.run(&scene.message(64, &[])).await;
    assert_eq!(get(&url, "/fill/400").await, "No space left on device");
    poke(&url, "/exit/1").await;
    let exit = scene.wait_for_exit(&instance).await;
    assert!(exit.exit_description.contains("disk is full"), "{exit:?}");
    scene.nothing_is_left().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_app_may_have_a_large_droplet() {
    let scene = Scene::set(100 << 20).await;
    let (_, url) = scene.run(&scene.message(48, &[])).await;
    assert_eq!(get(&url, "/").await, "hello");
    let mut cramped = scene.message(48, &[]);
    cramped.index = 1;
    cramped.limits.disk = Mebibytes(32);
    let instance = scene.ask(&cramped).await.instance.unwrap();
    let exit = scene.wait_for_exit(&instance).await;
    assert!(exit.exit_description.contains("cupola scale -k"), "{exit:?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_warden_disturbs_nobody() {
    let mut scene = Scene::set(0).await;
    let (instance, url) = scene.run(&scene.message(64, &[])).await;
    scene.kill_warden();
    assert_eq!(get(&url, "/").await, "hello");
    get(&url, "/say/meanwhile").await;
    scene.restart_warden().await;
    scene.wait_for_line("meanwhile").await;
    get(&url, "/say/afterwards").await;
    scene.wait_for_line("afterwards").await;
    scene.heard(|heard| {
        assert!(heard.exits.is_empty(), "{:?}", heard.exits);
        for line in ["meanwhile", "afterwards"] {
            assert_eq!(heard.lines.iter().filter(|heard| *heard == line).count(), 1);
        }
    });
    scene.bus.publish(&stop()).await.unwrap();
    scene.wait_for_exit(&instance).await;
    scene.nothing_is_left().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_takes_its_instances_up_again() {
    let mut scene = Scene::set(0).await;
    let (instance, url) = scene.run(&scene.message(64, &[])).await;
    scene.kill_agent().await;
    get(&url, "/say/meanwhile").await;
    scene.heard(|heard| {
        heard.heartbeats.clear();
        heard.registers.clear();
    });
    scene.start_agent().await;
    scene.wait_for_state(&instance, InstanceState::Running).await;
    assert_eq!(scene.route(&instance).await, url);
    scene.wait_for_line("meanwhile").await;
    poke(&url, "/exit/4").await;
    assert_eq!(scene.wait_for_exit(&instance).await.exit_status, 4);
    scene.nothing_is_left().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_disturbs_nobody() {
    let scene = Scene::set(0).await;
    let (_, url) = scene.run(&scene.message(64, &[])).await;
    get(&url, "/flood/200000").await;
    assert_eq!(get(&url, "/").await, "hello");
    scene.wait("the count", |heard| heard.lines.iter().any(|line| line.contains("lines were dropped"))).await;
    get(&url, "/say/after").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    get(&url, "/say/later").await;
    scene.wait_for_line("later").await;
    scene.end().await;
}

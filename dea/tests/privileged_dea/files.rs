//! The files of instances in real containers.

use crate::scene::{Scene, get, poke};
use cupola_protocol::{InstanceId, dea::InstanceState};
use futures::StreamExt;
use std::fs;

async fn is(scene: &Scene, instance: &InstanceId, path: &str, status: u16, part: &str) {
    let (found, text) = scene.read(instance, path).await;
    assert!(found == status && text.contains(part), "{path}: {found} {text:?}, not {status} {part:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_inside_of_the_container_and_nowhere_else() {
    let scene = Scene::set(3 << 20).await;
    let (instance, url) = scene.run(&scene.message(64, &[])).await;
    get(&url, "/log/one").await;
    get(&url, "/say/hello").await;
    scene.wait_for_line("hello").await;

    let (status, home) = scene.read(&instance, "").await;
    assert_eq!(status, 200);
    for line in ["app/", "logs/", "profile.d/", "tmp/"] {
        assert!(home.lines().any(|found| found == format!("{line:<35} {:>10}", "-")), "{home}");
    }
    let (_, logs) = scene.read(&instance, "logs").await;
    assert!(logs.contains(&format!("{:<35} {:>10}\n", "own.log", "4B")), "{logs}");
    assert!(logs.contains("stdout.log") && logs.contains("stderr.log"), "{logs}");
    is(&scene, &instance, "logs/own.log", 200, "one\n").await;
    is(&scene, &instance, "/logs/../logs/own.log", 200, "one\n").await;
    is(&scene, &instance, "logs/stdout.log", 200, "hello\n").await;
    is(&scene, &instance, "logs/stderr.log", 200, "error: hello\n").await;
    is(&scene, &instance, "app/$(id)", 404, "no file").await;
    is(&scene, &instance, "app/-n", 404, "no file").await;
    is(&scene, &instance, "../../etc/passwd", 403, "leads out").await;
    // A device, and what the app's user may not read.
    is(&scene, &instance, "app/root/dev/null", 400, "neither").await;
    is(&scene, &instance, "app/root/root", 403, "may not read").await;

    // Links are followed where the app would follow them.
    let (status, passwd) = scene.read(&instance, "app/passwd").await;
    assert_eq!(status, 200);
    assert!(passwd.contains("\nvcap:"), "not the container's: {passwd}");
    assert_ne!(passwd, fs::read_to_string("/etc/passwd").unwrap());
    is(&scene, &instance, "app/root/etc/passwd", 200, "\nvcap:").await;
    is(&scene, &instance, "app/secret", 404, "no file").await;

    // In several pieces, and in parts.
    let whole = scene.open(&instance, "app/ballast", "", None).await;
    assert_eq!(whole.headers()["content-length"], (3 << 20).to_string());
    let whole = whole.bytes().await.unwrap();
    assert_eq!(whole.len(), 3 << 20);
    let part = scene.open(&instance, "app/ballast", "", Some("bytes=1000000-2500000")).await;
    assert_eq!(part.status().as_u16(), 206);
    assert_eq!(part.bytes().await.unwrap(), whole[1_000_000..=2_500_000]);
    let end = scene.open(&instance, "logs/own.log", "", Some("bytes=-3")).await;
    assert_eq!(end.text().await.unwrap(), "ne\n");

    let mut growth = scene.open(&instance, "logs/own.log", "&tail", None).await.bytes_stream();
    get(&url, "/log/two").await;
    assert_eq!(growth.next().await.unwrap().unwrap(), "two\n");
    // Reading has left nothing behind in the container.
    drop(growth);
    assert_eq!(get(&url, "/").await, "hello");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_of_a_crash_are_kept() {
    let mut scene = Scene::set(0).await;
    let (instance, url) = scene.run(&scene.message(64, &[])).await;
    get(&url, "/log/own").await;
    get(&url, "/say/before").await;
    scene.wait_for_line("error: before").await;
    poke(&url, "/exit/3").await;
    scene.wait_for_exit(&instance).await;
    scene.nothing_is_left().await;
    let kept = async |scene: &Scene| {
        is(scene, &instance, "logs/own.log", 200, "own\n").await;
        is(scene, &instance, "logs/stdout.log", 200, "before\n").await;
        is(scene, &instance, "logs/stderr.log", 200, "error: before\n").await;
        is(scene, &instance, "app/app.py", 404, "no file").await;
    };
    kept(&scene).await;
    scene.kill_agent().await;
    scene.start_agent().await;
    kept(&scene).await;

    // One that runs out of memory is stopped by warden at once: its last words are kept, its files are not.
    let (instance, url) = scene.run(&scene.message(64, &[])).await;
    get(&url, "/say/greedy").await;
    scene.wait_for_line("error: greedy").await;
    poke(&url, "/eat/200").await;
    scene.wait_for_exit(&instance).await;
    scene.wait_for_state(&instance, InstanceState::Crashed).await;
    scene.nothing_is_left().await;
    is(&scene, &instance, "logs/stdout.log", 200, "greedy\n").await;

    scene.kill_agent().await;
    scene.config.crash_lifetime_seconds = 0.1;
    scene.config.clean_seconds = 0.05;
    scene.start_agent().await;
    let crashes = scene.config.data_dir.join("dea/crashes");
    scene.wait("they are forgotten", |_| fs::read_dir(&crashes).unwrap().next().is_none()).await;
    scene.end().await;
}

//! The stager on a real warden, a real nats-server and real stacks: needs root, the network for PyPI and npm, and the
//! programs that `make build` makes.

mod controller;
mod scene;

use controller::Package;
use cupola_protocol::{Mebibytes, staging::Stop};
use scene::{Scene, start};
use std::time::{Duration, Instant};

/// Long enough for an install from PyPI or npm on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn the_four_kinds_of_app_become_droplets() {
    let scene = Scene::set("bookworm").await;
    let kinds = [
        ("static", "staticfile", "bash nginx/start", "./app/public/index.html"),
        ("flask", "python", "python3 app.py", "./app/.python/flask/app.py"),
        ("express", "nodejs", "npm start", "./app/node_modules/express/index.js"),
        ("binary", "binary", "./serve", "./app/serve"),
    ];
    for (fixture, buildpack, command, file) in kinds {
        let package = scene.controller.offer(&Package::of_fixture(fixture));
        let mut digests = Vec::new();
        for round in 1..=2 {
            let began = Instant::now();
            let (first, last) = scene.stage(&start(&package, "bookworm"), PATIENCE).await;
            println!("{fixture}, round {round}: {:.1} s", began.elapsed().as_secs_f64());
            assert_eq!(last.error, None, "{fixture}: {:?}\n{}", last.error_info, scene.log());
            assert!(!first.expect("two answers").done);
            assert_eq!(last.buildpack_key.as_deref(), Some(buildpack), "{fixture}");
            assert_eq!(last.detected_start_command.as_deref(), Some(command), "{fixture}");
            let droplet = scene.controller.take_droplet();
            assert_eq!(last.droplet_sha256.as_deref(), Some(droplet.claimed_sha256.as_str()));
            assert_eq!(droplet.sha256(), droplet.claimed_sha256);
            let files = droplet.files();
            for expected in
                ["./app/", "./deps/", "./profile.d/", "./logs/", "./tmp/", "./staging_info.yml", file]
            {
                assert!(
                    files.iter().any(|name| name == expected),
                    "{fixture}: {expected} is missing: {files:?}"
                );
            }
            let info: serde_json::Value =
                serde_json::from_slice(&droplet.read("./staging_info.yml")).unwrap();
            assert_eq!(info["start_command"], command);
            digests.push(droplet.claimed_sha256);
            // The buildpack's own words reach the developer, and the end of it.
            scene.shows("-----> ").await;
            scene.shows("Staging complete").await;
            scene.nothing_is_left().await;
        }
        assert_eq!(digests[0], digests[1], "{fixture}: the same package gives the same droplet");
    }
    let kept = scene.controller.cache_bytes();
    assert!(kept > 1000, "the cache of npm or pip was kept: {kept} bytes");
    scene.end().await;
}

/// A package that is refused, and how.
struct Refused {
    case: &'static str,
    package: Package,
    kind: &'static str,
    phase: &'static str,
    words: &'static [&'static str],
}

fn refused(
    case: &'static str,
    package: Package,
    kind: &'static str,
    phase: &'static str,
    words: &'static [&'static str],
) -> Refused {
    Refused { case, package, kind, phase, words }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_and_leaves_nothing() {
    let scene = Scene::set("minimal").await;
    let cases = [
        refused(
            "nothing to detect",
            Package::of(&[("readme", "x")]),
            "NoAppDetectedError",
            "detect",
            &["nodejs, python", "-b"],
        ),
        refused("escape", Package::of(&[("../evil", "x")]), "AppBitsInvalid", "unpack", &["leads out"]),
        refused("empty", Package::of(&[]), "AppBitsInvalid", "unpack", &["no file"]),
        refused("no zip", Package::raw(b"not a zip"), "AppBitsInvalid", "unpack", &["not a zip"]),
        refused(
            "a stack without node",
            Package::of(&[("package.json", "{}")]),
            "BuildpackCompileFailed",
            "compile",
            &["nodejs", "exit status 1"],
        ),
        refused(
            "no command",
            Package::of(&[("Procfile", "# nothing\n")]),
            "StartCommandMissing",
            "release",
            &["web: <command>", "-c"],
        ),
        refused("gone", Package::raw(b""), "StagingError", "download", &["push again"]),
    ];
    for Refused { case, package, kind, phase, words } in cases {
        let url = if case == "gone" {
            scene.controller.url("/packages/none")
        } else {
            scene.controller.offer(&package)
        };
        let (_, last) = scene.stage(&start(&url, "minimal"), PATIENCE).await;
        let info = last.error_info.unwrap_or_else(|| panic!("{case}: it succeeded"));
        assert_eq!(
            (info.kind.as_str(), info.phase.as_deref()),
            (kind, Some(phase)),
            "{case}: {}",
            info.message
        );
        for word in words {
            assert!(info.message.contains(word), "{case}: {word:?} is not in {:?}", info.message);
        }
        if kind == "BuildpackCompileFailed" {
            assert_eq!(info.exit_status, Some(1));
            assert!(info.last_lines.iter().any(|line| line.contains("no node")), "{:?}", info.last_lines);
        }
        scene.nothing_is_left().await;
    }

    let mut request = start(&scene.controller.offer(&Package::of(&[("Procfile", "web: x\n")])), "none-such");
    let (first, last) = scene.stage(&request, PATIENCE).await;
    assert!(first.is_none());
    assert_eq!(last.error_info.unwrap().kind, "StackNotFound");
    request.stack = "minimal".into();
    request.memory_limit = Mebibytes(1 << 30);
    let (_, last) = scene.stage(&request, PATIENCE).await;
    assert_eq!(last.error_info.unwrap().kind, "InsufficientResources");
    request.memory_limit = Mebibytes(64);
    request.properties.buildpack = Some("https://example.test/buildpack.git".into());
    let (_, last) = scene.stage(&request, PATIENCE).await;
    assert!(last.error.unwrap().contains("not supported yet"));
    scene.nothing_is_left().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_memory_and_disk_end_a_staging_with_the_remedy() {
    let scene = Scene::with_buildpacks(
        "minimal",
        &[
            ("slow", "sleep 1000"),
            ("hungry", "echo eating; python3 -c 'x = bytearray(3 << 30); print(len(x))'"),
            ("big", "dd if=/dev/zero of=/home/vcap/app/big bs=1M count=6000"),
        ],
    )
    .await;
    let package = scene.controller.offer(&Package::of(&[("Procfile", "web: x\n")]));
    let cases: [(&str, Option<u64>, &str, &[&str]); 3] = [
        ("slow", Some(3), "StagingTimeExpired", &["3 s", "compile", "max_duration_seconds"]),
        ("hungry", None, "StagingOutOfMemory", &["1G", "-m", "staging_memory_mb"]),
        ("big", None, "StagingOutOfDisk", &["-k", "staging_disk_mb"]),
    ];
    for (buildpack, timeout, kind, words) in cases {
        let mut request = start(&package, "minimal");
        request.properties.buildpack = Some(buildpack.into());
        request.timeout = timeout;
        let (_, last) = scene.stage(&request, PATIENCE).await;
        let info = last.error_info.unwrap_or_else(|| panic!("{buildpack}: it succeeded"));
        assert_eq!((info.kind.as_str(), info.phase.as_deref()), (kind, Some("compile")), "{}", info.message);
        for word in words {
            assert!(info.message.contains(word), "{buildpack}: {word:?} is not in {:?}", info.message);
        }
        scene.nothing_is_left().await;
    }

    // A stop ends it as well.
    let mut request = start(&package, "minimal");
    request.properties.buildpack = Some("slow".into());
    let mut replies = scene.ask(&request).await;
    assert!(!replies.next(tokio::time::Instant::now() + PATIENCE).await.unwrap().done);
    scene.bus.publish(&Stop { app_id: request.app_id.clone() }).await.unwrap();
    let last = replies.next(tokio::time::Instant::now() + PATIENCE).await.unwrap();
    assert_eq!(last.error.as_deref(), Some("Error staging: task stopped"));
    scene.nothing_is_left().await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stager_destroys_what_a_killed_one_has_left() {
    let mut scene = Scene::with_buildpacks("minimal", &[("slow", "sleep 1000")]).await;
    let mut request = start(&scene.controller.offer(&Package::of(&[("Procfile", "web: x\n")])), "minimal");
    request.properties.buildpack = Some("slow".into());
    let mut replies = scene.ask(&request).await;
    assert!(!replies.next(tokio::time::Instant::now() + PATIENCE).await.unwrap().done);
    assert_eq!(scene.warden.list().await.unwrap().len(), 1);
    scene.kill_and_restart_stager().await;
    scene.nothing_is_left().await;
    scene.end().await;
}

//! Real apps on a real platform: what a developer sees, from push to delete.

use anyhow::{Context, ensure};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use testkit::{Platform, inventory};

const CUPOLA: &str = env!("CARGO_BIN_EXE_cupola");

fn fixture(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apps").join(name);
    assert!(path.is_dir(), "{} is missing", path.display());
    path.display().to_string()
}

/// The environment that every app gets, as the dynamic fixtures show it at `/env`.
#[track_caller]
fn check_environment(platform: &Platform, app: &str, memory: &str) {
    let env = platform.get_json(app, "/env");
    let vcap = &env["VCAP_APPLICATION"];
    assert_eq!(vcap["application_name"], app);
    assert_eq!(vcap["instance_index"], 0);
    assert_eq!(vcap["space_name"], "dev");
    assert_eq!(vcap["uris"][0], platform.host(app));
    assert_eq!(env["MEMORY_LIMIT"], memory);
    let port = env["PORT"].as_str().expect("PORT is text").parse::<u16>().expect("PORT is a port");
    assert_eq!(vcap["port"], port);
}

/// Lines that an app wrote reach `logs --recent`, each from its own output.
#[track_caller]
fn check_logs(platform: &Platform, app: &str) {
    platform.get(app, "/");
    let _ = platform.try_get(app, "/err");
    platform.eventually(Duration::from_secs(10), || {
        let logs = platform.cupola(&["logs", app, "--recent"]).ok().out;
        ensure!(
            logs.lines().any(|l| l.contains("APP/PROC/WEB/0") && l.contains(" OUT ")),
            "no output:\n{logs}"
        );
        ensure!(
            logs.lines().any(|l| l.contains("APP/PROC/WEB/0") && l.contains(" ERR ")),
            "no errors:\n{logs}"
        );
        Ok(())
    });
}

#[test]
fn a_static_site_is_served() {
    let platform = Platform::start(CUPOLA);
    let said = platform.cupola(&["push", "site", "-p", &fixture("static"), "-m", "64M"]).ok();
    assert!(said.out.contains(&platform.host("site")), "the summary names the address:\n{}", said.out);
    platform.answers("site", "/", "static");
    let (status, _) = platform.try_get("site", "/no-such-page").expect("the router answers");
    assert_eq!(status, 404);
}

#[test]
fn a_python_app_with_dependencies_runs() {
    let platform = Platform::start(CUPOLA);
    platform.cupola(&["push", "flask", "-p", &fixture("flask"), "-m", "128M"]).ok();
    platform.answers("flask", "/", "Flask");
    check_environment(&platform, "flask", "128m");
    check_logs(&platform, "flask");
}

#[test]
fn a_node_app_with_dependencies_runs() {
    let platform = Platform::start(CUPOLA);
    platform.cupola(&["push", "express", "-p", &fixture("express"), "-m", "256M"]).ok();
    platform.answers("express", "/", "Express");
    check_environment(&platform, "express", "256m");
    check_logs(&platform, "express");
}

#[test]
fn the_whole_life_of_an_app_leaves_nothing() {
    let platform = Platform::start(CUPOLA);
    platform.warm_up(&fixture("binary"));
    let before = platform.settled_inventory();
    let app = "binary";
    platform
        .cupola(&["push", app, "-p", &fixture("binary"), "-m", "64M", "--env", "GREETING=hello world"])
        .ok();
    platform.answers(app, "/", "binary");
    check_environment(&platform, app, "64m");
    check_logs(&platform, app);

    // Three instances answer, each with its index.
    platform.cupola(&["scale", app, "-i", "3"]).ok();
    let mut seen = BTreeSet::new();
    platform.eventually(Duration::from_secs(30), || {
        let env = platform.get_json(app, "/env");
        seen.insert(env["VCAP_APPLICATION"]["instance_index"].as_u64().context("an index")?);
        ensure!(seen == BTreeSet::from([0, 1, 2]), "seen so far: {seen:?}");
        Ok(())
    });
    platform.cupola(&["scale", app, "-i", "1"]).ok();
    platform.eventually(Duration::from_secs(30), || {
        let shown = platform.cupola(&["app", app]).ok().out;
        ensure!(shown.contains("1/1"), "{shown}");
        Ok(())
    });

    // A process that is killed comes back, and the developer is told.
    let old = platform.get_json(app, "/env")["VCAP_APPLICATION"]["instance_id"].clone();
    let _ = platform.try_get(app, "/exit");
    platform.eventually(Duration::from_secs(30), || {
        let (status, body) = platform.try_get(app, "/env")?;
        ensure!(status == 200, "{status}");
        let env: serde_json::Value = serde_json::from_str(&body)?;
        ensure!(env["VCAP_APPLICATION"]["instance_id"] != old, "still the old instance");
        Ok(())
    });
    let logs = platform.cupola(&["logs", app, "--recent"]).ok().out;
    assert!(
        logs.to_lowercase().contains("exited") || logs.to_lowercase().contains("crash"),
        "no reason is told:\n{logs}"
    );

    platform.cupola(&["stop", app]).ok();
    platform.eventually(Duration::from_secs(20), || {
        let (status, body) = platform.try_get(app, "/")?;
        ensure!(status == 503, "a stopped app is known, and nobody serves it: {status} {body}");
        Ok(())
    });
    platform.cupola(&["start", app]).ok();
    platform.answers(app, "/", "binary");
    platform.cupola(&["set-env", app, "GREETING", "changed"]).ok();
    platform.cupola(&["restage", app]).ok();
    platform.answers(app, "/", "binary");
    assert!(platform.cupola(&["env", app]).ok().out.contains("changed"));

    platform.cupola(&["delete", app, "-f", "-r"]).ok();
    platform.eventually(Duration::from_secs(20), || {
        let (status, _) = platform.try_get(app, "/")?;
        ensure!(status == 404, "{status}");
        Ok(())
    });
    before.assert_no_difference();
}

#[test]
fn apps_outlive_a_killed_warden() {
    let platform = Platform::start(CUPOLA);
    for app in ["one", "two", "three"] {
        platform.cupola(&["push", app, "-p", &fixture("binary"), "-m", "64M"]).ok();
    }
    let ids: Vec<_> = ["one", "two", "three"]
        .map(|app| platform.get_json(app, "/env")["VCAP_APPLICATION"]["instance_id"].clone())
        .to_vec();
    let warden = platform.pid_of("warden").expect("warden runs");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(warden), nix::sys::signal::Signal::SIGKILL)
        .expect("warden is killed");
    for app in ["one", "two", "three"] {
        platform.answers(app, "/", "binary");
    }
    platform.eventually(Duration::from_secs(20), || {
        ensure!(platform.pid_of("warden")? != warden, "the old one still stands in the record");
        Ok(())
    });
    for (app, id) in ["one", "two", "three"].into_iter().zip(&ids) {
        assert_eq!(
            &platform.get_json(app, "/env")["VCAP_APPLICATION"]["instance_id"],
            id,
            "{app} was restarted"
        );
        platform.eventually(Duration::from_secs(20), || {
            let shown = platform.cupola(&["app", app]).ok().out;
            ensure!(shown.contains("running"), "{shown}");
            Ok(())
        });
    }
    // Logs go on.
    platform.get("one", "/after-the-kill");
    platform.eventually(Duration::from_secs(20), || {
        let logs = platform.cupola(&["logs", "one", "--recent"]).ok().out;
        ensure!(logs.lines().any(|l| l.contains("APP/PROC/WEB") && l.contains("after-the-kill")), "{logs}");
        Ok(())
    });
    // So does stopping.
    for app in ["one", "two", "three"] {
        platform.cupola(&["stop", app]).ok();
    }
    platform.eventually(Duration::from_secs(30), || {
        for app in ["one", "two", "three"] {
            let (status, _) = platform.try_get(app, "/")?;
            ensure!(status == 503, "{app} still answers {status}");
        }
        Ok(())
    });
}

#[test]
fn down_leaves_only_the_data_directory() {
    let before = inventory(Vec::new());
    let platform = Platform::start(CUPOLA);
    platform.cupola(&["push", "app", "-p", &fixture("binary"), "-m", "64M"]).ok();
    platform.answers("app", "/", "binary");
    let said = platform.down().ok();
    assert!(said.out.contains("ended"), "{}", said.out);
    before.assert_no_difference();
    // And it comes back with its apps.
    platform.up().expect("the platform comes up again");
    platform.answers("app", "/", "binary");
    assert!(fs::metadata(platform.data().join("secrets/admin-password")).is_ok());
}

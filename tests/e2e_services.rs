//! An app that writes to PostgreSQL and Redis through its bindings; everything is restarted, one after the other, and
//! every write that was acknowledged is read back.

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use testkit::Platform;

const CUPOLA: &str = env!("CARGO_BIN_EXE_cupola");

/// How long anything may take to come back.
const PATIENCE: Duration = Duration::from_secs(90);

fn app() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apps/services");
    assert!(path.is_dir(), "{} is missing", path.display());
    path.display().to_string()
}

/// Numbers that the app was told are written.
#[derive(Default)]
struct Acknowledged(Vec<u64>);

impl Acknowledged {
    /// Writes the next number, trying until it is acknowledged.
    #[track_caller]
    fn write(&mut self, platform: &Platform) {
        let number = self.0.len() as u64 + 1;
        platform.eventually(PATIENCE, || {
            let (status, body) = platform.try_get("db-app", &format!("/write/{number}"))?;
            ensure!(status == 200 && body == number.to_string(), "{status}: {body}");
            Ok(())
        });
        self.0.push(number);
    }

    /// Reads everything back.
    #[track_caller]
    fn read(&self, platform: &Platform, after: &str) {
        let expected = json!({"postgresql": self.0, "redis": self.0});
        platform.eventually(PATIENCE, || {
            let (status, body) = platform.try_get("db-app", "/read")?;
            ensure!(status == 200, "after {after}: {status}: {body}");
            let read: Value = serde_json::from_str(&body).context("the app answers with JSON")?;
            ensure!(read == expected, "after {after}: {read}");
            Ok(())
        });
    }
}

/// Ends a process of the platform as a crash does, and waits until another is in its place.
#[track_caller]
fn lose(platform: &Platform, name: &str) {
    let before = platform.pid_of(name).expect("it runs");
    kill(Pid::from_raw(before), Signal::SIGKILL).expect("it can be killed");
    platform.eventually(PATIENCE, || {
        let now = platform.pid_of(name)?;
        ensure!(now != before, "{name} is not started again yet");
        Ok(())
    });
}

/// The service node takes the stack up, and the controller the broker, some time after the platform is up.
#[track_caller]
fn create_services(platform: &Platform) {
    for (engine, name) in [("postgresql", "db"), ("redis", "cache")] {
        platform.eventually(PATIENCE, || -> Result<()> {
            let said = platform.cupola(&["create-service", engine, "small", name]);
            ensure!(said.status == Some(0), "{}\n{}", said.out, said.err);
            Ok(())
        });
    }
}

#[test]
fn every_acknowledged_write_is_read_back() {
    let platform = Platform::start(CUPOLA);
    create_services(&platform);
    platform.cupola(&["push", "db-app", "-p", &app(), "-m", "128M", "--no-start"]).ok();
    for service in ["db", "cache"] {
        platform.cupola(&["bind-service", "db-app", service]).ok();
    }
    platform.cupola(&["start", "db-app"]).ok();
    let env = platform.get_json("db-app", "/env");
    let credentials = &env["VCAP_SERVICES"]["postgresql"][0]["credentials"];
    assert_eq!(env["DATABASE_URL"], credentials["uri"], "{env}");
    assert_eq!(env["VCAP_SERVICES"]["redis"][0]["name"], "cache", "{env}");

    let mut acknowledged = Acknowledged::default();
    acknowledged.write(&platform);
    platform.cupola(&["restart", "db-app"]).ok();
    acknowledged.read(&platform, "a restart of the app");
    // The roles: DEA, service node, gateway, controller and router in one process.
    acknowledged.write(&platform);
    lose(&platform, "roles");
    acknowledged.read(&platform, "a kill of DEA and service node");
    acknowledged.write(&platform);
    lose(&platform, "warden");
    acknowledged.read(&platform, "a kill of the warden");
    acknowledged.write(&platform);
    // As a restart of the host: nothing runs that ran before.
    let said = platform.down();
    assert_eq!(said.status, Some(0), "{}\n{}", said.out, said.err);
    platform.up().expect("the platform comes up again");
    acknowledged.read(&platform, "everything was down");
    acknowledged.write(&platform);

    platform.cupola(&["delete-service", "db", "-f"]).refused(&["bound"]);
    for service in ["db", "cache"] {
        platform.cupola(&["unbind-service", "db-app", service]).ok();
        platform.cupola(&["delete-service", service, "-f"]).ok();
    }
    platform.cupola(&["delete", "db-app", "-f", "-r"]).ok();
    for folder in ["volumes", "instances"] {
        let left =
            std::fs::read_dir(platform.data().join("service-node").join(folder)).expect("a folder").count();
        assert_eq!(left, 0, "{folder} of the service node");
    }
}

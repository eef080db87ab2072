//! The files of instances on a real platform: what a developer reads, follows, and finds after a crash.

use anyhow::{Context, ensure};
use std::{io::Read, path::Path, time::Duration};
use testkit::Platform;

const CUPOLA: &str = env!("CARGO_BIN_EXE_cupola");
const LIMIT: Duration = Duration::from_secs(30);

fn fixture() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apps/binary").display().to_string()
}

#[test]
fn files_are_read_followed_and_kept_of_a_crash() {
    let platform = Platform::start(CUPOLA);
    let app = "binary";
    platform.cupola(&["push", app, "-p", &fixture(), "-m", "64M"]).ok();
    platform.answers(app, "/", "binary");

    // Files, directories, outputs.
    let home = platform.cupola(&["files", app]).ok().out;
    assert!(home.lines().any(|line| line.starts_with("app/ ")), "{home}");
    let procfile = std::fs::read_to_string(Path::new(&fixture()).join("Procfile")).expect("a Procfile");
    assert_eq!(platform.cupola(&["files", app, "app/Procfile"]).ok().out, procfile);
    platform.eventually(LIMIT, || {
        let said = platform.cupola(&["files", app, "logs/stdout.log"]).ok().out;
        ensure!(said.contains("GET /"), "{said}");
        Ok(())
    });
    platform.cupola(&["files", app, "no/such/file"]).refused(&["no file or directory", "no/such/file"]);
    platform.cupola(&["files", app, "../../etc/passwd"]).refused(&["leads out"]);
    platform.cupola(&["files", app, "app", "-i", "7"]).refused(&["there is no index 7"]);
    platform.cupola(&["files", "nobody", "app"]).refused(&["there is no app"]);

    // The API leads other clients to the node's name, which routers know.
    let guid = platform.cupola(&["app", app, "--guid"]).ok().out.trim().to_owned();
    let path = format!("/v2/apps/{guid}/instances/0/files/app/Procfile");
    let answer = platform.cupola(&["curl", "-i", &path]).ok().out;
    let location = answer.lines().find_map(|line| line.strip_prefix("location: ")).expect("a redirect");
    platform.eventually(LIMIT, || {
        let (status, body) = platform.try_get_url(location.trim())?;
        ensure!((status, body.as_str()) == (200, procfile.as_str()), "{location}: {status} {body}");
        Ok(())
    });
    let forged = location.trim().replace("Procfile", "serve");
    assert_eq!(platform.try_get_url(&forged).expect("the router answers").0, 401);

    // Followed until it is ended.
    let mut tail = platform.command(&["tail", app, "logs/stdout.log"]).spawn().expect("tail runs");
    let mut out = tail.stdout.take().expect("a pipe");
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(count) = out.read(&mut piece) {
            seen.extend_from_slice(&piece[..count]);
            if count == 0 || String::from_utf8_lossy(&seen).contains("/while-it-is-followed") {
                break;
            }
        }
        String::from_utf8_lossy(&seen).into_owned()
    });
    platform.eventually(LIMIT, || {
        platform.get(app, "/while-it-is-followed");
        ensure!(reader.is_finished(), "the line has not come");
        Ok(())
    });
    assert!(reader.join().expect("it reads").contains("/while-it-is-followed"));
    tail.kill().expect("tail ends");
    tail.wait().expect("tail ends");

    // After a crash.
    platform.cupola(&["crashes", app]).ok();
    let _ = platform.try_get(app, "/exit");
    platform.eventually(LIMIT, || {
        let crashes = platform.cupola(&["crashes", app]).ok().out;
        ensure!(crashes.lines().any(|line| line.starts_with("#0 ")), "{crashes}");
        Ok(())
    });
    let logs = platform.cupola(&["crashlogs", app]).ok().out;
    assert!(logs.contains("==> logs/stdout.log <==") && logs.contains("/while-it-is-followed"), "{logs}");
    let crashes = platform.cupola(&["crashes", app]).ok().out;
    let instance = crashes
        .lines()
        .find(|line| line.starts_with("#0 "))
        .and_then(|line| line.split_whitespace().nth(1))
        .context("an instance")
        .expect("the table has it");
    let said = platform.cupola(&["files", app, "logs/stdout.log", "-i", instance]).ok().out;
    assert!(said.contains("/exit"), "{said}");
    // Stopped, it can still be looked into.
    platform.cupola(&["stop", app]).ok();
    assert!(platform.cupola(&["crashlogs", app]).ok().out.contains("/while-it-is-followed"));
    platform.cupola(&["stats", app]).refused(&["is stopped"]);
}

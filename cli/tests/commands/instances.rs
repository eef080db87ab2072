//! Files, crashes, figures and numbers of instances; the platform and the session.

use crate::Developer;
use serde_json::json;

/// A developer with an app that runs.
fn running() -> Developer {
    let developer = Developer::new();
    let folder = developer.app("hello");
    developer.ok(&["push", "hello", "-p", &folder, "-i", "2"]);
    let mut platform = developer.fake.platform();
    for (path, text) in [("logs/a b.log", "one\ntwo\n"), ("logs/empty.log", ""), ("app/x", "x")] {
        platform.files.insert(path.to_owned(), text.as_bytes().to_vec());
    }
    drop(platform);
    developer
}

#[test]
fn files_are_shown_and_directories_listed() {
    let developer = running();
    assert_eq!(developer.ok(&["files", "hello", "logs/a b.log"]), "one\ntwo\n");
    assert_eq!(developer.ok(&["f", "hello", "/app/x", "-i", "1"]), "x");
    let listing = developer.ok(&["file", "hello"]);
    assert_eq!(listing, format!("{:<35} {:>10}\n{:<35} {:>10}\n", "app/", "-", "logs/", "-"));
    let asked = developer.requests().into_iter().rfind(|request| request.contains("/files/app")).unwrap();
    assert_eq!(asked, "GET /v2/apps/guid-of-hello/instances/1/files/app/x?redirect=false");

    let unknown = developer.refused(&["files", "nobody", "x"]);
    assert_eq!(unknown, "there is no app \"nobody\" here; `cupola apps` lists what there is");
    let missing = developer.refused(&["files", "hello", "nothing"]);
    assert_eq!(missing, "there is no file or directory \"nothing\" in the instance.");
    let high = developer.refused(&["files", "hello", "app/x", "-i", "9"]);
    assert_eq!(high, "App hello has 1 instances: there is no index 9, the highest is 0.");
}

#[test]
fn a_file_is_followed_from_its_end() {
    let developer = running();
    let long = format!("{}the end\n", "x".repeat(5000));
    developer.fake.platform().files.insert("logs/long.log".to_owned(), long.clone().into_bytes());
    let child = developer.spawn(&["tail", "hello", "logs/long.log"]);
    wait_until(|| developer.requests().iter().any(|request| request.contains("tail_offset=5008")));
    developer.fake.platform().files.insert("logs/long.log".to_owned(), format!("{long}more\n").into_bytes());
    // The fake takes the file away then, which ends the command.
    let said = Developer::end(child);
    assert_eq!(said.out, format!("{}more\n", &long[long.len() - 2000..]));
    assert_eq!((said.status, said.err.contains("no file or directory")), (1, true), "{said:?}");

    let directory = developer.refused(&["tail", "hello", "logs"]);
    assert_eq!(directory, "logs is no file that could be followed: `cupola files hello logs`");
    assert!(developer.refused(&["tail", "hello", "nothing"]).contains("no file or directory"));
}

/// Waits for something that another process does.
fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "it never happens");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn crashes_are_listed_with_what_they_left() {
    let developer = running();
    assert_eq!(developer.ok(&["crashes", "hello"]), "app hello has not crashed lately\n");
    assert_eq!(developer.ok(&["crashlogs", "hello"]), "app hello has not crashed lately\n");
    developer.fake.platform().crashes = vec![
        json!({"instance": "i-2", "since": 1_767_225_660.5, "index": 1, "details": "out of memory"}),
        json!({"instance": "i-1", "since": 1_767_225_600.0}),
    ];
    insta::assert_snapshot!(developer.ok(&["crashes", "hello"]), @r"
         instance   crashed                details
    #1   i-2        2026-01-01T00:01:00Z   out of memory
    #0   i-1        2026-01-01T00:00:00Z
    ");
    developer.fake.platform().files.insert("logs/deep/c.log".to_owned(), b"no newline".to_vec());
    insta::assert_snapshot!(developer.ok(&["crashlogs", "hello"]), @r"
    instance #1 i-2 at 2026-01-01T00:01:00Z: out of memory
    ==> logs/a b.log <==
    one
    two
    ==> logs/deep/c.log <==
    no newline

    instance #0 i-1 at 2026-01-01T00:00:00Z: crashed
    ==> logs/a b.log <==
    one
    two
    ==> logs/deep/c.log <==
    no newline
    ");
    developer.fake.platform().files.clear();
    assert!(developer.ok(&["crashlogs", "hello"]).contains("it has left no log files"));
}

#[test]
fn states_figures_and_health_are_shown_and_the_number_is_set() {
    let developer = running();
    insta::assert_snapshot!(developer.ok(&["instances", "hello"]), @r"
         state     since   details
    #0   running   1 min
    #1   running   1 min
    ");
    insta::assert_snapshot!(developer.ok(&["stats", "hello"]), @r"
         state     cpu    memory            disk           uptime   address
    #0   running   1.5%   30.0M of 256.0M   5.0M of 1.0G   1 min
    #1   running   1.5%   30.0M of 256.0M   5.0M of 1.0G   1 min
    ");
    insta::assert_snapshot!(developer.ok(&["health", "hello"]), @r"
    name    health   instances
    hello   100%     2/2
    ");
    for (number, expected) in [("3", 3), ("+2", 5), ("-4", 1)] {
        developer.ok(&["instances", "hello", number]);
        assert_eq!(developer.fake.platform().instances, expected, "{number}");
    }
    let wrong = developer.refused(&["instances", "hello", "many"]);
    assert!(wrong.contains("is no number of instances"), "{wrong}");
    assert!(developer.ok(&["mem", "hello", "512M"]).contains("OK"));
    assert!(developer.ok(&["mem", "hello"]).contains("memory           256M"));
    assert_eq!(developer.ok(&["app", "hello", "--guid"]), "guid-of-hello\n");
    developer.ok(&["stop", "hello"]);
    for command in ["instances", "stats"] {
        let stopped = developer.refused(&[command, "hello"]);
        assert!(
            stopped.contains("app hello is stopped") && stopped.contains("cupola start hello"),
            "{stopped}"
        );
    }
    assert!(developer.ok(&["health"]).contains("stopped"));
}

#[test]
fn an_app_gets_another_name_and_old_ways_to_set_variables_work() {
    let developer = running();
    let renamed = developer.ok(&["rename", "hello", "bye"]);
    assert_eq!(renamed, "app hello is bye from now on; its routes stay\nOK\n");
    assert!(developer.refused(&["app", "hello"]).contains("there is no app"));
    developer.ok(&["env-add", "bye", "A=b=c"]);
    developer.ok(&["set-env", "bye", "B", "-d"]);
    let env = developer.ok(&["env", "bye"]);
    assert!(env.contains("A: b=c") && env.contains("B: -d"), "{env}");
    developer.ok(&["env-del", "bye", "A"]);
    assert!(!developer.ok(&["env", "bye"]).contains("A: "));
    assert!(developer.refused(&["set-env", "bye", "A"]).contains("A has no value"));
}

#[test]
fn the_platform_and_the_session_are_shown() {
    let developer = running();
    let info = developer.ok(&["info"]);
    assert!(info.contains("cupola 0.1.0: a platform") && info.contains("API v3.131.0"), "{info}");
    assert!(info.contains("user   admin"), "{info}");
    assert_eq!(developer.ok(&["whoami"]), "admin\n");
    assert!(developer.ok(&["version"]).starts_with("cupola "));
    insta::assert_snapshot!(developer.ok(&["runtimes"]), @r"
        buildpack   stack   state
    1   static              enabled
    2   python              enabled

    stack
    cupola   default
    ");
    assert_eq!(developer.ok(&["targets"]), format!("    API\n*   {}\n", developer.api()));
    developer.ok(&["logout"]);
    assert_eq!(developer.refused(&["user"]), "not logged in: run `cupola login`");
    assert_eq!(developer.refused(&["oauth-token"]), "not logged in: run `cupola login`");
    assert!(developer.ok(&["targets"]).contains(&developer.api()), "an address outlives the login");
    assert_eq!(developer.ok(&["auth", "admin", "right"]), "OK\n");
    assert_eq!(developer.refused(&["auth", "admin", "wrong"]), "the user name or the password is wrong");
    assert!(developer.ok(&["oauth-token"]).starts_with("bearer token-"));
}

#[test]
fn any_request_can_be_sent() {
    let developer = running();
    let apps: serde_json::Value =
        serde_json::from_str(&developer.ok(&["curl", "/v3/apps?names=hello"])).unwrap();
    assert_eq!(apps["resources"][0]["guid"], "guid-of-hello");
    let patched =
        developer.ok(&["curl", "-X", "patch", "/v3/apps/guid-of-hello", "-d", "{\"name\": \"new\"}", "-i"]);
    assert!(patched.starts_with("HTTP/1.1 200 OK\n") && patched.contains("\"name\":\"new\""), "{patched}");
    // A refusal is an answer like others, unless it is to be a failure.
    assert!(developer.ok(&["curl", "/v3/apps/nobody"]).contains("App not found"));
    let said = developer.run(&["curl", "/v3/apps/nobody", "--fail"]);
    assert_eq!((said.status, said.err.contains("404")), (1, true), "{said:?}");
    assert!(developer.refused(&["curl", "v3/apps"]).contains("begins with /"));
    assert!(developer.refused(&["curl", "/v3/apps", "-H", "nonsense"]).contains("no header"));
}

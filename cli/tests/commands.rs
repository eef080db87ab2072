//! The commands against a controller that behaves: what they say, what they send, how they end.

mod fake;
#[path = "commands/instances.rs"]
mod instances;
#[path = "commands/routes.rs"]
mod routes;
#[path = "commands/services.rs"]
mod services;
#[path = "commands/tenancy.rs"]
mod tenancy;

use fake::Fake;
use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Child, Command, Stdio},
};

/// How a command ended.
#[derive(Debug)]
struct Said {
    status: i32,
    out: String,
    err: String,
}

/// A developer with a home of her own.
struct Developer {
    fake: Fake,
    home: tempfile::TempDir,
}

impl Developer {
    /// Logged in.
    fn new() -> Self {
        let developer = Self { fake: Fake::start(), home: tempfile::tempdir().unwrap() };
        developer.ok(&["login", "-u", "admin", "-p", "right"]);
        developer
    }

    fn api(&self) -> String {
        format!("http://{}", self.fake.addr)
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, &self.api(), "")
    }

    fn run_with(&self, arguments: &[&str], api: &str, input: &str) -> Said {
        let mut child = self.begin(arguments, api);
        // A command that does not read has closed its end.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Self::end(child)
    }

    /// Starts a command that goes on.
    fn spawn(&self, arguments: &[&str]) -> Child {
        self.begin(arguments, &self.api())
    }

    fn begin(&self, arguments: &[&str], api: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_cupola-cli"))
            .args(arguments)
            .env("CUPOLA_HOME", self.home.path())
            .env("CUPOLA_API", api)
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Waits for the end of a command.
    fn end(child: Child) -> Said {
        let output = child.wait_with_output().unwrap();
        Said {
            status: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs what must work; its output.
    fn ok(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.status, 0, "{arguments:?}: {said:?}");
        said.out
    }

    /// Runs what must fail with status 1; its message.
    fn refused(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.status, 1, "{arguments:?}: {said:?}");
        assert!(said.err.starts_with("FAILED\n"), "{said:?}");
        said.err["FAILED\n".len()..].trim_end().to_owned()
    }

    /// A folder with an app in it.
    fn app(&self, name: &str) -> String {
        let folder = self.home.path().join(name);
        fs::create_dir_all(folder.join("inner")).unwrap();
        fs::write(folder.join("app.py"), "print('hello')").unwrap();
        fs::write(folder.join("debug.log"), "noise").unwrap();
        fs::write(folder.join(".cfignore"), "*.log\n").unwrap();
        fs::write(folder.join("large.bin"), vec![7; 100_000]).unwrap();
        symlink("../app.py", folder.join("inner/link")).unwrap();
        folder.display().to_string()
    }

    fn requests(&self) -> Vec<String> {
        self.fake.platform().requests.clone()
    }
}

/// In each phase a request is lost, before it was handled and after: the push goes on and says so, and nothing is
/// done twice that must not be.
#[test]
fn a_push_goes_on_when_the_controller_is_away_for_a_moment() {
    for request in [
        "GET /v3/apps?",
        "POST /v3/spaces/s1/actions/apply_manifest",
        "GET /v3/jobs/",
        "POST /v3/resource_matches",
        "POST /v3/packages ",
        "POST /v3/packages/p1/upload",
        "GET /v3/packages/p1",
        "POST /v3/builds",
        "GET /v3/builds/b1",
        "PATCH /v3/apps/",
        "POST /v3/apps/",
        "GET /v3/processes/",
    ] {
        for handled in [false, true] {
            let developer = Developer::new();
            let folder = developer.home.path().join("app");
            fs::create_dir(&folder).unwrap();
            // Large enough that the platform is asked whether it has the file.
            fs::write(folder.join("index.html"), vec![b'x'; 100_000]).unwrap();
            let request = request.trim_end();
            // Something answers first: an API that never did is not waited for.
            developer.fake.platform().lost.push((request, handled));
            let said = developer.run(&["push", "site", "-p", folder.to_str().unwrap()]);
            assert_eq!(said.status, 0, "{request} {handled}: {said:?}");
            let platform = developer.fake.platform();
            assert!(platform.lost.is_empty(), "{request} was never sent");
            assert_eq!(platform.builds, 1, "{request} {handled}");
            assert_eq!(platform.uploaded.len(), 1);
            if request != "GET /v3/apps?" {
                assert!(said.err.contains("The API is away, going on"), "{request} {handled}: {said:?}");
            }
        }
    }
}

#[test]
fn a_login_leaves_a_private_file_and_a_target() {
    let developer = Developer { fake: Fake::start(), home: tempfile::tempdir().unwrap() };
    let said = developer.run_with(&["login", "-u", "admin", "--password-stdin"], &developer.api(), "right\n");
    assert_eq!(said.status, 0, "{said:?}");
    assert_eq!(
        said.out,
        format!(
            "API    {api}\nAPI    {api}\nuser   admin\norg    main\nspace  dev\nOK\n",
            api = developer.api()
        )
    );
    let file = developer.home.path().join("config.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!fs::read_to_string(&file).unwrap().contains("right"), "the password is not kept");
    assert!(developer.ok(&["target"]).contains("space  dev\n"));
    developer.ok(&["logout"]);
    assert_eq!(developer.refused(&["apps"]), "not logged in: run `cupola login`");
}

#[test]
fn a_wrong_password_and_a_missing_terminal_say_so() {
    let developer = Developer { fake: Fake::start(), home: tempfile::tempdir().unwrap() };
    let wrong = developer.refused(&["login", "-u", "admin", "-p", "wrong"]);
    assert_eq!(wrong, "the user name or the password is wrong");
    let none = developer.refused(&["login"]);
    assert_eq!(none, "there is no terminal to ask for the user name: give it with -u NAME");
    let usage = developer.run(&["push", "--no-such-flag"]);
    assert_eq!(usage.status, 2, "{usage:?}");
}

#[test]
fn an_api_that_is_not_there_is_named_with_what_to_do() {
    let developer = Developer::new();
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = developer.run_with(&["login", "-u", "a", "-p", "b"], &format!("http://{nowhere}"), "");
    assert_eq!(said.status, 1);
    assert!(said.err.contains(&format!("the API at http://{nowhere} does not answer")), "{said:?}");
    assert!(said.err.contains("cupola up"), "{said:?}");
}

#[test]
fn tokens_are_shown_to_nobody_else() {
    let developer = Developer::new();
    let other = Fake::start();
    let said = developer.run_with(&["apps"], &format!("http://{}", other.addr), "");
    assert_eq!((said.status, said.err.as_str()), (1, "FAILED\nnot logged in: run `cupola login`\n"));
    assert!(other.platform().requests.is_empty());
}

#[test]
fn an_expired_token_is_refreshed_once_and_for_all() {
    let developer = Developer::new();
    developer.fake.platform().tokens.clear();
    developer.ok(&["apps"]);
    let refreshes = || developer.requests().iter().filter(|request| request.contains("/oauth/token")).count();
    assert_eq!(refreshes(), 2, "the login and one refresh");
    developer.ok(&["apps"]);
    assert_eq!(refreshes(), 2, "the new token was kept");
}

#[test]
fn push_sends_what_the_platform_lacks_and_shows_what_happens() {
    let developer = Developer::new();
    let folder = developer.app("hello");
    let out = developer.ok(&["push", "hello", "-p", &folder, "-i", "2", "-m", "256M", "--env", "A=b"]);
    let out = out.replace(&folder, "FOLDER").replace(&size_in(&out), "SIZE");
    insta::assert_snapshot!(out, @r"
    Pushing app hello to space dev ...
    Uploading FOLDER (3 files), SIZE ...
    Staging ...
       detected python
       the last line of staging
    Starting ...
    0 of 2 instances running, 2 starting
    2 of 2 instances running

    name             hello
    requested state  started
    routes           hello.apps.test
    stack            cupola
    buildpacks       python

    type             web
    instances        2/2
    memory           256M
    disk             1G
         state     since   cpu    memory            disk           details
    #0   running   1 min   1.5%   30.0M of 256.0M   5.0M of 1.0G
    #1   running   1 min   1.5%   30.0M of 256.0M   5.0M of 1.0G
    ");
    let platform = developer.fake.platform();
    let mut names: Vec<&str> = platform.uploaded.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["app.py", "inner/", "inner/link", "large.bin"]);
    let link = platform.uploaded.iter().find(|(name, _)| name == "inner/link").unwrap();
    assert_eq!(link.1, b"../app.py", "a link stays a link");
    for said in ["name: hello", "instances: 2", "memory: 256M", "A: b", "default-route: true"] {
        assert!(platform.manifest.contains(said), "{said} in {}", platform.manifest);
    }
    assert!(!platform.manifest.contains("path"), "{}", platform.manifest);
}

/// The size in an upload's line, which depends on the compressor.
fn size_in(out: &str) -> String {
    let line = out.lines().find(|line| line.starts_with("Uploading")).unwrap();
    line.rsplit_once(", ").unwrap().1.split([' ', ';']).next().unwrap().to_owned()
}

#[test]
fn a_file_that_the_platform_has_is_not_sent() {
    let developer = Developer::new();
    let folder = developer.app("hello");
    developer.ok(&["push", "hello", "-p", &folder]);
    let offered = developer.requests().iter().any(|request| request == "POST /v3/resource_matches");
    assert!(offered);
    let digest = {
        use sha1::{Digest, Sha1};
        Sha1::digest(vec![7; 100_000]).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    developer.fake.platform().known = vec![digest.clone()];
    let out = developer.ok(&["push", "hello", "-p", &folder]);
    assert!(out.contains("1 files are there already"), "{out}");
    let platform = developer.fake.platform();
    assert!(platform.uploaded.iter().all(|(name, _)| name != "large.bin"));
    assert_eq!(platform.resources[0]["path"], "large.bin");
    assert_eq!(platform.resources[0]["checksum"]["value"], digest.as_str());
}

#[test]
fn a_token_that_expires_during_the_upload_does_not_end_it() {
    let developer = Developer::new();
    let folder = developer.app("hello");
    // The fake gives a new token at every refresh and forgets the old one.
    developer.fake.platform().tokens.clear();
    developer.ok(&["push", "hello", "-p", &folder]);
    assert!(!developer.fake.platform().uploaded.is_empty());
}

#[test]
fn a_failed_staging_says_why_and_leaves_nothing() {
    let developer = Developer::new();
    let folder = developer.app("hello");
    developer.fake.platform().staging_error = Some("BuildpackCompileFailed - pip ended with exit status 1");
    let said = developer.run(&["push", "hello", "-p", &folder]);
    assert_eq!(said.status, 1);
    assert!(said.out.contains("   detected python\n   the last line of staging\n"), "{said:?}");
    assert_eq!(said.err, "FAILED\nstaging failed: BuildpackCompileFailed - pip ended with exit status 1\n");
    assert!(developer.fake.platform().apps.is_empty(), "the app that the push made is gone");
    let deleted: Vec<String> =
        developer.requests().into_iter().filter(|request| request.starts_with("DELETE")).collect();
    assert_eq!(deleted, ["DELETE /v3/apps/guid-of-hello", "DELETE /v3/routes/r1"]);
}

#[test]
fn a_crash_comes_with_its_reason_and_the_last_lines() {
    let developer = Developer::new();
    let folder = developer.app("hello");
    developer.fake.platform().instances_end = Some(("CRASHED", "crashed with exit status 3: app exited"));
    let refused = developer.refused(&["push", "hello", "-p", &folder]);
    assert!(
        refused.starts_with("the app does not run: crashed with exit status 3: app exited\n"),
        "{refused}"
    );
    assert!(refused.contains("   [APP/PROC/WEB] cannot find the port\n"), "{refused}");
    assert!(refused.ends_with("`cupola logs hello --recent` shows more"), "{refused}");
    assert_eq!(developer.fake.platform().apps.len(), 1, "an app with a droplet stays, to be looked at");
}

#[test]
fn bad_input_is_refused_before_anything_is_sent() {
    let developer = Developer::new();
    let before = developer.requests().len();
    let home = developer.home.path();
    fs::create_dir(home.join("empty")).unwrap();
    fs::create_dir(home.join("leading")).unwrap();
    symlink("/etc/passwd", home.join("leading/out")).unwrap();
    for (name, entry) in [("up.zip", "../x"), ("absolute.zip", "/x")] {
        let mut zip = zip::ZipWriter::new(fs::File::create(home.join(name)).unwrap());
        zip.start_file(entry, zip::write::SimpleFileOptions::default()).unwrap();
        zip.finish().unwrap();
    }
    fs::write(home.join("no.zip"), "this is no zip").unwrap();
    let cases = [
        (vec!["push", "a", "-p", "empty"], "is empty"),
        (vec!["push", "a", "-p", "missing"], "cannot read missing: No such file"),
        (vec!["push", "a", "-p", "leading"], "\"out\" is a link that leads out of the app"),
        (vec!["push", "a", "-p", "up.zip"], "leads out of the app with `..`"),
        (vec!["push", "a", "-p", "absolute.zip"], "has an absolute name"),
        (vec!["push", "a", "-p", "no.zip"], "is not a zip archive that can be read"),
        (vec!["push"], "name the app: cupola push NAME -p PATH"),
        (vec!["push", "a", "-m", "many"], "-m: \"many\" is not a size"),
        (vec!["push", "a", "-p", "leading", "--env", "A"], "write it as NAME=VALUE"),
    ];
    for (arguments, why) in cases {
        let refused = developer.refused(&arguments);
        assert!(refused.contains(why), "{arguments:?}: {refused}");
    }
    let sent: Vec<String> = developer.requests().split_off(before);
    assert!(sent.is_empty(), "{sent:?}");
}

#[test]
fn the_platforms_refusal_is_shown_as_it_is() {
    let developer = Developer::new();
    let folder = developer.app("hello");
    let refused = developer.refused(&["push", "hello", "-p", &folder, "-b", "no-such-buildpack"]);
    assert_eq!(refused, "there is no buildpack \"no-such-buildpack\"");
    for command in [&["app", "nobody"][..], &["stop", "nobody"], &["env", "nobody"], &["logs", "nobody"]] {
        let refused = developer.refused(command);
        assert_eq!(refused, "there is no app \"nobody\" here; `cupola apps` lists what there is");
    }
}

#[test]
fn a_manifest_with_several_apps_pushes_each() {
    let developer = Developer::new();
    developer.app("one");
    developer.app("two");
    let manifest = "applications:\n- name: one\n  path: one\n- name: two\n  path: two\n  no-route: true\n";
    write(developer.home.path(), "manifest.yml", manifest);
    developer.ok(&["push"]);
    assert_eq!(developer.fake.platform().apps.len(), 2);
    assert!(developer.fake.platform().manifest.contains("no-route: true"));
    let flags = developer.refused(&["push", "-i", "3"]);
    assert!(flags.contains("several apps"), "{flags}");
    write(developer.home.path(), "manifest.yml", "applications: {");
    let broken = developer.refused(&["push"]);
    assert!(broken.starts_with("the manifest ./manifest.yml cannot be used"), "{broken}");
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).unwrap();
}

#[test]
fn a_day_in_the_life_of_an_app() {
    let developer = Developer::new();
    assert_eq!(developer.ok(&["apps"]), "no apps in space dev: `cupola push NAME -p PATH` makes one\n");
    let folder = developer.app("hello");
    developer.ok(&["push", "hello", "-p", &folder]);
    insta::assert_snapshot!(developer.ok(&["apps"]), @r"
    name    requested state   processes   routes
    hello   started           web:1/1     hello.apps.test
    ");
    insta::assert_snapshot!(developer.ok(&["app", "hello"]), @r"
    name             hello
    requested state  started
    routes           hello.apps.test
    stack            cupola
    buildpacks       python

    type             web
    instances        1/1
    memory           256M
    disk             1G
         state     since   cpu    memory            disk           details
    #0   running   1 min   1.5%   30.0M of 256.0M   5.0M of 1.0G
    ");
    insta::assert_snapshot!(developer.ok(&["routes"]), @r"
    route             apps
    hello.apps.test   hello
    ");
    assert!(developer.ok(&["scale", "hello", "-i", "3"]).contains("3 of 3 instances running"));
    developer.ok(&["set-env", "hello", "COLOUR", "-blue-"]);
    assert!(developer.ok(&["env", "hello"]).contains("COLOUR: -blue-\n"));
    developer.ok(&["unset-env", "hello", "COLOUR"]);
    assert!(!developer.ok(&["env", "hello"]).contains("COLOUR"));
    developer.ok(&["stop", "hello"]);
    assert!(developer.ok(&["app", "hello"]).contains("requested state  stopped\n"));
    developer.ok(&["start", "hello"]);
    developer.ok(&["restart", "hello"]);
    assert!(developer.ok(&["restage", "hello"]).contains("   detected python\n"));
    let log = developer.ok(&["logs", "hello", "--recent"]);
    assert!(log.starts_with("2023-11-14T22:13:20.00Z [STG/0]            OUT detected python\n"), "{log}");
    let unsure = developer.refused(&["delete", "hello"]);
    assert_eq!(unsure, "there is no terminal to ask for the confirmation: give it with -f");
    developer.ok(&["delete", "hello", "-f", "-r"]);
    assert!(developer.fake.platform().apps.is_empty());
    assert_eq!(developer.ok(&["delete", "hello", "-f"]), "there is no app hello\nOK\n");
}

#[test]
fn a_reader_that_leaves_is_no_failure_worth_a_message() {
    let developer = Developer::new();
    let folder = developer.app("hello");
    developer.ok(&["push", "hello", "-p", &folder]);
    developer.fake.platform().log =
        (0..1000).map(|n| ("APP/PROC/WEB", "OUT", format!("{n} {}", "x".repeat(500)))).collect();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cupola-cli"))
        .args(["logs", "hello", "--recent"])
        .env("CUPOLA_HOME", developer.home.path())
        .env("CUPOLA_API", developer.api())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(141), b"".as_slice()));
}

//! Jobs that somebody talks to: terminals, input, signals, the client's own standard input and output, users.

use crate::scene::{Warden, collect, eventually};
use std::io::Write;
use std::process::{Command, Stdio};
use warden_client::message::{CreateRequest, RunRequest, SpawnRequest, WindowSize};
use warden_client::{Client, JobStream, Output, StopMode};

fn spawn(handle: &str, script: &str) -> SpawnRequest {
    SpawnRequest { handle: handle.into(), script: script.into(), ..Default::default() }
}

const SIZE: WindowSize = WindowSize { columns: 91, rows: 17 };

fn terminal(handle: &str, script: &str) -> SpawnRequest {
    SpawnRequest { tty: Some(SIZE), ..spawn(handle, script) }
}

/// Reads until the output has this text.
async fn until(stream: &mut JobStream, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        match stream.next().await.unwrap() {
            Some(Output::Data { bytes, .. }) => all += &String::from_utf8_lossy(&bytes),
            other => panic!("{text:?} did not come, but {all:?} and then {other:?}"),
        }
    }
    all
}

async fn status(client: &Client, handle: &str, job: u32) -> Option<u32> {
    client.link(handle, job).await.unwrap().exit_status
}

#[tokio::test]
async fn a_terminal_is_the_jobs_own() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let script = "tty; stat -c '%U %g %a' $(tty); ps -o tty= -p $$; stty size; echo error >&2; \
                  trap 'stty size; exit 5' WINCH; echo ready; while :; do sleep 0.05; done";
    let job = warden.client.spawn(terminal(&handle, script)).await.unwrap();
    let mut stream = warden.client.stream(&handle, job, None).await.unwrap();
    let said = until(&mut stream, "ready").await;
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    assert_eq!(lines, ["/dev/pts/0", "vcap 5 620", "pts/0", "17 91", "error", "ready"]);
    warden.client.resize(&handle, job, WindowSize { columns: 80, rows: 24 }).await.unwrap();
    let done = collect(stream).await;
    assert_eq!((done.stdout.as_str(), done.status), ("24 80\r\n", 5));
}

#[tokio::test]
async fn a_shell_can_be_talked_to() {
    let mut warden = Warden::start().await;
    let handle = warden.container().await;
    let shell = SpawnRequest { env: vec!["PS1=$ ".into(), "TERM=dumb".into()], ..terminal(&handle, "") };
    let job = warden.client.spawn(shell).await.unwrap();
    let mut stream = warden.client.stream(&handle, job, None).await.unwrap();
    warden.client.input(&handle, job, b"echo $((6*7)) $$\n", false).await.unwrap();
    until(&mut stream, "42 ").await;
    // Control-C reaches what runs in the foreground, and not the shell.
    warden.client.input(&handle, job, b"sleep 1000\n", false).await.unwrap();
    eventually("it sleeps", async || warden.run(&handle, "pgrep -x sleep").await.exit_status == Some(0))
        .await;
    warden.client.input(&handle, job, b"\x03", false).await.unwrap();
    until(&mut stream, "^C").await;
    // Another daemon finds the terminal where it was.
    warden.kill_and_restart().await;
    warden.client.input(&handle, job, b"echo still\" here\"\n", false).await.unwrap();
    let mut stream = warden.client.stream(&handle, job, None).await.unwrap();
    until(&mut stream, "still here").await;
    warden.client.input(&handle, job, b"exit 9\n", false).await.unwrap();
    assert_eq!(collect(stream).await.status, 9);
    let error = warden.client.input(&handle, job, b"x", false).await.unwrap_err();
    assert!(error.to_string().starts_with("no such job"), "{error}");
    // The end of input at a terminal is a character.
    let job = warden.client.spawn(terminal(&handle, "cat; echo ended")).await.unwrap();
    warden.client.input(&handle, job, b"line\n", true).await.unwrap();
    let response = warden.client.link(&handle, job).await.unwrap();
    assert_eq!(response.stdout.as_deref(), Some("line\r\nline\r\nended\r\n"));
}

#[tokio::test]
async fn a_stop_hangs_up_terminals() {
    let warden = Warden::start_with("", "stop_timeout = 600").await;
    let handle = warden.container().await;
    // An interactive shell does not heed SIGTERM.
    let job = warden.client.spawn(terminal(&handle, "")).await.unwrap();
    let mut stream = warden.client.stream(&handle, job, None).await.unwrap();
    warden.client.input(&handle, job, b"echo $-\n", false).await.unwrap();
    until(&mut stream, "i").await;
    warden.client.stop(&handle, StopMode::Graceful).await.unwrap();
    assert_ne!(collect(stream).await.status, 0);
}

#[tokio::test]
async fn input_reaches_the_job_in_its_own_time() {
    let mut warden = Warden::start().await;
    let handle = warden.container().await;
    let request = SpawnRequest { input: Some(true), ..spawn(&handle, "cat; echo end >&2") };
    let job = warden.client.spawn(request.clone()).await.unwrap();
    warden.client.input(&handle, job, b"one ", false).await.unwrap();
    warden.kill_and_restart().await;
    warden.client.input(&handle, job, b"two", false).await.unwrap();
    warden.client.input(&handle, job, b"", true).await.unwrap();
    let response = warden.client.link(&handle, job).await.unwrap();
    assert_eq!((response.stdout.as_deref(), response.stderr.as_deref()), (Some("one two"), Some("end\n")));

    // What the job does not read waits, and holds up nobody else.
    let slow = SpawnRequest {
        input: Some(true),
        ..spawn(&handle, "until [ -e /tmp/go ]; do sleep 0.02; done; wc -c")
    };
    let job = warden.client.spawn(slow).await.unwrap();
    let block = vec![b'x'; 64 << 10];
    warden.client.input(&handle, job, &block, false).await.unwrap();
    let (client, name) = (warden.client.clone(), handle.clone());
    let waiting = tokio::spawn(async move { client.input(&name, job, &block, true).await });
    assert_eq!(warden.say(&handle, "echo others").await, "others");
    assert!(!waiting.is_finished(), "the pipe is full");
    warden.say(&handle, "touch /tmp/go").await;
    waiting.await.unwrap().unwrap();
    let response = warden.client.link(&handle, job).await.unwrap();
    assert_eq!(response.stdout.as_deref(), Some("131072\n"));

    // A job that ends takes the waiting input with it.
    let job = warden
        .client
        .spawn(SpawnRequest { input: Some(true), ..spawn(&handle, "sleep 1000") })
        .await
        .unwrap();
    let block = vec![b'x'; 64 << 10];
    warden.client.input(&handle, job, &block, false).await.unwrap();
    let (client, name) = (warden.client.clone(), handle.clone());
    let waiting = tokio::spawn(async move { client.input(&name, job, &block, false).await });
    warden.client.signal(&handle, job, 9).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("takes no more input"), "{error}");
    let job = warden.spawn(&handle, "sleep 1000").await;
    let error = warden.client.input(&handle, job, b"x", false).await.unwrap_err().to_string();
    assert!(error.contains("without `input`"), "{error}");
    let error = warden.client.resize(&handle, job, SIZE).await.unwrap_err().to_string();
    assert!(error.contains("cannot resize the terminal"), "{error}");
    let error = warden.client.input(&handle, job, &vec![0; 65_537], false).await.unwrap_err().to_string();
    assert!(error.contains("65537 bytes"), "{error}");
}

#[tokio::test]
async fn signals_reach_every_process_of_a_job_and_of_no_other() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let script = "trap 'echo got; exit 3' USR1; echo ready; while :; do sleep 0.05; done";
    let (job, other) = (warden.spawn(&handle, script).await, warden.spawn(&handle, script).await);
    for job in [job, other] {
        until(&mut warden.client.stream(&handle, job, None).await.unwrap(), "ready").await;
    }
    warden.client.signal(&handle, job, 10).await.unwrap();
    assert_eq!(status(&warden.client, &handle, job).await, Some(3));
    assert_eq!(warden.client.info(&handle).await.unwrap().job_ids, [u64::from(other)]);
    for wrong in [0, 65] {
        let error = warden.client.signal(&handle, other, wrong).await.unwrap_err().to_string();
        assert!(error.contains(&format!("signal {wrong} is not")), "{error}");
    }
    let error = warden.client.signal(&handle, job, 10).await.unwrap_err().to_string();
    assert_eq!(error, format!("no such job: {job}"));
    warden.client.signal(&handle, other, 9).await.unwrap();
    eventually("it has ended", async || warden.client.info(&handle).await.unwrap().job_ids.is_empty()).await;
    warden.client.signal(&handle, other, 9).await.unwrap();
    assert_eq!(status(&warden.client, &handle, other).await, Some(255));
}

/// A client that is a process of its own: sends a run of `script` with `stdio_of`, and prints nothing itself.
const LENDER: &str = r"
import os, socket, sys
def field(n, wire, value):
    out = b''
    for v in [n << 3 | wire] + ([value] if wire == 0 else [len(value)]):
        while v > 127: out += bytes([v & 127 | 128]); v >>= 7
        out += bytes([v])
    return out + (value if wire == 2 else b'')
handle, script, pid = sys.argv[2].encode(), sys.argv[3].encode(), sys.argv[4]
pid = os.getpid() if pid == 'self' else int(pid)
payload = field(1, 2, handle) + field(2, 2, script) + field(106, 0, pid)
body = field(1, 0, 23) + field(2, 2, payload)
kind = sys.argv[6]
if kind == 'directory': os.dup2(os.open('/', os.O_RDONLY), 0)
if kind == 'socket': other = socket.create_server(('127.0.0.1', 0)); os.dup2(other.fileno(), 0)
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b'%d\r\n%s\r\n' % (len(body), body))
answer = s.recv(65536)
os.write(int(sys.argv[5]), answer)
";

/// The lender's child, and where the server's answer goes.
fn lend(warden: &Warden, handle: &str, script: &str, pid: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", LENDER]).arg(warden.path().join("warden.sock")).args([handle, script, pid]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn a_client_may_lend_its_own_standard_input_and_output() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let script = "read line; echo \"got $line\"; echo err >&2; exit 7";
    // The answer of the server goes to its standard error, after the job's.
    let mut child = lend(&warden, &handle, script, "self").args(["2", "pipe"]).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "got hello\n");
    let answer = output.stderr;
    assert!(answer.starts_with(b"err\n"), "{answer:?}");
    // Exit status 7, and nothing kept of the output.
    let needle = b"\x08\x07\x12\x00\x1a\x00";
    assert!(answer.windows(needle.len()).any(|window| window == needle), "{answer:?}");

    let refused = |pid: &str, stdin: &str| {
        let output = lend(&warden, &handle, "echo reached", pid).args(["2", stdin]).output().unwrap();
        assert_eq!(output.stdout, b"");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let error = refused(&std::process::id().to_string(), "pipe");
    assert!(error.contains("only the client's own process"), "{error}");
    let error = refused("self", "directory");
    assert!(error.contains("its standard input is a directory of the host"), "{error}");
    let error = refused("self", "socket");
    assert!(error.contains("a socket that is not a connected unix stream"), "{error}");
}

#[tokio::test]
async fn programs_users_and_directories() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let argv = |words: &[&str]| SpawnRequest {
        handle: handle.clone(),
        argv: words.iter().map(|word| (*word).to_owned()).collect(),
        ..Default::default()
    };
    let run = async |request: SpawnRequest| {
        let done = warden.client.run(request.into()).await?;
        assert_eq!(done.exit_status, Some(0), "{done:?}");
        Ok::<_, warden_client::Error>(done.stdout.unwrap())
    };
    assert_eq!(run(argv(&["printf", "%s|", "a b", "", "$HOME"])).await.unwrap(), "a b||$HOME|");
    assert_eq!(run(argv(&["/bin/cat"])).await.unwrap(), "", "its input is at its end");
    let error = run(argv(&["no-such-program"])).await.unwrap_err().to_string();
    assert!(error.contains("cannot start the job: execute (no-such-program)"), "{error}");
    let error = run(SpawnRequest { script: "ls".into(), ..argv(&["ls"]) }).await.unwrap_err().to_string();
    assert!(error.contains("exclude each other"), "{error}");

    let who = "id -u; id -g; pwd; echo $HOME $USER; grep CapEff /proc/self/status";
    let user = async |user: &str| run(SpawnRequest { user: Some(user.into()), ..spawn(&handle, who) }).await;
    let root = RunRequest {
        privileged: Some(true),
        ..spawn(&handle, "echo 'web:x:33:34::/srv:/bin/sh' >> /etc/passwd; mkdir /srv").into()
    };
    assert_eq!(warden.client.run(root).await.unwrap().exit_status, Some(0));
    let nothing = "CapEff:\t0000000000000000\n";
    assert_eq!(user("12:13").await.unwrap(), format!("12\n13\n/\n/ 12\n{nothing}"));
    assert_eq!(user("web").await.unwrap(), format!("33\n34\n/srv\n/srv web\n{nothing}"));
    assert_eq!(user("web:root").await.unwrap(), format!("33\n0\n/srv\n/srv web\n{nothing}"));
    let error = user("nobody-here").await.unwrap_err().to_string();
    assert!(error.contains("find the user in the container's files (nobody-here)"), "{error}");
    let error = user("a:").await.unwrap_err().to_string();
    assert!(error.contains("neither uid:gid"), "{error}");
}

#[tokio::test]
async fn properties_and_names_are_kept() {
    let mut warden = Warden::start().await;
    let property =
        |name: &str, value: &str| warden_client::message::Property { name: name.into(), value: value.into() };
    let request = |pairs: &[(&str, &str)]| CreateRequest {
        properties: pairs.iter().map(|(name, value)| property(name, value)).collect(),
        hostname: Some("web-1.example".into()),
        ..Default::default()
    };
    let one = warden.create(request(&[("app", "a"), ("zone", "z")])).await;
    let two = warden.create(request(&[("app", "a"), ("zone", "y")])).await;
    assert_eq!(warden.say(&one, "hostname; cat /etc/hostname").await, "web-1.example\nweb-1.example");
    warden.client.set_property(&two, "new", Some("value")).await.unwrap();
    warden.client.set_property(&two, "zone", None).await.unwrap();
    let error = warden.client.set_property(&two, "zone", None).await.unwrap_err().to_string();
    assert!(error.contains("no property \"zone\""), "{error}");
    warden.kill_and_restart().await;
    let mut both = vec![one.clone(), two.clone()];
    both.sort();
    let list = async |pairs: &[(&str, &str)]| {
        let wanted = pairs.iter().map(|(name, value)| property(name, value)).collect();
        warden.client.list_with(wanted).await.unwrap()
    };
    assert_eq!(list(&[]).await, both);
    assert_eq!(list(&[("app", "a")]).await, both);
    assert_eq!(list(&[("app", "a"), ("new", "value")]).await, std::slice::from_ref(&two));
    assert_eq!(list(&[("app", "b")]).await, [""; 0]);
    let info = warden.client.info(&two).await.unwrap();
    assert_eq!(info.properties, [property("app", "a"), property("new", "value")]);
    assert!(info.created_at.unwrap() > 1_700_000_000, "{:?}", info.created_at);
    for (name, value) in [("", "v".into()), (&*"n".repeat(257), "v".into()), ("n", "v".repeat(65_537))] {
        assert!(warden.client.set_property(&one, name, Some(&value)).await.is_err(), "{}", name.len());
    }
    for number in 0..3 {
        warden.client.set_property(&one, &format!("n{number}"), Some(&"v".repeat(65_536))).await.unwrap();
    }
    let error = warden.client.set_property(&one, "last", Some(&"v".repeat(65_536))).await.unwrap_err();
    assert!(error.to_string().contains("properties_bytes"), "{error}");
    let twice = request(&[("app", "a"), ("app", "b")]);
    assert!(warden.client.create(twice).await.unwrap_err().to_string().contains("given twice"));
    let bad = CreateRequest { hostname: Some("a b".into()), ..Default::default() };
    assert!(warden.client.create(bad).await.unwrap_err().to_string().contains("host name"));
}

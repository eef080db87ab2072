//! Jobs: output, ends, limits, signals, users.

use crate::container::{container, ended, job, wait_for};
use std::fs;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use warden::init::client::InitClient;
use warden::wire::{Exit, JobEnd, JobUser, OutputMode, Rlimit, Target};

#[test]
fn a_job_writes_its_output_and_its_end() {
    let container = container();
    let (out, err, end) = container.sh(JobUser::Vcap, "id -u; id -g; echo oops >&2; pwd; exit 7");
    assert_eq!((out.as_str(), err.as_str()), ("1000\n1000\n/\n", "oops\n"));
    assert_eq!((end.exit, end.output_limit, end.offset), (Exit::Code(7), false, 17));
    assert!(end.peak_bytes > 0);
    let id = container.client.jobs().unwrap()[0].id;
    let status = fs::read_to_string(container.depot().join(format!("jobs/{id}/status"))).unwrap();
    assert_eq!(JobEnd::from_text(&status).unwrap(), end);
    container.client.forget(id).unwrap();
    assert_eq!(container.client.jobs().unwrap(), []);
    assert_eq!(fs::read_dir(container.depot().join("jobs")).unwrap().count(), 0);
}

#[test]
fn standard_input_is_what_the_daemon_sends() {
    let container = container();
    let mut script = tempfile::tempfile().unwrap();
    script.write_all(b"echo from the script\n").unwrap();
    script.rewind().unwrap();
    let job = job(&["/bin/sh"], JobUser::Vcap);
    let (_, mut events) = container.client.subscribe().unwrap();
    container.client.run(&job, Some(script.as_fd())).unwrap();
    ended(&mut events, job.id);
    assert_eq!(container.output(job.id).1, [(1, b"from the script\n".to_vec())]);
}

#[test]
fn a_step_that_fails_is_named() {
    let container = container();
    let failure = container.client.run(&job(&["no-such-program"], JobUser::Vcap), None).unwrap_err();
    assert_eq!((failure.step.as_str(), failure.errno), ("execute", libc_enoent()));
    let mut nowhere = job(&["/bin/true"], JobUser::Vcap);
    nowhere.cwd = "/nowhere".into();
    let failure = container.client.run(&nowhere, None).unwrap_err();
    assert_eq!(failure.step, "enter the working directory");
    assert_eq!(container.client.jobs().unwrap(), []);
    assert_eq!(fs::read_dir(container.depot().join("jobs")).unwrap().count(), 0, "nothing is left of them");
}

fn libc_enoent() -> i32 {
    nix::errno::Errno::ENOENT as i32
}

#[test]
fn a_job_that_writes_too_much_is_killed() {
    let container = container();
    let mut loud = job(&["/bin/sh", "-c", "(setsid yes) & yes"], JobUser::Vcap);
    loud.output = OutputMode::Limit { bytes: 1_000_000 };
    let (_, mut events) = container.client.subscribe().unwrap();
    container.client.run(&loud, None).unwrap();
    let end = ended(&mut events, loud.id);
    assert!(end.output_limit);
    assert_eq!((end.exit, end.offset), (Exit::Signal(9), 1_000_000));
    let kept: usize = container.output(loud.id).1.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(kept, 1_000_000);
    wait_for("all of the job is gone", || container.sh(JobUser::Vcap, "pgrep -x yes; true").0.is_empty());
}

#[test]
fn a_ring_keeps_the_newest() {
    let container = container();
    let mut app = job(
        &["/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"],
        JobUser::Vcap,
    );
    app.output = OutputMode::Ring { bytes: 40_000 };
    let (_, mut events) = container.client.subscribe().unwrap();
    container.client.run(&app, None).unwrap();
    let end = ended(&mut events, app.id);
    let (first, records) = container.output(app.id);
    let kept: Vec<u8> = records.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(first + kept.len() as u64, end.offset);
    assert!((40_000..160_000).contains(&kept.len()), "{}", kept.len());
    assert!(kept.ends_with(b"line 19999\n"));
}

#[test]
fn a_job_ends_even_if_others_hold_its_output() {
    let container = container();
    let (out, _, end) = container.sh(JobUser::Vcap, "sleep 300 & echo started");
    assert_eq!((out.as_str(), end.exit), ("started\n", Exit::Code(0)));
}

#[test]
fn signals_reach_a_job_and_its_children() {
    let container = container();
    let asleep = job(&["/bin/sh", "-c", "sleep 300 & sleep 301; wait"], JobUser::Vcap);
    let (_, mut events) = container.client.subscribe().unwrap();
    container.client.run(&asleep, None).unwrap();
    wait_for("both sleep", || container.sh(JobUser::Root, "pgrep -c -x sleep").0 == "2\n");
    container.client.signal(Target::Job(asleep.id), 15).unwrap();
    assert_eq!(ended(&mut events, asleep.id).exit, Exit::Signal(15));
    assert_eq!(container.sh(JobUser::Root, "pgrep -x sleep; true").0, "");

    let (one, two) = (job(&["sleep", "300"], JobUser::Vcap), job(&["sleep", "300"], JobUser::Root));
    container.client.run(&one, None).unwrap();
    container.client.run(&two, None).unwrap();
    container.client.signal(Target::All, 9).unwrap();
    // They may end in any order: both are told.
    wait_for("both have ended", || {
        let jobs = container.client.jobs().unwrap();
        [one.id, two.id].iter().all(|id| jobs.iter().any(|job| job.id == *id && job.end.is_some()))
    });
    assert_eq!(container.sh(JobUser::Vcap, "echo alive").0, "alive\n");
}

#[test]
fn a_second_connection_sees_what_the_first_began() {
    let container = container();
    let asleep = job(&["sleep", "300"], JobUser::Vcap);
    let pid = container.client.run(&asleep, None).unwrap();
    let other = InitClient::connect(&container.depot().join("init.sock")).unwrap();
    let states = other.jobs().unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!((states[0].id, states[0].pid, states[0].end), (asleep.id, pid, None));
    assert_eq!(other.forget(asleep.id).unwrap_err().errno, nix::errno::Errno::EBUSY as i32);
}

#[test]
fn limits_and_environment_are_set() {
    let container = container();
    let mut limited = job(&["/bin/sh", "-c", "ulimit -n; ulimit -Hn; ulimit -c; env"], JobUser::Vcap);
    limited.rlimits = vec![Rlimit { resource: 7, soft: 200, hard: 300 }];
    limited.env = vec![(b"A".to_vec(), b"x y".to_vec())];
    let (_, mut events) = container.client.subscribe().unwrap();
    container.client.run(&limited, None).unwrap();
    ended(&mut events, limited.id);
    let out: Vec<u8> = container.output(limited.id).1.into_iter().flat_map(|(_, bytes)| bytes).collect();
    let out = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["200", "300", "0"]);
    assert!(lines.contains(&"A=x y"));
    // What is not given is what the container's files say of the user, and nothing else is added.
    assert!(lines.contains(&"HOME=/home/vcap") && lines.contains(&"USER=vcap"), "{out}");
    let mut given = job(&["/bin/sh", "-c", "env"], JobUser::Vcap);
    given.env = vec![(b"HOME".to_vec(), b"/elsewhere".to_vec()), (b"USER".to_vec(), b"me".to_vec())];
    container.client.run(&given, None).unwrap();
    ended(&mut events, given.id);
    let out: Vec<u8> = container.output(given.id).1.into_iter().flat_map(|(_, bytes)| bytes).collect();
    let out = String::from_utf8(out).unwrap();
    let shell = ["PWD=", "SHLVL=", "OLDPWD=", "_="];
    let mut lines: Vec<&str> =
        out.lines().filter(|line| !shell.iter().any(|own| line.starts_with(own))).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["HOME=/elsewhere", "USER=me"]);
}

#[test]
fn large_requests_pass() {
    let container = container();
    let mut large = job(&["/bin/sh", "-c", "printf %s \"$BIG\" | wc -c"], JobUser::Vcap);
    large.env.push((b"BIG".to_vec(), vec![b'x'; 120_000]));
    for n in 0..10 {
        large.env.push((format!("MORE{n}").into_bytes(), vec![b'y'; 100_000]));
    }
    let (_, mut events) = container.client.subscribe().unwrap();
    container.client.run(&large, None).unwrap();
    ended(&mut events, large.id);
    assert_eq!(container.output(large.id).1, [(1, b"120000\n".to_vec())]);
}

#[test]
fn orphans_are_reaped() {
    let container = container();
    let script = "i=0; while [ $i -lt 200 ]; do (sleep 0 &); i=$((i+1)); done";
    container.sh(JobUser::Vcap, script);
    wait_for("no zombie is left", || {
        let out = container.sh(JobUser::Vcap, "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '; true").0;
        out == "0\n"
    });
}

#[test]
fn a_closed_socket_is_no_harm() {
    let container = container();
    for _ in 0..100 {
        let client = InitClient::connect(&container.depot().join("init.sock")).unwrap();
        let (_, _events) = client.subscribe().unwrap();
    }
    assert_eq!(container.sh(JobUser::Vcap, "echo alive").0, "alive\n");
}

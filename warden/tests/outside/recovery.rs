//! The daemon dies; the containers do not.

use crate::scene::{Warden, collect, eventually};
use std::fs;
use warden_client::message::{CreateRequest, RunRequest};
use warden_client::{Output, StopMode};

#[tokio::test]
async fn jobs_outlive_a_killed_daemon() {
    let mut warden = Warden::start().await;
    let handle = warden.create(CreateRequest { handle: Some("kept".into()), ..Default::default() }).await;
    warden.client.limit_memory(&handle, Some(100 << 20)).await.unwrap();
    let job = warden
        .spawn(&handle, "echo $$ >/tmp/pid; i=0; while :; do echo line $((i++)); sleep 0.02; done")
        .await;
    // The number of the job's process, and when it began.
    let pid = "until [ -s /tmp/pid ]; do sleep 0.02; done; cut -d' ' -f1,22 /proc/$(</tmp/pid)/stat";
    let before = warden.say(&handle, pid).await;
    let mut stream = warden.client.stream(&handle, job, None).await.unwrap();
    let Some(Output::Data { .. }) = stream.next().await.unwrap() else { panic!("no output") };
    let offset = stream.offset();
    warden.kill();
    // What is in the socket still comes; then it breaks.
    let mut last = offset;
    while let Ok(Some(_)) = stream.next().await {
        last = stream.offset();
    }
    warden.kill_and_restart().await;
    assert_eq!(warden.client.list().await.unwrap(), ["kept"]);
    assert_eq!(warden.say(&handle, pid).await, before, "the same process");
    assert_eq!(warden.client.limit_memory(&handle, None).await.unwrap(), 100 << 20);
    let info = warden.client.info(&handle).await.unwrap();
    assert_eq!(info.job_ids, [u64::from(job)]);

    let mut stream = warden.client.stream(&handle, job, Some(last)).await.unwrap();
    let Some(Output::Data { bytes, offset, .. }) = stream.next().await.unwrap() else { panic!("no output") };
    assert_eq!(offset, last + bytes.len() as u64, "it goes on where it was");
    let more = warden.spawn(&handle, "echo new").await;
    assert!(more > job);
    assert_eq!(warden.client.link(&handle, more).await.unwrap().stdout.as_deref(), Some("new\n"));
    drop(stream);

    warden.client.stop(&handle, StopMode::Graceful).await.unwrap();
    let done = collect(warden.client.stream(&handle, job, None).await.unwrap()).await;
    assert_eq!(done.status, 255);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(
        lines.iter().enumerate().all(|(n, line)| *line == format!("line {n}")),
        "no line is lost or doubled"
    );
    warden.client.destroy(&handle).await.unwrap();
}

#[tokio::test]
async fn what_ended_while_nobody_looked_is_known() {
    let mut warden = Warden::start().await;
    let handle = warden.container().await;
    let job = warden.spawn(&handle, "until [ -e /tmp/go ]; do sleep 0.02; done; echo bye; exit 21").await;
    let path = warden.client.info(&handle).await.unwrap().container_path.unwrap();
    let go =
        RunRequest { handle: handle.clone(), script: "sleep 1; touch /tmp/go".into(), ..Default::default() };
    warden.client.spawn(go.into()).await.unwrap();
    warden.kill();
    let status = std::path::Path::new(&path).join("jobs").join(job.to_string()).join("status");
    eventually("the job has ended", async || status.exists()).await;
    warden.kill_and_restart().await;
    let response = warden.client.link(&handle, job).await.unwrap();
    assert_eq!((response.exit_status, response.stdout.as_deref()), (Some(21), Some("bye\n")));
    assert!(warden.client.link(&handle, job).await.is_err());
}

#[tokio::test]
async fn a_container_whose_init_died_is_destroyed_at_the_next_start() {
    let mut warden = Warden::start().await;
    let before = warden.inventory();
    let handle = warden.container().await;
    let path = warden.client.info(&handle).await.unwrap().container_path.unwrap();
    let id = std::path::Path::new(&path).file_name().unwrap().to_str().unwrap().to_owned();
    warden.kill();
    let journal = warden.path().join(format!("data/warden/journal/{id}.json"));
    let record = fs::read_to_string(&journal).unwrap();
    let pid =
        record.split("\"pid\":").nth(1).unwrap().trim_start().split(',').next().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
    warden.kill_and_restart().await;
    assert_eq!(warden.client.list().await.unwrap(), [""; 0]);
    assert_eq!(warden.inventory(), before);
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_of_creations_leaves_nothing_behind() {
    let mut warden = Warden::start().await;
    let before = warden.inventory();
    for milliseconds in [3, 8, 15, 25, 40, 60] {
        let creations: Vec<_> = (0..3)
            .map(|_| {
                let client = warden.client.clone();
                tokio::spawn(
                    async move { client.create(crate::scene::with_usr(CreateRequest::default())).await },
                )
            })
            .collect();
        // Not a wait for anything: the moment of death is what is being varied.
        tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
        warden.kill_and_restart().await;
        for creation in creations {
            let _ = creation.await;
        }
        for handle in warden.client.list().await.unwrap() {
            assert_eq!(warden.say(&handle, "echo alive").await, "alive", "whatever was taken over works");
            warden.client.destroy(&handle).await.unwrap();
        }
        assert_eq!(warden.inventory(), before, "killed after {milliseconds} ms");
    }
}

#[tokio::test]
async fn a_daemon_killed_in_the_middle_of_destructions_finishes_them() {
    let mut warden = Warden::start().await;
    let before = warden.inventory();
    for milliseconds in [1, 5, 15, 30, 60] {
        let mut handles = Vec::new();
        for _ in 0..2 {
            let handle = warden.container().await;
            warden.client.net_in(&handle, None, None).await.unwrap();
            warden.spawn(&handle, "sleep 1000").await;
            handles.push(handle);
        }
        let destroys: Vec<_> = handles
            .into_iter()
            .map(|handle| {
                let client = warden.client.clone();
                tokio::spawn(async move { (client.destroy(&handle).await, handle) })
            })
            .collect();
        // Not a wait for anything: the moment of death is what is being varied.
        tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
        warden.kill_and_restart().await;
        for destroy in destroys {
            let (_, handle) = destroy.await.unwrap();
            // Cut off before it began: then it is all there, and can be destroyed again.
            match warden.client.destroy(&handle).await {
                Err(error) if error.is_unknown_handle() => (),
                other => other.unwrap(),
            }
        }
        assert_eq!(warden.inventory(), before, "killed after {milliseconds} ms");
    }
}

#[tokio::test]
async fn a_spawner_that_was_killed_is_replaced() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    // The one child of the daemon, whichever of its threads started it.
    let threads = fs::read_dir(format!("/proc/{}/task", warden.pid())).unwrap();
    let children = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).unwrap());
    let spawner: i32 = children.collect::<String>().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(spawner), nix::sys::signal::SIGKILL).unwrap();
    // One creation may find out; the next one works, and what ran goes on running.
    let _ = warden.client.create(crate::scene::with_usr(CreateRequest::default())).await;
    let other = warden.container().await;
    assert_eq!(warden.say(&other, "echo works").await, "works");
    assert_eq!(warden.say(&handle, "echo runs").await, "runs");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_data_is_refused() {
    let warden = Warden::start().await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_warden"))
        .arg("--config")
        .arg(warden.path().join("warden.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("another warden is running"), "{said}");
    warden.client.ping().await.unwrap();
}

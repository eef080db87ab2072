//! Run, spawn, link, stream.

use crate::scene::{Done, Warden, collect, eventually, kill};
use warden_client::Output;
use warden_client::message::{ResourceLimits, RunRequest, SpawnRequest};

fn spawn(handle: &str, script: &str) -> SpawnRequest {
    SpawnRequest { handle: handle.into(), script: script.into(), ..Default::default() }
}

#[tokio::test]
async fn run_gives_both_streams_and_the_status() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let done = warden.run(&handle, "echo out; echo err >&2; exit 123").await;
    assert_eq!((done.stdout.as_deref(), done.stderr.as_deref()), (Some("out\n"), Some("err\n")));
    assert_eq!(done.exit_status, Some(123));
    assert_eq!(done.info.unwrap().state.as_deref(), Some("active"));
    assert_eq!(warden.run(&handle, "kill -9 $$").await.exit_status, Some(255));
    assert_eq!(warden.say(&handle, "id -u; pwd; echo $HOME").await, "1000\n/home/vcap\n/home/vcap");
    let root = RunRequest { privileged: Some(true), ..spawn(&handle, "id -u").into() };
    assert_eq!(warden.client.run(root).await.unwrap().stdout.as_deref(), Some("0\n"));
}

#[tokio::test]
async fn environment_directory_and_limits_of_a_job() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let request = RunRequest {
        env: vec!["A=1=2".into(), "USER=me".into()],
        dir: Some("/tmp".into()),
        rlimits: Some(ResourceLimits { nofile: Some(77), ..Default::default() }),
        ..spawn(&handle, "echo $A $USER; pwd; ulimit -n").into()
    };
    assert_eq!(warden.client.run(request).await.unwrap().stdout.as_deref(), Some("1=2 me\n/tmp\n77\n"));
    assert_eq!(warden.say(&handle, "ulimit -n; ulimit -c").await, "8192\n0");
    let bad = RunRequest { env: vec!["novalue".into()], ..spawn(&handle, ":").into() };
    assert!(warden.client.run(bad).await.unwrap_err().to_string().contains("novalue"));
    let nowhere = RunRequest { dir: Some("/nowhere".into()), ..spawn(&handle, ":").into() };
    let error = warden.client.run(nowhere).await.unwrap_err().to_string();
    assert!(error.contains("cannot start the job"), "{error}");
}

#[tokio::test]
async fn a_result_is_given_once() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let job = warden.spawn(&handle, "echo x; exit 3").await;
    let (a, b) = tokio::join!(warden.client.link(&handle, job), async {
        // Both are attached while the job runs, or one of them comes too late: then it is told so.
        warden.client.link(&handle, job).await
    });
    let answers = [a, b].into_iter().filter_map(Result::ok).collect::<Vec<_>>();
    assert!(!answers.is_empty() && answers.iter().all(|answer| answer.exit_status == Some(3)));
    let error = warden.client.link(&handle, job).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no such job: {job}"));
    let mut stream = warden.client.stream(&handle, job, None).await.unwrap();
    assert!(stream.next().await.unwrap_err().to_string().starts_with("no such job"));
    eventually("its files are gone", async || {
        let path = warden.client.info(&handle).await.unwrap().container_path.unwrap();
        !std::path::Path::new(&path).join("jobs").join(job.to_string()).exists()
    })
    .await;
}

#[tokio::test]
async fn two_links_of_a_running_job_get_the_same() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let job = warden.spawn(&handle, "until [ -e /tmp/go ]; do sleep 0.02; done; echo done; exit 4").await;
    let (one, two) = (warden.client.clone(), warden.client.clone());
    let (first, second) = (handle.clone(), handle.clone());
    let one = tokio::spawn(async move { one.link(&first, job).await.unwrap() });
    let two = tokio::spawn(async move { two.stream(&second, job, None).await.map(collect).unwrap().await });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    warden.say(&handle, "touch /tmp/go").await;
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert_eq!((one.exit_status, one.stdout.as_deref()), (Some(4), Some("done\n")));
    assert_eq!((two.status, two.stdout.as_str()), (4, "done\n"));
}

#[tokio::test]
async fn a_stream_follows_and_can_be_replayed() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let job = warden
        .spawn(&handle, "echo one; echo two >&2; until [ -e /tmp/go ]; do sleep 0.02; done; echo three")
        .await;
    let mut first = warden.client.stream(&handle, job, None).await.unwrap();
    let mut seen = 0;
    while seen < 8 {
        match first.next().await.unwrap().unwrap() {
            Output::Data { offset, .. } => seen = offset,
            Output::Exited { .. } => panic!("it runs"),
        }
    }
    drop(first);
    // The client that left keeps the job; a new one goes on where it was, another begins anew.
    let resumed = warden.client.stream(&handle, job, Some(5)).await.unwrap();
    let again = warden.client.stream(&handle, job, None).await.unwrap();
    let (resumed, again) = (tokio::spawn(collect(resumed)), tokio::spawn(collect(again)));
    warden.say(&handle, "touch /tmp/go").await;
    let expected = Done { stdout: "ne\nthree\n".into(), stderr: "two\n".into(), status: 0, offset: 14 };
    let resumed = resumed.await.unwrap();
    assert_eq!(resumed.offset, expected.offset);
    assert!(resumed.stdout.ends_with("three\n") && !resumed.stdout.contains("one"), "{resumed:?}");
    let again = again.await.unwrap();
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("one\nthree\n", "two\n"));
}

#[tokio::test]
async fn output_beyond_the_limit_kills_the_job() {
    let warden = Warden::start_with("", "job_output_limit = 100000").await;
    let handle = warden.container().await;
    let job = warden.spawn(&handle, "yes | head -c 10000000; sleep 1000").await;
    let response = warden.client.link(&handle, job).await.unwrap();
    assert_eq!(response.exit_status, Some(255));
    let length = response.stdout.unwrap().len();
    assert!((100_000..100_000 + 65_537).contains(&length), "{length}");
    assert_eq!(response.info.unwrap().events, ["command exceeded maximum output"]);

    let other = warden.container().await;
    let quiet = SpawnRequest { discard_output: Some(true), ..spawn(&other, "yes | head -c 10000000") };
    let job = warden.client.spawn(quiet).await.unwrap();
    let response = warden.client.link(&other, job).await.unwrap();
    assert_eq!((response.exit_status, response.stdout.as_deref()), (Some(0), Some("")));
    assert_eq!(warden.client.info(&other).await.unwrap().events, [""; 0]);
}

#[tokio::test]
async fn a_ring_keeps_the_newest_and_never_blocks() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let request =
        SpawnRequest { output_ring_bytes: Some(100_000), ..spawn(&handle, "seq 1000000; echo end") };
    let job = warden.client.spawn(request).await.unwrap();
    eventually("the job has ended", async || warden.client.info(&handle).await.unwrap().job_ids.is_empty())
        .await;
    let done = collect(warden.client.stream(&handle, job, None).await.unwrap()).await;
    assert_eq!((done.status, done.offset), (0, 6_888_896 + 4));
    assert!(done.stdout.ends_with("\n1000000\nend\n"), "the newest are kept");
    assert!((100_000..2_000_000).contains(&done.stdout.len()), "{}", done.stdout.len());
}

#[tokio::test]
async fn bytes_that_are_no_text_come_through_a_stream() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let job = warden.spawn(&handle, r"printf '\377\000\200'").await;
    let mut stream = warden.client.stream(&handle, job, None).await.unwrap();
    let Some(Output::Data { bytes, offset, .. }) = stream.next().await.unwrap() else { panic!("no data") };
    assert_eq!((&bytes[..], offset), (&b"\xff\0\x80"[..], 3));
    kill(&warden, &handle).await;
}

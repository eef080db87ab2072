//! Memory, disk, processor, processes.

use crate::scene::{Warden, eventually};
use warden_client::message::{CreateRequest, LimitDiskRequest};

#[tokio::test]
async fn out_of_memory_stops_the_container_and_is_told() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    assert_eq!(warden.client.limit_memory(&handle, None).await.unwrap(), 9_223_372_036_854_771_712);
    assert_eq!(warden.client.limit_memory(&handle, Some(96 << 20)).await.unwrap(), 96 << 20);
    assert_eq!(warden.client.limit_memory(&handle, Some(64 << 20)).await.unwrap(), 64 << 20);
    assert_eq!(warden.client.limit_memory(&handle, Some(128 << 20)).await.unwrap(), 128 << 20);
    assert_eq!(warden.client.limit_memory(&handle, Some(64 << 20)).await.unwrap(), 64 << 20);
    let done = warden.run(&handle, "head -c 20000000 /dev/zero | tail >/dev/null; echo $?").await;
    assert_eq!(done.stdout.as_deref(), Some("0\n"), "within the limit: {done:?}");
    // tail keeps the last lines, and this one never ends.
    let done = warden.run(&handle, "tail /dev/zero; echo survived").await;
    assert_eq!(done.info.unwrap().events, ["out of memory"]);
    eventually("the container is stopped", async || {
        let info = warden.client.info(&handle).await.unwrap();
        info.state.as_deref() == Some("stopped") && info.oom_kills >= Some(1)
    })
    .await;
}

#[tokio::test]
async fn shared_memory_counts_and_is_bounded() {
    let warden = Warden::start_with("", "shm_bytes = 8388608").await;
    let handle = warden.container().await;
    assert_eq!(warden.run(&handle, "head -c 4000000 /dev/zero > /dev/shm/a").await.exit_status, Some(0));
    assert_ne!(warden.run(&handle, "head -c 16000000 /dev/zero > /dev/shm/b").await.exit_status, Some(0));
}

#[tokio::test]
async fn disk_is_limited_in_both_directions() {
    let warden = Warden::start().await;
    let handle = warden.create(CreateRequest { disk_bytes: Some(8 << 20), ..Default::default() }).await;
    let other = warden.container().await;
    let write = |megabytes: u32| format!("head -c {} /dev/zero > /home/vcap/file && sync", megabytes << 20);
    assert_eq!(warden.client.limit_disk(&handle, None).await.unwrap(), 8 << 20);
    assert_eq!(warden.run(&handle, &write(6)).await.exit_status, Some(0));
    let refused = warden.run(&handle, &write(10)).await;
    assert!(refused.stderr.as_deref().is_some_and(|text| text.contains("No space left")), "{refused:?}");
    let root = warden_client::message::RunRequest {
        handle: handle.clone(),
        script: "head -c 12000000 /dev/zero > /root.file".into(),
        privileged: Some(true),
        ..Default::default()
    };
    assert_ne!(
        warden.client.run(root).await.unwrap().exit_status,
        Some(0),
        "root of the container is limited too"
    );
    assert_eq!(warden.run(&other, &write(10)).await.exit_status, Some(0), "another container is not");
    assert_eq!(warden.client.limit_disk(&handle, Some(64 << 20)).await.unwrap(), 64 << 20);
    assert_eq!(warden.run(&handle, &format!("rm -f /root.file; {}", write(40))).await.exit_status, Some(0));
    let used = warden.client.info(&handle).await.unwrap().disk_stat.unwrap().bytes_used.unwrap();
    assert!((40 << 20..60 << 20).contains(&used), "{used}");
    warden.client.limit_disk(&handle, Some(10 << 20)).await.unwrap();
    assert_ne!(warden.run(&handle, "head -c 1000000 /dev/zero > /home/vcap/more").await.exit_status, Some(0));
    let blocks = LimitDiskRequest {
        handle: handle.clone(),
        block_hard: Some(2048),
        byte: Some(1),
        ..Default::default()
    };
    assert_eq!(warden.client.call(blocks).await.unwrap().byte_limit, Some(2 << 20));
}

#[tokio::test]
async fn files_are_limited_in_number() {
    let warden =
        Warden::start_with("", "disk = { max_bytes = 268435456, default_bytes = 268435456, inodes = 4096 }")
            .await;
    let handle = warden.container().await;
    let done = warden
        .run(&handle, "mkdir /tmp/m; cd /tmp/m; for i in $(seq 10000); do : > $i || exit 9; done")
        .await;
    assert_eq!(done.exit_status, Some(9), "{done:?}");
    let count: u32 = warden.say(&handle, "ls /tmp/m | wc -l").await.parse().unwrap();
    assert!((3_000..5_000).contains(&count), "{count}");
}

#[tokio::test]
async fn processor_shares_are_set_and_read() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    assert_eq!(warden.client.limit_cpu(&handle, None).await.unwrap(), 1024);
    assert_eq!(warden.client.limit_cpu(&handle, Some(512)).await.unwrap(), 512);
    assert_eq!(warden.client.limit_cpu(&handle, None).await.unwrap(), 512);
    assert_eq!(warden.client.limit_cpu(&handle, Some(1)).await.unwrap(), 2);
}

#[tokio::test]
async fn processes_are_limited() {
    let warden = Warden::start_with("", "pids_limit = 40").await;
    let handle = warden.container().await;
    let script = "for i in $(seq 100); do sleep 100 & done; jobs -p | wc -l";
    let done =
        warden.run(&handle, &format!("({script}) 2>/dev/null; kill $(jobs -p) 2>/dev/null; exit 0")).await;
    let info = warden.client.info(&handle).await.unwrap();
    assert!(info.processes <= Some(40), "{info:?} {done:?}");
    warden.client.destroy(&handle).await.unwrap();
}

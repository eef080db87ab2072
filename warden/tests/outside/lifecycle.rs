//! Create, stop, destroy, info, list.

use crate::scene::{Warden, eventually, with_usr};
use std::fs;
use std::time::{Duration, Instant};
use warden_client::StopMode;
use warden_client::message::{BindMode, BindMount, CreateRequest};

#[tokio::test]
async fn a_container_is_made_used_and_leaves_nothing() {
    let mut warden = Warden::start().await;
    let before = warden.inventory();
    assert!(
        before.iter().any(|line| line.starts_with("rule"))
            && before.iter().any(|line| line.starts_with("cgroup"))
    );
    let handle = warden.container().await;
    assert_eq!(warden.client.list().await.unwrap(), std::slice::from_ref(&handle));
    assert_eq!(warden.say(&handle, "echo hello").await, "hello");
    let ports = warden.client.net_in(&handle, None, None).await.unwrap();
    warden.client.net_out(crate::network::to(&handle, "192.0.2.9", 80)).await.unwrap();
    let info = warden.client.info(&handle).await.unwrap();
    assert_eq!(info.state.as_deref(), Some("active"));
    assert_eq!(info.ports, [format!("{}:{}", ports.host_port, ports.container_port)]);
    assert!(info.memory_stat.unwrap().rss.is_some() && info.cpu_stat.unwrap().usage.unwrap() > 0);
    assert!(info.disk_stat.unwrap().bytes_used.unwrap() > 0 && info.processes >= Some(1));
    assert!(warden.inventory().len() > before.len());
    warden.client.destroy(&handle).await.unwrap();
    assert_eq!(warden.inventory(), before);
    let error = warden.client.destroy(&handle).await.unwrap_err();
    assert!(error.is_unknown_handle(), "{error}");
    warden.end();
    assert_eq!(warden.inventory(), [""; 0], "nothing of the platform is left when it has no container");
}

#[tokio::test]
async fn handles_are_any_text_and_unique() {
    let warden = Warden::start().await;
    let request = || with_usr(CreateRequest { handle: Some("Übung 1/../x".into()), ..Default::default() });
    let handle = warden.client.create(request()).await.unwrap();
    assert_eq!(handle, "Übung 1/../x");
    let error = warden.client.create(request()).await.unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    assert_eq!(warden.say(&handle, "echo $USER").await, "vcap");
    let error = warden.client.info("nobody").await.unwrap_err();
    assert_eq!(error.to_string(), "unknown handle: nobody");
}

#[tokio::test]
async fn a_create_that_fails_leaves_nothing() {
    let warden = Warden::start().await;
    let before = warden.inventory();
    let refused = async |request: CreateRequest| warden.client.create(request).await.unwrap_err().to_string();
    let missing = BindMount::new("/no/such/directory", "/mnt/x", BindMode::Ro);
    let error = refused(CreateRequest { bind_mounts: vec![missing], ..Default::default() }).await;
    assert!(error.contains("/no/such/directory does not exist"), "{error}");
    let error = refused(CreateRequest { rootfs: Some("/no/such/root".into()), ..Default::default() }).await;
    assert!(error.contains("/no/such/root"), "{error}");
    let error = refused(CreateRequest { network: Some("192.168.0.4".into()), ..Default::default() }).await;
    assert!(error.contains("192.168.0.4"), "{error}");
    let error = refused(CreateRequest { disk_bytes: Some(1 << 50), ..Default::default() }).await;
    assert!(error.contains("disk.max_bytes"), "{error}");
    // Refused late, in the middle of the build: an image that is no image.
    let bad = warden.path().join("bad.erofs");
    fs::write(&bad, "no image").unwrap();
    let error =
        refused(CreateRequest { rootfs: Some(bad.display().to_string()), ..Default::default() }).await;
    assert!(error.contains("cannot build the container"), "{error}");
    assert_eq!(warden.inventory(), before);
    assert_eq!(warden.client.list().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn the_network_that_was_asked_for_is_given() {
    let warden = Warden::start().await;
    let pool = format!("10.251.{}", std::process::id() % 240);
    let request = CreateRequest { network: Some(format!("{pool}.8")), ..Default::default() };
    let handle = warden.create(request.clone()).await;
    let info = warden.client.info(&handle).await.unwrap();
    assert_eq!(info.host_ip, Some(format!("{pool}.9")));
    assert_eq!(info.container_ip, Some(format!("{pool}.10")));
    let error = warden.client.create(with_usr(request)).await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
}

#[tokio::test]
async fn stop_asks_first() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let job = warden.spawn(&handle, "trap 'exit 37' TERM; echo ready; while :; do sleep 0.05; done").await;
    let mut stream = warden.client.stream(&handle, job, None).await.unwrap();
    stream.next().await.unwrap();
    let begun = Instant::now();
    warden.client.stop(&handle, StopMode::Background).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    let done = crate::scene::collect(stream).await;
    assert_eq!(done.status, 37);
    eventually("the container is stopped", async || {
        warden.client.info(&handle).await.unwrap().state.as_deref() == Some("stopped")
    })
    .await;
    let error = warden.client.net_in(&handle, None, None).await.unwrap_err();
    assert!(error.to_string().contains("Container state must be one of 'active'"), "{error}");
    warden.client.stop(&handle, StopMode::Graceful).await.unwrap();
}

#[tokio::test]
async fn stop_kills_what_does_not_listen() {
    let warden = Warden::start_with("", "stop_timeout = 1").await;
    let handle = warden.container().await;
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let job = warden.spawn(&handle, script).await;
    let mut stream = warden.client.stream(&handle, job, None).await.unwrap();
    stream.next().await.unwrap();
    let begun = Instant::now();
    warden.client.stop(&handle, StopMode::Graceful).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "it was asked first");
    assert_eq!(crate::scene::collect(stream).await.status, 255);

    let handle = warden.container().await;
    let job = warden.spawn(&handle, script).await;
    let begun = Instant::now();
    warden.client.stop(&handle, StopMode::Kill).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(warden.client.link(&handle, job).await.unwrap().exit_status, Some(255));
}

#[tokio::test]
async fn destroy_ends_a_run_with_a_status_and_info() {
    let warden = Warden::start().await;
    let handle = warden.container().await;
    let job = warden.spawn(&handle, "echo begun; sleep 1000").await;
    let (client, name) = (warden.client.clone(), handle.clone());
    let link = tokio::spawn(async move { client.link(&name, job).await });
    eventually("the job runs", async || {
        warden.client.info(&handle).await.unwrap().job_ids == [u64::from(job)]
    })
    .await;
    warden.client.destroy(&handle).await.unwrap();
    let response = link.await.unwrap().unwrap();
    assert_eq!(response.exit_status, Some(255));
    assert!(response.info.is_some());
}

#[tokio::test]
async fn a_container_without_references_is_destroyed_after_its_grace_time() {
    let warden = Warden::start().await;
    let handle = warden.create(CreateRequest { grace_time: Some(1), ..Default::default() }).await;
    // A call that lasts is a reference.
    assert_eq!(warden.say(&handle, "sleep 2; echo alive").await, "alive");
    eventually("the container is gone", async || warden.client.list().await.unwrap().is_empty()).await;
}

#[tokio::test]
async fn echo_and_unknown_requests_are_answered() {
    let warden = Warden::start().await;
    assert_eq!(warden.client.echo("text").await.unwrap(), "text");
    let error = warden.client.limit_bandwidth("x", 1, 1).await.unwrap_err();
    assert!(error.to_string().contains("not limited"), "{error}");
}

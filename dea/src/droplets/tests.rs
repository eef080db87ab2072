//! Against a real HTTP server of one's own.

use super::*;
use cupola_protocol::{
    AppId, Mebibytes, Version,
    dea::{Limits, default_partition},
};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const CONTENT: &[u8] = b"not really a droplet";

/// Answers every request with `status` and [`CONTENT`]; counts them.
async fn serve(status: &'static str) -> (String, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/droplet?signature=secret", listener.local_addr().unwrap());
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                CONTENT.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(CONTENT).await;
        }
    });
    (url, count)
}

fn message(url: &str, content: &[u8]) -> Start {
    Start {
        droplet: AppId::new("app"),
        name: "app".to_owned(),
        index: 0,
        version: Version::new("v"),
        uris: vec![],
        stack: "default".to_owned(),
        sha1: String::new(),
        sha256: Some(hex::encode(Sha256::digest(content))),
        executable_uri: url.to_owned(),
        services: vec![],
        limits: Limits { mem: Mebibytes(1), disk: Mebibytes(1), fds: 1 },
        cc_partition: default_partition(),
        env: vec![],
        start_command: None,
        health_check_timeout: None,
        health_check_type: None,
        health_check_http_endpoint: None,
        vcap_application: serde_json::Map::new(),
        egress_network_rules: vec![],
    }
}

fn store(directory: &Path, max: u64) -> Droplets {
    Droplets::open(directory.to_owned(), reqwest::Client::new(), Bytes(max)).unwrap()
}

#[tokio::test]
async fn ten_instances_share_one_fetch() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 1000);
    let (url, count) = serve("200 OK").await;
    let message = message(&url, CONTENT);
    let all = futures::future::join_all((0..10).map(|_| store.fetch(&message))).await;
    for droplet in &all {
        let file = droplet.as_ref().unwrap().directory().join(DROPLET_FILE);
        assert_eq!(fs::read(file).unwrap(), CONTENT);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let by_sha1 = Start { sha256: None, sha1: hex::encode(Sha1::digest(CONTENT)), ..message };
    store.fetch(&by_sha1).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_not_the_droplet_is_refused_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (url, count) = serve("200 OK").await;
    let other = message(&url, b"another droplet");
    let error = store(directory.path(), 1000).fetch(&other).await.unwrap_err();
    assert!(matches!(error, FetchError::Mismatch { .. }), "{error}");
    assert_eq!(count.load(Ordering::SeqCst), 1, "tried again in vain");
    let error = store(directory.path(), 5).fetch(&message(&url, CONTENT)).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge(_)), "{error}");
    let traversal = Start { sha256: Some("../".repeat(21) + "x"), ..message(&url, CONTENT) };
    let error = store(directory.path(), 1000).fetch(&traversal).await.unwrap_err();
    assert!(matches!(error, FetchError::NoDigest(_)), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn failures_that_may_pass_are_tried_again_and_keep_the_address_secret() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 1000);
    let (url, count) = serve("503 Service Unavailable").await;
    store.fetch(&message(&url, CONTENT)).await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), TRIES);
    let (url, count) = serve("403 Forbidden").await;
    store.fetch(&message(&url, CONTENT)).await.unwrap_err();
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let nobody = message("http://127.0.0.1:1/droplet?signature=secret", CONTENT);
    let error = store.fetch(&nobody).await.unwrap_err();
    let told = crate::instance::container::chain(&error);
    assert!(!told.contains("secret"), "{told}");
}

#[tokio::test]
async fn unused_droplets_are_collected_and_held_ones_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), 1000);
    let (url, _) = serve("200 OK").await;
    let held = store.fetch(&message(&url, CONTENT)).await.unwrap();
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    assert_eq!(store.collect(Bytes(0), day, now).unwrap(), 0);
    let file = held.directory().join(DROPLET_FILE);
    drop(held);
    assert_eq!(store.collect(Bytes(1000), day, now).unwrap(), 0);
    assert_eq!(store.collect(Bytes(1000), day, now + 2 * day).unwrap(), 1);
    assert!(!file.exists());
    store.fetch(&message(&url, CONTENT)).await.unwrap();
    assert_eq!(store.collect(Bytes(5), day, now).unwrap(), 1);
}

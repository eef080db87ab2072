//! Start, bus loss, restart, stop.

mod common;

use common::*;
use cupola_protocol::{
    logs::{self, LogLine, Source},
    message::Subject,
    router::{Greet, Start},
};
use std::{
    io::{Read, Write},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_told_with_what_to_do() {
    let rig = Rig::start().await;
    let data = tempfile::tempdir().unwrap();
    let config = router::Config { listen: rig.addr, ..config(&data) };
    let error = router::bind(config, bus(rig.nats.port).await).await.unwrap_err();
    let port = rig.addr.port();
    let text = error.to_string();
    assert!(text.starts_with(&format!("port {port} is taken")), "{text}");
    assert!(text.contains("cupola up --router-port N"), "{text}");
    let zero = router::Config { max_headers: 0, ..config_of(&data) };
    let error = router::bind(zero, bus(rig.nats.port).await).await.unwrap_err();
    assert!(error.to_string().contains("max_headers = 0"), "{error}");
}

fn config_of(data: &tempfile::TempDir) -> router::Config {
    config(data)
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_announce_themselves_and_answer_greetings() {
    let nats = Nats::start(0);
    let bus_handle = bus(nats.port).await;
    let mut starts = bus_handle.subscribe::<Start>().await.unwrap();
    bus_handle.flush().await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let server = router::bind(config(&data), bus(nats.port).await).await.unwrap();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(server.run(shutdown.clone()));
    let start = tokio::time::timeout(PATIENCE, starts.next()).await.unwrap().unwrap().message;
    assert_eq!((start.minimum_register_interval, start.prune_threshold), (20, Some(120)));
    let reply = bus_handle.request(&Subject::of::<Greet>(), &Greet {}, PATIENCE).await.unwrap();
    assert_eq!(reply, start);
    shutdown.cancel();
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_outlive_the_bus_and_the_router() {
    let mut rig = Rig::with(|config| {
        config.stale_threshold_seconds = 1;
        config.prune_interval_seconds = 1;
    })
    .await;
    let port = echo_backend("here");
    rig.register(port, "a-1", 0, &["app.test"]).await;
    rig.know(&["stopped.test"]).await;
    eventually("known", || rig.get("/", "stopped.test", "").0 == 503);
    // The bus goes: what nobody can register again stays, far beyond its time.
    let nats_port = rig.nats.port;
    rig.nats = Nats::start(0);
    std::thread::sleep(Duration::from_millis(3500));
    assert_eq!(rig.get("/", "app.test", "").0, 200);
    // The bus comes back, and with it the time to live.
    rig.nats = Nats::start(nats_port);
    eventually("the silent route is pruned", || rig.get("/", "app.test", "").0 == 404);
    // A router that starts again knows what the last one knew.
    rig.bus = bus(nats_port).await;
    rig.register(port, "a-1", 0, &["app.test"]).await;
    rig.shutdown.cancel();
    (&mut rig.task).await.unwrap().unwrap();
    let saved = std::fs::read_to_string(rig.data.path().join("router/routes.json")).unwrap();
    assert!(saved.contains("app.test"), "{saved}");
    let server = router::bind(config(&rig.data), bus(nats_port).await).await.unwrap();
    rig.addr = server.addr();
    rig.shutdown = CancellationToken::new();
    rig.task = tokio::spawn(server.run(rig.shutdown.clone()));
    assert_eq!(rig.get("/", "app.test", "").2, b"here");
    assert_eq!(rig.get("/", "stopped.test", "").0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_lets_requests_finish() {
    let mut rig = Rig::start().await;
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let (arrived, request) = std::sync::mpsc::channel::<()>();
    let port = backend(move |mut stream, _| {
        read_head(&mut stream);
        arrived.send(()).unwrap();
        let _ = wait.lock().unwrap().recv_timeout(PATIENCE);
        answer(&mut stream, "finished");
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let mut idle = rig.connect();
    let mut busy = rig.connect();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    request.recv_timeout(PATIENCE).unwrap();
    rig.shutdown.cancel();
    assert_eq!(idle.read(&mut [0; 8]).unwrap(), 0, "idle connections are closed at once");
    eventually("no new connections", || std::net::TcpStream::connect(rig.addr).is_err());
    go.send(()).unwrap();
    assert_eq!(read_response(&mut busy).2, b"finished");
    tokio::time::timeout(PATIENCE, &mut rig.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_ever() {
    let mut rig = Rig::with(|config| config.drain_seconds = 1).await;
    let held = std::sync::Mutex::new(Vec::new());
    let port = backend(move |stream, _| held.lock().unwrap().push(stream));
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let mut busy = rig.connect();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    assert_eq!(rig.get("/", "none.test", "").0, 404);
    rig.shutdown.cancel();
    tokio::time::timeout(PATIENCE, &mut rig.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_told_to_the_access_log_and_to_the_app() {
    let rig = Rig::with(|config| {
        config.access_log = Some(config.data_dir.join("access.log"));
        config.app_log_lines_per_second = 2;
    })
    .await;
    let mut lines = rig.bus.subscribe_to::<LogLine>(&logs::subject(&"app-a".into())).await.unwrap();
    rig.bus.flush().await.unwrap();
    let port = echo_backend("12345");
    rig.register(port, "a-1", 0, &["app.test"]).await;
    for number in 0..8 {
        rig.get(&format!("/{number}"), "app.test", "User-Agent: test \"agent\"\r\n");
    }
    let line = tokio::time::timeout(PATIENCE, lines.next()).await.unwrap().unwrap().message;
    assert_eq!((line.source_type, line.instance_id.as_str()), (Source::Router, "0"));
    assert!(
        line.message.contains("\"GET /0 HTTP/1.1\" 200 0 5 \"-\" \"test \\\"agent\\\"\""),
        "{}",
        line.message
    );
    loop {
        let line = tokio::time::timeout(PATIENCE, lines.next()).await.unwrap().unwrap().message;
        if line.message.contains("access log lines left out") {
            break;
        }
    }
    let path = rig.data.path().join("router/access.log");
    eventually("the file has all lines", || {
        std::fs::read_to_string(&path).unwrap_or_default().matches("app_id:\"app-a\"").count() == 8
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn load_balancers_get_their_answer_on_any_host() {
    let rig = Rig::start().await;
    let (status, _, body) = rig.get("/", "whatever.test", "User-Agent: HTTP-Monitor/1.1\r\n");
    assert_eq!((status, body.as_slice()), (200, b"ok\n".as_slice()));
}

//! What the router counts, and that its status page answers under load and while it stops.

mod common;

use common::{PATIENCE, Rig, answer, backend, echo_backend, eventually, read_head, read_response};
use cupola_status::Snapshot;
use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
};

const REQUESTS: &str = "cupola_router_requests_total";

/// One page of the status page: status and body.
fn page(status: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(status).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: status\r\nConnection: close\r\n\r\n").unwrap();
    let (status, _, body) = read_response(&mut stream);
    (status, String::from_utf8(body).unwrap())
}

fn figures(rig: &Rig) -> Snapshot {
    let (status, body) = page(rig.status, "/metrics");
    assert_eq!(status, 200, "{body}");
    Snapshot::parse(&body)
}

/// Waits until a figure has grown by `more`.
fn grew(rig: &Rig, before: &Snapshot, name: &str, labels: &[(&str, &str)], more: f64) {
    let was = before.value(name, labels).unwrap_or_else(|| panic!("{name} is not served"));
    eventually(&format!("{name}{labels:?} grows by {more} from {was}"), || {
        figures(rig).value(name, labels) == Some(was + more)
    });
}

async fn rig() -> Rig {
    Rig::with(|config| config.status.open_metrics = true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_is_counted_by_its_class_and_by_who_gave_it() {
    let rig = rig().await;
    rig.register(echo_backend("12345"), "a-1", 0, &["app.test", "app.test/path"]).await;
    rig.register(common::free_port(), "b-1", 0, &["broken.test"]).await;
    rig.know(&["stopped.test"]).await;
    eventually("known", || rig.get("/", "stopped.test", "").0 == 503);
    eventually("the page has forgotten its last answer", || {
        figures(&rig).value("cupola_router_routes", &[]) == Some(3.0)
    });
    let before = figures(&rig);
    assert_eq!(before.value("cupola_router_endpoints", &[]), Some(2.0));
    for _ in 0..3 {
        assert_eq!(rig.get("/", "app.test", "").0, 200);
    }
    assert_eq!(rig.get("/", "nowhere.test", "").0, 404);
    assert_eq!(rig.get("/", "stopped.test", "").0, 503);
    assert_eq!(rig.get("/", "broken.test", "").0, 502);
    assert!(rig.raw(b"NONSENSE\r\n\r\n").starts_with("HTTP/1.1 400"));
    grew(&rig, &before, REQUESTS, &[("class", "2xx")], 3.0);
    grew(&rig, &before, REQUESTS, &[("class", "4xx")], 1.0);
    grew(&rig, &before, REQUESTS, &[("class", "5xx")], 2.0);
    for status in ["404", "502", "503"] {
        grew(&rig, &before, "cupola_router_own_answers_total", &[("status", status)], 1.0);
    }
    grew(&rig, &before, "cupola_router_bad_requests_total", &[], 1.0);
    grew(&rig, &before, "cupola_router_request_seconds_count", &[], 6.0);
    let failures = "cupola_router_endpoint_failures_total";
    assert!(figures(&rig).value(failures, &[]) > before.value(failures, &[]));
    let open = rig.connect();
    eventually("an open connection is counted", || {
        figures(&rig).value("cupola_router_open_connections", &[]) == Some(1.0)
    });
    drop(open);
    eventually("a closed one is not", || {
        figures(&rig).value("cupola_router_open_connections", &[]) == Some(0.0)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_answers_under_load_and_no_request_goes_uncounted() {
    const CLIENTS: usize = 4;
    const EACH: usize = 500;
    let rig = rig().await;
    rig.register(echo_backend("12345"), "a-1", 0, &["app.test"]).await;
    let before = figures(&rig);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut stream = rig.connect();
                for _ in 0..EACH {
                    stream.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
                    assert_eq!(read_response(&mut stream).2, b"12345");
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(page(rig.status, "/healthz"), (200, "ok\n".to_owned()));
            figures(&rig);
        }
    });
    grew(&rig, &before, REQUESTS, &[("class", "2xx")], (CLIENTS * EACH) as f64);
    grew(&rig, &before, "cupola_router_request_seconds_count", &[], (CLIENTS * EACH) as f64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_stops_says_so_until_its_last_request_is_over() {
    let mut rig = rig().await;
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
    let mut busy = rig.connect();
    busy.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    request.recv_timeout(PATIENCE).unwrap();
    rig.shutdown.cancel();
    eventually("it says that it stops", || {
        let (status, body) = page(rig.status, "/healthz");
        status == 503 && body.contains("it is stopping")
    });
    go.send(()).unwrap();
    assert_eq!(read_response(&mut busy).2, b"finished");
    tokio::time::timeout(PATIENCE, &mut rig.task).await.unwrap().unwrap().unwrap();
    eventually("the page ends with the router", || TcpStream::connect(rig.status).is_err());
}

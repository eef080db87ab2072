//! What two parsers could read differently never reaches an app, and is never answered twice.

mod common;

use common::*;
use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
};

/// A backend that notes every byte it gets and answers each head.
fn recorder() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = seen.clone();
    let port = backend(move |mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            record.lock().unwrap().extend_from_slice(head.as_bytes());
            if let Some(length) = header(&head, "content-length") {
                let mut body = vec![0; length.parse().unwrap()];
                stream.read_exact(&mut body).unwrap();
                record.lock().unwrap().extend_from_slice(&body);
            } else if header(&head, "transfer-encoding").is_some() {
                let body = read_chunks(&mut stream);
                record.lock().unwrap().extend_from_slice(&body);
            }
            answer(&mut stream, "ok");
        }
    });
    (port, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_requests_are_refused_and_closed() {
    let rig = Rig::start().await;
    let (port, seen) = recorder();
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n";
    let cases = [
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nX: y\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: app.test\r\nX: y\rContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: app.test\r\nX: \0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\nHost: other.test\r\n\r\n",
        "GET / HTTP/1.1\nHost: app.test\n\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 4\r\n\r\nabcd",
        "GET http://other.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ];
    for case in cases {
        let answer = rig.raw(format!("{case}{smuggled}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{case:?}: {answer}");
        assert_eq!(
            answer.matches("X-Vcap-Request-Id").count(),
            1,
            "{case:?}: answered once, then closed: {answer}"
        );
    }
    assert!(seen.lock().unwrap().is_empty(), "not a byte reached the app");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_none_end_the_connection() {
    let rig = Rig::start().await;
    let (port, seen) = recorder();
    rig.register(port, "a-1", 0, &["app.test"]).await;
    for body in
        ["5\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "0\r\n bad\r\n\r\n"]
    {
        let answer = rig.raw(
            format!(
                "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}\
                 GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n"
            )
            .as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{body:?}: {answer}");
        assert_eq!(answer.matches("X-Vcap-Request-Id").count(), 1, "{body:?}: {answer}");
    }
    assert!(!String::from_utf8_lossy(&seen.lock().unwrap()).contains("smuggled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forwarded_is_written_anew() {
    let rig = Rig::start().await;
    let (port, seen) = recorder();
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let answer = rig.raw(
        b"POST /a HTTP/1.1\r\nhost:app.test\r\nCONNECTION: close, x-hop\r\nX-Hop: 1\r\nContent_Length: 3\r\n\
          transfer-encoding: Chunked\r\n\r\n3;evil=\"\xff\"\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let seen = String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    assert!(
        seen.starts_with("POST /a HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n"),
        "{seen}"
    );
    assert!(seen.ends_with("\r\n\r\nabc"), "{seen}");
    for gone in ["Hop", "evil", "Length", "CONNECTION"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_head_is_431_and_from_an_app_502() {
    let rig = Rig::with(|config| {
        config.max_head_bytes = 4096;
        config.max_headers = 20;
    })
    .await;
    let port = backend(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            let lines = match head.split(' ').nth(1).unwrap() {
                "/many" => "A: b\r\n".repeat(30),
                "/long" => format!("A: {}\r\n", "b".repeat(5000)),
                "/two" => "Content-Length: 3\r\n".to_owned(),
                _ => "A: b\r\nTransfer-Encoding: chunked\r\n".to_owned(),
            };
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok");
        }
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    for path in ["/many", "/long", "/two", "/both"] {
        assert_eq!(rig.get(path, "app.test", "").0, 502, "{path}");
    }
    assert_eq!(rig.get("/", "app.test", &"A: b\r\n".repeat(30)).0, 431);
    assert_eq!(rig.get("/", "app.test", &format!("A: {}\r\n", "b".repeat(5000))).0, 431);
    let endless = rig.raw(format!("GET /{}", "a".repeat(6000)).as_bytes());
    assert!(endless.starts_with("HTTP/1.1 431 "), "{endless}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_asked_for_reaches_nobody() {
    let rig = Rig::start().await;
    // Sends a second answer along with the first: it must not become the answer of the next request.
    let port = backend(|mut stream, number| {
        while read_head(&mut stream).is_some() {
            let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
            // In one piece: what came only after the next request would be its answer, to everybody who looks.
            let both = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}{poison}", number % 10);
            let _ = stream.write_all(both.as_bytes());
        }
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    for number in 0..4 {
        let (status, _, body) = rig.get("/", "app.test", "");
        assert_eq!((status, body), (200, number.to_string().into_bytes()), "each on a connection of its own");
    }
}

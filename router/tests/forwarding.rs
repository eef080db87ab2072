//! Requests through a real router on a real bus.

mod common;

use common::*;
use std::{
    io::{Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_reaches_its_app_with_what_the_router_knows() {
    let rig = Rig::with(|config| config.forwarded = router::Forwarded::Append).await;
    let (seen, heads) = mpsc::channel();
    let port = backend(move |mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            seen.send(head).unwrap();
            answer(&mut stream, "hello");
        }
    });
    rig.register(port, "a-1", 3, &["app.test", "app.test/admin"]).await;
    let (status, head, body) = rig.get("/x?y=z", "App.Test:8080", "X-Forwarded-For: 192.0.2.1\r\n");
    assert_eq!((status, body.as_slice()), (200, b"hello".as_slice()));
    let seen = heads.recv_timeout(PATIENCE).unwrap();
    assert!(seen.starts_with("GET /x?y=z HTTP/1.1\r\nHost: App.Test:8080\r\n"), "{seen}");
    assert_eq!(header(&seen, "x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(header(&seen, "x-cf-instanceindex"), Some("3"));
    assert_eq!(header(&seen, "x-cf-instanceid"), Some("a-1"));
    assert_eq!(header(&seen, "x-cf-applicationid"), Some("app-a"));
    let id = header(&head, "x-vcap-request-id").unwrap();
    assert_eq!(header(&seen, "x-vcap-request-id"), Some(id));
    assert_eq!(id.len(), 36);
    let (_, head, _) = rig.get("/", "app.test", "X-Vcap-Request-Id: my-own-id-1\r\n");
    assert_eq!(header(&head, "x-vcap-request-id"), Some("my-own-id-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_routes_missing_endpoints_and_failing_endpoints_are_told_apart() {
    let rig = Rig::start().await;
    let told = |host: &str| {
        let (status, head, body) = rig.get("/", host, "");
        let mark = header(&head, "x-cf-routererror").unwrap_or_default().to_owned();
        (status, mark, String::from_utf8(body).unwrap())
    };
    let (status, mark, body) = told("nothing.test");
    assert_eq!((status, mark.as_str()), (404, "unknown_route"));
    assert_eq!(body, "404 Not Found: Requested route ('nothing.test') does not exist.\n");
    rig.know(&["stopped.test"]).await;
    eventually("the known route is known", || told("stopped.test").0 == 503);
    assert_eq!(told("stopped.test").1, "no_endpoints");
    rig.register(free_port(), "dead-1", 0, &["dead.test"]).await;
    let (status, mark, _) = told("dead.test");
    assert_eq!((status, mark.as_str()), (502, "endpoint_failure"));
    assert_eq!(told("").1, "empty_host");
    assert_eq!(rig.raw(b"GET / HTTP/1.0\r\n\r\n").split("\r\n").next(), Some("HTTP/1.1 400 Bad Request"));
    let garbage = backend(|mut stream, _| {
        read_head(&mut stream);
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9\r\n\r\n");
    });
    rig.register(garbage, "ssh-1", 0, &["ssh.test"]).await;
    assert_eq!(told("ssh.test").0, 502);
    // An unregistered route is gone at once.
    rig.unregister(garbage, "ssh-1", &["ssh.test"]).await;
    eventually("the route is gone", || told("ssh.test").0 == 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_carries_many_requests_on_both_sides() {
    let rig = Rig::start().await;
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let port = backend(move |mut stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        while read_head(&mut stream).is_some() {
            answer(&mut stream, "again");
        }
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let mut stream = rig.connect();
    for _ in 0..5 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
        assert_eq!(read_response(&mut stream).2, b"again");
    }
    // Two requests in one segment are answered in turn.
    let two = "GET / HTTP/1.1\r\nHost: app.test\r\n\r\n".repeat(2);
    stream.write_all(two.as_bytes()).unwrap();
    assert_eq!(read_response(&mut stream).2, b"again");
    assert_eq!(read_response(&mut stream).2, b"again");
    // HTTP/1.0 is closed after its answer.
    let old = rig.raw(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n");
    assert!(old.ends_with("again") && old.contains("Connection: close"), "{old}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways() {
    let rig = Rig::start().await;
    // Answers each chunk before it gets the next: works only if nothing on the way waits for the end.
    let port = backend(|mut stream, _| {
        let head = read_head(&mut stream).unwrap();
        assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
        write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let mut buffer = [0; 1024];
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            let read = stream.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..read]);
            write!(stream, "3\r\nack\r\n").unwrap();
        }
        write!(stream, "0\r\nTrailer-Line: dropped\r\n\r\n").unwrap();
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let mut stream = rig.connect();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    stream.write_all(b"4;ext=1\r\nping\r\n").unwrap();
    let head = read_head(&mut stream).unwrap();
    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
    let mut ack = [0; 8];
    stream.read_exact(&mut ack).unwrap();
    assert_eq!(&ack, b"3\r\nack\r\n");
    stream.write_all(b"0\r\nX: y\r\n\r\n").unwrap();
    let rest = read_chunks(&mut stream);
    assert!(rest.starts_with(b"ack"), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_arrive_whole_and_a_slow_client_slows_the_app() {
    const SIZE: usize = 8 * 1024 * 1024;
    let rig = Rig::start().await;
    let written = Arc::new(AtomicUsize::new(0));
    let counted = written.clone();
    let port = backend(move |mut stream, _| {
        let head = read_head(&mut stream).unwrap();
        let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        assert!(body.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
        // No length: the end of the connection is the end of the body.
        write!(stream, "HTTP/1.1 200 OK\r\n\r\n").unwrap();
        for piece in body.chunks(64 * 1024) {
            stream.write_all(piece).unwrap();
            counted.fetch_add(piece.len(), Ordering::SeqCst);
        }
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let body: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let mut stream = rig.connect();
    write!(stream, "PUT / HTTP/1.1\r\nHost: app.test\r\nContent-Length: {SIZE}\r\n\r\n").unwrap();
    stream.write_all(&body).unwrap();
    // Nobody reads: what is on the way is bounded by socket buffers, so the app cannot finish.
    eventually("the app has begun to answer", || written.load(Ordering::SeqCst) > 0);
    let mut last = 0;
    eventually("the app is held up", || {
        let now = written.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(200));
        let held = now == last;
        last = now;
        held
    });
    let (status, _, got) = read_response(&mut stream);
    assert_eq!(status, 200);
    assert!(got == body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_body_has_none() {
    let rig = Rig::start().await;
    let port = backend(|mut stream, _| {
        while let Some(head) = read_head(&mut stream) {
            let answer = match head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n",
                "/103" => {
                    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                }
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let mut stream = rig.connect();
    let mut ask = |method: &str, path: &str| {
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
        read_head(&mut stream).unwrap()
    };
    assert_eq!(header(&ask("HEAD", "/"), "content-length"), Some("1000"));
    assert_eq!(header(&ask("GET", "/204"), "content-length"), None);
    assert_eq!(header(&ask("GET", "/304"), "content-length"), Some("9"));
    assert!(ask("GET", "/103").starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"));
    assert_eq!(read_response(&mut stream).2, b"ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_continue_is_passed_through() {
    let rig = Rig::start().await;
    let port = backend(|mut stream, _| {
        let head = read_head(&mut stream).unwrap();
        assert_eq!(header(&head, "expect"), Some("100-continue"));
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        answer(&mut stream, std::str::from_utf8(&body).unwrap());
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let mut stream = rig.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut stream).unwrap().starts_with("HTTP/1.1 100 Continue"));
    stream.write_all(b"body").unwrap();
    assert_eq!(read_response(&mut stream).2, b"body");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let rig = Rig::start().await;
    let port = backend(|mut stream, _| {
        read_head(&mut stream);
        let _ =
            stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        // Stays open until the router closes, without reading.
        std::thread::sleep(Duration::from_millis(500));
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let mut stream = rig.connect();
    write!(stream, "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100000000\r\n\r\n").unwrap();
    stream.write_all(&[0; 1024]).unwrap();
    let (status, head, body) = read_response(&mut stream);
    assert_eq!((status, body.as_slice()), (413, b"big".as_slice()));
    assert_eq!(header(&head, "connection"), Some("close"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_a_tunnel_only_after_its_101() {
    let rig = Rig::start().await;
    let port = backend(|mut stream, _| {
        let head = read_head(&mut stream).unwrap();
        assert_eq!(header(&head, "upgrade"), Some("websocket"));
        match head.split(' ').nth(1).unwrap() {
            "/ok" => {
                stream
                    .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
                    .unwrap();
                let mut buffer = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..read]).unwrap();
                }
            }
            "/other" => {
                let _ = stream.write_all(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
            }
            _ => {
                let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest);
                assert!(rest.is_empty(), "bytes after a refused upgrade reached the app: {rest:?}");
            }
        }
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let ask = |path: &str, more: &[u8]| {
        let mut stream = rig.connect();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        .unwrap();
        stream.write_all(more).unwrap();
        stream
    };
    let mut stream = ask("/ok", b"");
    assert!(read_head(&mut stream).unwrap().starts_with("HTTP/1.1 101 "));
    let mut first = [0; 5];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first");
    for _ in 0..3 {
        stream.write_all(b"ping!").unwrap();
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"ping!");
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut first).unwrap(), 0, "an end on one side ends the other");
    assert_eq!(read_response(&mut ask("/other", b"")).0, 502);
    let mut refused = ask("/refused", b"GET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n");
    assert_eq!(read_response(&mut refused).0, 403);
    let mut rest = Vec::new();
    let _ = refused.read_to_end(&mut rest);
    assert!(rest.is_empty(), "nothing is answered after a refused upgrade");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_repeated_only_when_that_is_safe() {
    let rig = Rig::start().await;
    // Closes each connection after its first answer, without having said so.
    let flaky = Arc::new(AtomicUsize::new(0));
    let counted = flaky.clone();
    let port = backend(move |mut stream, _| {
        read_head(&mut stream);
        answer(&mut stream, "once");
        // The second request on this connection is read, and never answered.
        if read_head(&mut stream).is_some() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    assert_eq!(rig.get("/", "app.test", "").0, 200);
    assert_eq!(rig.get("/", "app.test", "").0, 200, "a GET on a connection that died goes to a new one");
    assert_eq!(flaky.load(Ordering::SeqCst), 1);
    let mut stream = rig.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")
        .unwrap();
    assert_eq!(read_response(&mut stream).0, 502, "a POST that the app may have seen is not sent twice");
    assert_eq!(flaky.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_endpoints_are_passed_over_for_every_method() {
    let rig = Rig::start().await;
    let alive = echo_backend("alive");
    for number in 0..4 {
        rig.register(free_port(), &format!("a-{number}"), number, &["app.test"]).await;
    }
    rig.register(alive, "a-9", 9, &["app.test"]).await;
    for _ in 0..6 {
        let mut stream = rig.connect();
        stream
            .write_all(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        assert_eq!(read_response(&mut stream).2, b"alive");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_instances_are_found_again() {
    let rig = Rig::start().await;
    let serve = |name: &'static str| {
        backend(move |mut stream, _| {
            while read_head(&mut stream).is_some() {
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=s; Secure\r\nContent-Length: {}\r\n\r\n{name}",
                    name.len()
                );
            }
        })
    };
    let ports = [serve("zero"), serve("one"), serve("two")];
    for (index, port) in ports.iter().enumerate() {
        rig.register(*port, &format!("a-{index}"), index as u32, &["app.test"]).await;
    }
    let mut seen: Vec<Vec<u8>> = (0..3).map(|_| rig.get("/", "app.test", "").2).collect();
    seen.sort();
    assert_eq!(seen, [b"one".to_vec(), b"two".to_vec(), b"zero".to_vec()], "in turn");
    for _ in 0..4 {
        let (_, head, body) = rig.get("/", "app.test", "Cookie: JSESSIONID=s; __VCAP_ID__=a-1\r\n");
        assert_eq!(body, b"one");
        assert!(head.contains("Set-Cookie: __VCAP_ID__=a-1; Path=/; HttpOnly; Secure\r\n"), "{head}");
        assert_eq!(rig.get("/", "app.test", "X-CF-App-Instance: app-a:2\r\n").2, b"two");
    }
    let told = |value: &str| {
        let (status, head, _) = rig.get("/", "app.test", &format!("X-CF-App-Instance: {value}\r\n"));
        (status, header(&head, "x-cf-routererror").map(str::to_owned))
    };
    assert_eq!(told("app-a:7"), (400, Some("unknown_route".to_owned())));
    assert_eq!(told("nonsense"), (400, Some("invalid_cf_app_instance_header".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_has_its_limits() {
    let rig = Rig::with(|config| {
        config.head_timeout_seconds = 1;
        config.answer_timeout_seconds = 1;
        config.stall_seconds = 1;
        config.client_idle_seconds = 1;
    })
    .await;
    let held = Mutex::new(Vec::new());
    let port = backend(move |stream, _| held.lock().unwrap().push(stream));
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let begun = Instant::now();
    // A head that trickles.
    let mut slow = rig.connect();
    slow.write_all(b"GET / HT").unwrap();
    // A body that stops.
    let mut stopped = rig.connect();
    stopped.write_all(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 9\r\n\r\nx").unwrap();
    // A client that says nothing.
    let mut idle = rig.connect();
    assert_eq!(read_response(&mut slow).0, 408);
    assert_eq!(read_response(&mut stopped).0, 408);
    assert_eq!(idle.read(&mut [0; 8]).unwrap(), 0);
    // An app that says nothing.
    let (status, _, body) = rig.get("/", "app.test", "");
    assert_eq!(status, 502);
    assert!(String::from_utf8(body).unwrap().contains("no answer within 1 s"));
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_the_app() {
    let rig = Rig::start().await;
    let (left, seen) = mpsc::channel();
    let port = backend(move |mut stream, _| {
        read_head(&mut stream);
        left.send(stream.read(&mut [0; 8]).unwrap_or(9)).unwrap();
    });
    rig.register(port, "a-1", 0, &["app.test"]).await;
    let mut stream = rig.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
    drop(stream);
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(0), "the app's connection ends");
}

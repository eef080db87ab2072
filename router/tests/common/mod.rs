//! A real nats-server, a real router, and backends on real sockets.

#![allow(dead_code, reason = "each test binary uses its part")]

use cupola_bus::Bus;
use cupola_protocol::router::{KnownRoutes, Register, Unregister};
use router::{Config, Server};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// How long anything may take here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A nats-server that ends with its owner.
pub(crate) struct Nats {
    child: Child,
    pub(crate) port: u16,
}

impl Nats {
    /// Starts one; `port` 0 takes any free port.
    pub(crate) fn start(port: u16) -> Self {
        let port = if port == 0 { free_port() } else { port };
        let child = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server starts: apt-get install nats-server");
        eventually("nats-server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { child, port }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Polls until it is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A router on a bus.
pub(crate) struct Rig {
    pub(crate) nats: Nats,
    pub(crate) bus: Bus,
    pub(crate) addr: SocketAddr,
    pub(crate) status: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: tokio::task::JoinHandle<Result<(), router::Error>>,
    pub(crate) data: tempfile::TempDir,
}

/// A connection to the bus on this port.
pub(crate) async fn bus(port: u16) -> Bus {
    let config =
        cupola_bus::Config { servers: vec![format!("nats://127.0.0.1:{port}")], ..Default::default() };
    Bus::connect(&config, "test").await.unwrap()
}

/// A configuration for tests: any port, a folder of its own.
pub(crate) fn config(data: &tempfile::TempDir) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: data.path().join("router"),
        drain_seconds: 5,
        ..Config::default()
    }
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts a router whose configuration `change` has changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let nats = Nats::start(0);
        let data = tempfile::tempdir().unwrap();
        let mut config = config(&data);
        change(&mut config);
        let server: Server = router::bind(config, bus(nats.port).await).await.unwrap();
        let (addr, status) = (server.addr(), server.status_addr());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.run(shutdown.clone()));
        let bus = bus(nats.port).await;
        Self { nats, bus, addr, status, shutdown, task, data }
    }

    /// Registers `uris` at a local port and waits until the router has them.
    pub(crate) async fn register(&self, port: u16, instance: &str, index: u32, uris: &[&str]) {
        let registration = registration(port, instance, index, uris);
        self.bus.publish(&registration).await.unwrap();
        self.bus.flush().await.unwrap();
        for uri in uris {
            let (host, path) = uri.split_once('/').unwrap_or((uri, ""));
            let target = format!("app-{}:{index}", instance.split('-').next().unwrap());
            eventually("the route is there", || {
                // An index that does not exist tells whether the instance is known, and disturbs no backend.
                let status =
                    self.get(&format!("/{path}"), host, &format!("X-CF-App-Instance: {target}9999\r\n")).0;
                status == 400
            });
        }
    }

    pub(crate) async fn unregister(&self, port: u16, instance: &str, uris: &[&str]) {
        self.bus.publish(&Unregister(registration(port, instance, 0, uris))).await.unwrap();
        self.bus.flush().await.unwrap();
    }

    pub(crate) async fn know(&self, uris: &[&str]) {
        self.bus
            .publish(&KnownRoutes { uris: uris.iter().map(|uri| (*uri).to_owned()).collect() })
            .await
            .unwrap();
        self.bus.flush().await.unwrap();
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request and closes: status, head, body.
    pub(crate) fn get(&self, target: &str, host: &str, lines: &str) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n").unwrap();
        read_response(&mut stream)
    }

    /// Sends bytes as they are; everything that comes back until the router closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A registration of an instance of the app `app-<instance up to its first dash>`.
pub(crate) fn registration(port: u16, instance: &str, index: u32, uris: &[&str]) -> Register {
    Register {
        host: "127.0.0.1".to_owned(),
        port,
        uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        tags: Default::default(),
        app: Some(format!("app-{}", instance.split('-').next().unwrap()).into()),
        dea: None,
        private_instance_id: Some(instance.into()),
        private_instance_index: Some(index.to_string()),
        stale_threshold_in_seconds: None,
    }
}

/// Runs a backend: `serve` gets each connection, with its number from 0.
pub(crate) fn backend(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = std::sync::Arc::new(serve);
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let serve = serve.clone();
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            std::thread::spawn(move || serve(stream, number));
        }
    });
    port
}

/// A backend that answers every request with `text` on connections that live on.
pub(crate) fn echo_backend(text: &'static str) -> u16 {
    backend(move |mut stream, _| {
        while let Some(_head) = read_head(&mut stream) {
            answer(&mut stream, text);
        }
    })
}

/// Writes a 200 with a length.
pub(crate) fn answer(stream: &mut TcpStream, body: &str) {
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

/// Reads up to the empty line; `None` when the connection ends before.
pub(crate) fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// The value of a header.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (own, value) = line.split_once(": ")?;
        own.eq_ignore_ascii_case(name).then_some(value)
    })
}

/// Reads chunks; the body without its coding.
pub(crate) fn read_chunks(stream: &mut TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Reads an answer: status, head, body.
pub(crate) fn read_response(stream: &mut TcpStream) -> (u16, String, Vec<u8>) {
    let head = read_head(stream).expect("an answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if header(&head, "transfer-encoding").is_some() {
        read_chunks(stream)
    } else if let Some(length) = header(&head, "content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        body
    } else {
        let mut body = Vec::new();
        let _ = stream.read_to_end(&mut body);
        body
    };
    (status, head, body)
}

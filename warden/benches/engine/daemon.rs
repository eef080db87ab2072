//! A daemon for the bench, and the plainest client that there can be: one connection, kept, without a runtime.

use bytes::BytesMut;
use cupola_protocol::warden::{
    CreateRequest, DestroyRequest, Envelope, ErrorResponse, GRACE_NEVER, Limits, Request, RunRequest,
    RunResponse, SpawnRequest, Type, frame,
};
use prost::Message;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running daemon.
pub(crate) struct Daemon {
    process: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Starts one with all its data in `directory`.
    pub(crate) fn start(directory: &Path, init: &Path) -> Daemon {
        let socket = directory.join("warden.sock");
        let config = format!(
            "socket = {socket:?}\ndata_dir = {:?}\nrootfs = {:?}\ninstance = \"bench\"\ninit = {init:?}\n\
             grace_time = {GRACE_NEVER}\nports = {{ start = 40000, count = 2000 }}\n\
             uids = {{ start = 1200000000, count = 2048 }}\n[network]\npool = \"10.247.0.0/18\"\n",
            directory.join("data"),
            directory.join("root"),
        );
        let file = directory.join("warden.toml");
        fs::write(&file, config).expect("write the daemon's configuration");
        let log = File::create(directory.join("warden.log")).expect("make the daemon's log");
        let process = Command::new(env!("CARGO_BIN_EXE_warden"))
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start the daemon");
        let daemon = Daemon { process, socket };
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(&daemon.socket).is_err() {
            let log = fs::read_to_string(directory.join("warden.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "the daemon does not answer: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        daemon
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).expect("connect to the daemon");
        Client { stream, buffer: BytesMut::new() }
    }

    /// Resident memory of the daemon, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    /// The number of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.process.id() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
    }
}

/// A connection.
pub(crate) struct Client {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Client {
    /// Sends a request and waits for its answer.
    pub(crate) fn call<R: Request>(&mut self, request: &R) -> R::Response {
        let mut out = BytesMut::new();
        frame::encode(&Envelope::new(R::TYPE, request), &mut out);
        self.stream.write_all(&out).expect("send a request");
        let envelope = loop {
            if let Some(envelope) = frame::decode(&mut self.buffer).expect("read a frame") {
                break envelope;
            }
            let mut chunk = [0; 16 * 1024];
            let length = self.stream.read(&mut chunk).expect("read an answer");
            assert!(length > 0, "the daemon has closed the connection");
            self.buffer.extend_from_slice(&chunk[..length]);
        };
        if envelope.kind() == Ok(Type::Error) {
            let error = ErrorResponse::decode(envelope.payload).expect("an error has a text");
            panic!("{:?} refused: {}", R::TYPE, error.message.unwrap_or_default());
        }
        R::Response::decode(envelope.payload).expect("read an answer")
    }

    /// Makes a container; gives its handle.
    pub(crate) fn create(&mut self, request: &CreateRequest) -> String {
        self.call(request).handle
    }

    /// Runs a program to its end.
    pub(crate) fn run(&mut self, handle: &str, program: &str) -> RunResponse {
        let (handle, argv) = (handle.to_owned(), vec![program.to_owned()]);
        let dir = Some("/".to_owned());
        let done =
            self.call(&RunRequest { handle, argv, dir, privileged: Some(true), ..RunRequest::default() });
        assert_eq!(done.exit_status, Some(0), "{program} failed");
        done
    }

    /// Starts a program; the answer comes when it has been executed.
    pub(crate) fn spawn(&mut self, handle: &str, program: &str) -> u32 {
        let (handle, argv) = (handle.to_owned(), vec![program.to_owned()]);
        let dir = Some("/".to_owned());
        self.call(&SpawnRequest { handle, argv, dir, privileged: Some(true), ..SpawnRequest::default() })
            .job_id
    }

    /// Destroys a container.
    pub(crate) fn destroy(&mut self, handle: &str) {
        self.call(&DestroyRequest { handle: handle.to_owned() });
    }
}

/// The container that is compared with crun and the floor: everything but a network and a writable layer.
pub(crate) fn bare() -> CreateRequest {
    CreateRequest { no_network: Some(true), read_only: Some(true), ..whole() }
}

/// A container as the platform makes it: link, address, rules, a disk of its own.
pub(crate) fn whole() -> CreateRequest {
    let limits =
        Limits { memory_bytes: Some(256 << 20), cpu_shares: Some(512), pids: Some(512), ..Limits::default() };
    CreateRequest {
        grace_time: Some(GRACE_NEVER),
        disk_bytes: Some(1 << 30),
        limits: Some(limits),
        ..CreateRequest::default()
    }
}

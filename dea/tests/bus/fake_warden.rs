//! Speaks the warden's protocol on a real socket and keeps containers in memory. A process is a listener on the
//! loopback; what it writes and when it ends, the test says. The server can be taken away and brought back, as
//! a daemon that is killed and restarted.

#[path = "reading.rs"]
mod reading;

use bytes::BytesMut;
use cupola_protocol::warden::*;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener, UnixStream},
    sync::Notify,
    task::{JoinHandle, JoinSet},
};

#[derive(Default)]
pub(crate) struct Container {
    pub(crate) env: Vec<String>,
    pub(crate) memory: u64,
    port: u16,
    listener: Option<TcpListener>,
    output: Vec<(&'static str, Vec<u8>)>,
    exit: Option<u32>,
    /// Files by path below the home; directories are what their paths name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Output and status of jobs that read files.
    reads: BTreeMap<u32, (Vec<u8>, u32)>,
}

#[derive(Default)]
struct State {
    containers: Mutex<BTreeMap<String, Container>>,
    news: Notify,
}

pub(crate) struct FakeWarden {
    socket: PathBuf,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

impl FakeWarden {
    pub(crate) fn start(socket: PathBuf) -> Self {
        let mut warden = Self { socket, state: Arc::default(), server: None };
        warden.come_back();
        warden
    }

    pub(crate) fn go_away(&mut self) {
        self.server.take().unwrap().abort();
        std::fs::remove_file(&self.socket).unwrap();
    }

    pub(crate) fn come_back(&mut self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let state = self.state.clone();
        self.server = Some(tokio::spawn(async move {
            // Connections end with the server.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, state.clone()));
            }
        }));
    }

    pub(crate) fn handles(&self) -> Vec<String> {
        self.state.containers.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn add_stray(&self, handle: &str) {
        self.state.containers.lock().unwrap().insert(handle.to_owned(), Container::default());
    }

    pub(crate) fn look<T>(&self, handle: &str, look: impl FnOnce(&mut Container) -> T) -> T {
        let seen = look(self.state.containers.lock().unwrap().get_mut(handle).expect("no such container"));
        self.state.news.notify_waiters();
        seen
    }

    pub(crate) fn write(&self, handle: &str, name: &'static str, text: &str) {
        self.look(handle, |container| container.output.push((name, text.as_bytes().to_vec())));
    }

    pub(crate) fn exit(&self, handle: &str, status: u32) {
        self.look(handle, |container| container.exit = Some(status));
    }
}

type Answer = Result<Envelope, String>;

fn decode<R: Request>(envelope: &Envelope) -> R {
    R::decode(envelope.payload.clone()).expect("a request that is not of its type")
}

fn ok<R: Request>(response: R::Response) -> Answer {
    Ok(Envelope::new(R::TYPE, &response))
}

async fn serve(mut stream: UnixStream, state: Arc<State>) {
    let mut buffer = BytesMut::new();
    loop {
        let Some(envelope) = frame::decode(&mut buffer).unwrap() else {
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        if envelope.kind() == Ok(Type::Stream) {
            follow(&mut stream, &state, decode(&envelope)).await;
        } else {
            let answer = answer(&state, &envelope).await;
            send(&mut stream, answer).await;
        }
    }
}

async fn send(stream: &mut UnixStream, answer: Answer) {
    let envelope = answer.unwrap_or_else(|message| {
        Envelope::new(Type::Error, &ErrorResponse { message: Some(message), ..Default::default() })
    });
    let mut out = BytesMut::new();
    frame::encode(&envelope, &mut out);
    // A client that has gone is noticed at the next read.
    let _ = stream.write_all(&out).await;
}

async fn answer(state: &State, envelope: &Envelope) -> Answer {
    let mut containers = state.containers.lock().unwrap();
    let unknown = || "unknown handle".to_owned();
    match envelope.kind().unwrap() {
        Type::List => ok::<ListRequest>(ListResponse { handles: containers.keys().cloned().collect() }),
        Type::Create => {
            let request: CreateRequest = decode(envelope);
            let handle = request.handle.unwrap();
            assert!(request.disk_bytes.is_some() && request.rootfs.is_some());
            containers.insert(handle.clone(), Container::default());
            ok::<CreateRequest>(CreateResponse { handle })
        }
        Type::NetOut => ok::<NetOutRequest>(NetOutResponse {}),
        Type::NetIn => {
            let request: NetInRequest = decode(envelope);
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            containers.get_mut(&request.handle).ok_or_else(unknown)?.port = free;
            ok::<NetInRequest>(NetInResponse { host_port: free.into(), container_port: free.into() })
        }
        Type::Info => {
            let request: InfoRequest = decode(envelope);
            containers.get(&request.handle).ok_or_else(unknown)?;
            ok::<InfoRequest>(InfoResponse {
                state: Some("active".to_owned()),
                host_ip: Some("127.0.0.1".to_owned()),
                container_ip: Some("127.0.0.1".to_owned()),
                memory_stat: Some(MemoryStat { total_rss: Some(5 << 20), ..Default::default() }),
                ..Default::default()
            })
        }
        Type::Run => ok::<RunRequest>(RunResponse {
            exit_status: Some(0),
            stdout: Some("start_command: from the droplet\n".to_owned()),
            ..Default::default()
        }),
        Type::LimitMemory => {
            let request: LimitMemoryRequest = decode(envelope);
            let bytes = request.limit_in_bytes;
            containers.get_mut(&request.handle).ok_or_else(unknown)?.memory = bytes.unwrap();
            ok::<LimitMemoryRequest>(LimitMemoryResponse { limit_in_bytes: bytes })
        }
        Type::LimitCpu => ok::<LimitCpuRequest>(LimitCpuResponse { limit_in_shares: Some(8) }),
        Type::Spawn => {
            let request: SpawnRequest = decode(envelope);
            let container = containers.get_mut(&request.handle).ok_or_else(unknown)?;
            if let Some(said) = reading::run(container, &request.env) {
                let job_id = 100 + container.reads.len() as u32;
                container.reads.insert(job_id, said);
                return ok::<SpawnRequest>(SpawnResponse { job_id });
            }
            if !request.env.iter().any(|pair| pair == "DEAF=1") {
                let listener = std::net::TcpListener::bind(("127.0.0.1", container.port)).unwrap();
                listener.set_nonblocking(true).unwrap();
                container.listener = Some(TcpListener::from_std(listener).unwrap());
            }
            container.env = request.env;
            ok::<SpawnRequest>(SpawnResponse { job_id: 7 })
        }
        Type::Stop => {
            let request: StopRequest = decode(envelope);
            let container = containers.get_mut(&request.handle).ok_or_else(unknown)?;
            container.exit.get_or_insert(255);
            state.news.notify_waiters();
            ok::<StopRequest>(StopResponse {})
        }
        Type::Destroy => {
            let request: DestroyRequest = decode(envelope);
            containers.remove(&request.handle).ok_or_else(unknown)?;
            state.news.notify_waiters();
            ok::<DestroyRequest>(DestroyResponse {})
        }
        other => Err(format!("the fake has no {other:?}")),
    }
}

/// Sends the output from the asked offset, waits for more, and ends with the exit status.
async fn follow(stream: &mut UnixStream, state: &State, request: StreamRequest) {
    let mut offset = request.from_offset.unwrap_or(0);
    loop {
        let news = state.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        let next = {
            let containers = state.containers.lock().unwrap();
            match containers.get(&request.handle) {
                None => Some(Err("unknown handle".to_owned())),
                Some(container) => match container.reads.get(&request.job_id) {
                    Some(said) => read_piece(said, offset),
                    None => next_piece(container, offset),
                },
            }
        };
        match next {
            None => {
                news.await;
                continue;
            }
            Some(Err(message)) => return send(stream, Err(message)).await,
            Some(Ok(response)) => {
                offset = response.offset.unwrap_or(offset);
                let last = response.exit_status.is_some();
                send(stream, ok::<StreamRequest>(response)).await;
                if last {
                    return;
                }
            }
        }
    }
}

/// The output of a job that reads files, at once, then its end.
fn read_piece((out, status): &(Vec<u8>, u32), from: u64) -> Option<Result<StreamResponse, String>> {
    let mut response = StreamResponse { exit_status: Some(*status), ..Default::default() };
    if from < out.len() as u64 {
        let data = out[from as usize..].to_vec().into();
        let name = Some("stdout".to_owned());
        let offset = Some(out.len() as u64);
        response = StreamResponse { name, data: Some(data), offset, ..Default::default() };
    }
    Some(Ok(response))
}

fn next_piece(container: &Container, from: u64) -> Option<Result<StreamResponse, String>> {
    let mut begin = 0;
    for (name, bytes) in &container.output {
        let end = begin + bytes.len() as u64;
        if from < end {
            let skip = from.saturating_sub(begin) as usize;
            return Some(Ok(StreamResponse {
                name: Some((*name).to_owned()),
                data: Some(bytes[skip..].to_vec().into()),
                offset: Some(end),
                ..Default::default()
            }));
        }
        begin = end;
    }
    let exit_status = Some(container.exit?);
    Some(Ok(StreamResponse { exit_status, info: Some(InfoResponse::default()), ..Default::default() }))
}

//! One method per request.

use crate::{Error, JobStream, connection::Call};
use cupola_protocol::warden::*;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a call waits for a daemon that is being restarted, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// A handle of the warden at a socket. Clones are the same handle.
#[derive(Debug, Clone)]
pub struct Client {
    socket: Arc<Path>,
    patience: Duration,
    /// Requests that failed, of all clones together.
    failures: Arc<AtomicU64>,
}

/// How a container is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StopMode {
    /// SIGTERM, up to 10 s, SIGKILL; answers when all is over.
    #[default]
    Graceful,
    /// The same, but answers at once.
    Background,
    /// SIGKILL at once.
    Kill,
}

impl Client {
    /// A handle of the warden at that socket. Nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Client { socket: socket.into().into(), patience: PATIENCE, failures: Arc::default() }
    }

    /// The same, and the warden has answered.
    pub async fn connect(socket: impl Into<PathBuf>) -> Result<Self, Error> {
        let client = Client::new(socket);
        client.ping().await?;
        Ok(client)
    }

    /// With another time that a call waits for a daemon that does not answer its socket (5 s without this; zero
    /// to fail at once).
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Client { patience, ..self }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends any request and waits for its (first) response.
    pub async fn call<R: Request>(&self, request: R) -> Result<R::Response, Error> {
        self.counted(async { self.start(&request).await?.answer().await }.await)
    }

    /// Requests of this handle and its clones that the warden refused or did not answer.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    async fn start<R: Request>(&self, request: &R) -> Result<Call<R>, Error> {
        Call::start(&self.socket, self.patience, request).await
    }

    fn counted<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    /// Makes a container and gives its handle.
    pub async fn create(&self, request: CreateRequest) -> Result<String, Error> {
        Ok(self.call(request).await?.handle)
    }

    /// Ends every process of the container. A second stop does nothing.
    pub async fn stop(&self, handle: &str, mode: StopMode) -> Result<(), Error> {
        let background = Some(mode == StopMode::Background);
        let kill = Some(mode == StopMode::Kill);
        self.call(StopRequest { handle: handle.to_owned(), background, kill }).await.map(drop)
    }

    /// Ends the container and everything that belongs to it.
    pub async fn destroy(&self, handle: &str) -> Result<(), Error> {
        self.call(DestroyRequest { handle: handle.to_owned() }).await.map(drop)
    }

    /// How the container is.
    pub async fn info(&self, handle: &str) -> Result<InfoResponse, Error> {
        self.call(InfoRequest { handle: handle.to_owned() }).await
    }

    /// Starts a job and gives its id.
    pub async fn spawn(&self, request: SpawnRequest) -> Result<u32, Error> {
        Ok(self.call(request).await?.job_id)
    }

    /// Waits for the job's end; its result is given once.
    pub async fn link(&self, handle: &str, job_id: u32) -> Result<LinkResponse, Error> {
        self.call(LinkRequest { handle: handle.to_owned(), job_id }).await
    }

    /// Runs a job to its end.
    pub async fn run(&self, request: RunRequest) -> Result<RunResponse, Error> {
        self.call(request).await
    }

    /// Follows the job's output to its end, from its beginning or after `from_offset` bytes. When the end has been
    /// received the job is forgotten. Refusals (`no such job`) come with the first piece.
    pub async fn stream(
        &self,
        handle: &str,
        job_id: u32,
        from_offset: Option<u64>,
    ) -> Result<JobStream, Error> {
        let request = StreamRequest { handle: handle.to_owned(), job_id, from_offset };
        let call = self.counted(self.start(&request).await)?;
        Ok(JobStream::new(call, from_offset.unwrap_or(0)))
    }

    /// Maps a port of the host into the container; see [`NetInRequest`] for what is chosen when one is missing.
    pub async fn net_in(
        &self,
        handle: &str,
        host_port: Option<u32>,
        container_port: Option<u32>,
    ) -> Result<NetInResponse, Error> {
        self.call(NetInRequest { handle: handle.to_owned(), container_port, host_port }).await
    }

    /// Lets the container reach a destination.
    pub async fn net_out(&self, request: NetOutRequest) -> Result<(), Error> {
        self.call(request).await.map(drop)
    }

    /// Copies from the host into the container, as `vcap`. `src/` is what is in the directory, `src` the directory.
    pub async fn copy_in(&self, handle: &str, src_path: &str, dst_path: &str) -> Result<(), Error> {
        let (handle, src_path, dst_path) = (handle.to_owned(), src_path.to_owned(), dst_path.to_owned());
        self.call(CopyInRequest { handle, src_path, dst_path }).await.map(drop)
    }

    /// Copies from the container to the host, owned by `owner` (`user:group`) or else by the server's user.
    pub async fn copy_out(
        &self,
        handle: &str,
        src_path: &str,
        dst_path: &str,
        owner: Option<&str>,
    ) -> Result<(), Error> {
        let (handle, src_path, dst_path) = (handle.to_owned(), src_path.to_owned(), dst_path.to_owned());
        self.call(CopyOutRequest { handle, src_path, dst_path, owner: owner.map(str::to_owned) })
            .await
            .map(drop)
    }

    /// Sets the memory limit, if one is given, and reads it: bytes of memory and swap together.
    pub async fn limit_memory(&self, handle: &str, bytes: Option<u64>) -> Result<u64, Error> {
        let request = LimitMemoryRequest { handle: handle.to_owned(), limit_in_bytes: bytes };
        Ok(self.call(request).await?.limit_in_bytes.unwrap_or_default())
    }

    /// Sets the disk limit, if one is given, and reads it, in bytes. See [`LimitDiskRequest`] for the other units.
    pub async fn limit_disk(&self, handle: &str, bytes: Option<u64>) -> Result<u64, Error> {
        let request = LimitDiskRequest { handle: handle.to_owned(), byte_limit: bytes, ..Default::default() };
        Ok(self.call(request).await?.byte_limit.unwrap_or_default())
    }

    /// Sets the share of the processor, if one is given, and reads it.
    pub async fn limit_cpu(&self, handle: &str, shares: Option<u64>) -> Result<u64, Error> {
        let request = LimitCpuRequest { handle: handle.to_owned(), limit_in_shares: shares };
        Ok(self.call(request).await?.limit_in_shares.unwrap_or_default())
    }

    /// Sets the network rates: bytes per second, and bytes at once.
    pub async fn limit_bandwidth(
        &self,
        handle: &str,
        rate: u64,
        burst: u64,
    ) -> Result<LimitBandwidthResponse, Error> {
        self.call(LimitBandwidthRequest { handle: handle.to_owned(), rate, burst }).await
    }

    /// Whether the server is there. Being without effect, it is sent again if the connection breaks: a daemon that is
    /// killed while it starts a program leaves a socket which takes connections until that program has begun.
    pub async fn ping(&self) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + self.patience;
        loop {
            match self.call(PingRequest {}).await {
                Err(Error::Broken { .. }) if tokio::time::Instant::now() < deadline => (),
                answer => return answer.map(drop),
            }
            tokio::time::sleep(crate::connection::RETRY).await;
        }
    }

    /// The handles of every container, sorted.
    pub async fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.call(ListRequest::default()).await?.handles)
    }

    /// The handles of the containers that have all of these properties, sorted.
    pub async fn list_with(&self, properties: Vec<Property>) -> Result<Vec<String>, Error> {
        Ok(self.call(ListRequest { properties }).await?.handles)
    }

    /// Sets limits, if some are given, and reads them all.
    pub async fn limit(&self, handle: &str, limits: Option<Limits>) -> Result<Limits, Error> {
        Ok(self.call(LimitRequest { handle: handle.to_owned(), limits }).await?.limits)
    }

    /// Sets a property, or removes it.
    pub async fn set_property(&self, handle: &str, name: &str, value: Option<&str>) -> Result<(), Error> {
        let (handle, name, value) = (handle.to_owned(), name.to_owned(), value.map(str::to_owned));
        self.call(SetPropertyRequest { handle, name, value }).await.map(drop)
    }

    /// What the container was made of: an OCI runtime specification in JSON.
    pub async fn inspect(&self, handle: &str) -> Result<String, Error> {
        Ok(self.call(InspectRequest { handle: handle.to_owned() }).await?.spec)
    }

    /// Sends a signal to every process of a job.
    pub async fn signal(&self, handle: &str, job_id: u32, signal: u32) -> Result<(), Error> {
        self.call(SignalRequest { handle: handle.to_owned(), job_id, signal }).await.map(drop)
    }

    /// Brings bytes to a job's standard input, and ends it with them if `end`.
    pub async fn input(&self, handle: &str, job_id: u32, data: &[u8], end: bool) -> Result<(), Error> {
        let data = Some(data.to_vec().into());
        self.call(InputRequest { handle: handle.to_owned(), job_id, data, end: Some(end) }).await.map(drop)
    }

    /// Tells a job's terminal its size.
    pub async fn resize(&self, handle: &str, job_id: u32, size: WindowSize) -> Result<(), Error> {
        self.call(ResizeRequest { handle: handle.to_owned(), job_id, size }).await.map(drop)
    }

    /// Its own text.
    pub async fn echo(&self, message: &str) -> Result<String, Error> {
        Ok(self.call(EchoRequest { message: message.to_owned() }).await?.message)
    }
}

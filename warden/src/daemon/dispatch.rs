//! From a request to what answers it.

use super::Error;
use super::connection::Replies;
use super::engine::{Engine, Peer};
use super::grace::Reference;
use super::input::input;
use super::peer::Process;
use super::stop::How;
use super::stream::{blocking, link, stream};
use bytes::Bytes;
use cupola_protocol::warden::*;
use prost::Message;
use std::io;
use std::sync::Arc;

/// What is known of a client while its connection lasts.
#[derive(Debug)]
pub(crate) struct Session {
    engine: Arc<Engine>,
    peer: Peer,
    process: Process,
    /// Containers that it has referred to; they are held until the connection ends.
    references: Vec<Reference>,
}

impl Session {
    /// A new client.
    pub(crate) fn new(engine: Arc<Engine>, process: Process) -> Self {
        Session { engine, peer: Peer { uid: process.uid() }, process, references: Vec::new() }
    }

    /// Answers one request. An error means that the client is gone; a request that fails is answered.
    pub(crate) async fn serve(&mut self, request: Envelope, replies: &mut Replies) -> io::Result<()> {
        let kind = match request.kind() {
            Ok(kind) => kind,
            Err(number) => {
                let error = Error::Invalid(format!("unknown request of type {number}"));
                return replies.refuse(&error).await;
            }
        };
        match self.answer(kind, request.payload, replies).await {
            Ok(()) => Ok(()),
            Err(error) => {
                tracing::debug!(request = ?kind, error = error.chain(), "request refused");
                replies.refuse(&error).await
            }
        }
    }

    async fn answer(&mut self, kind: Type, payload: Bytes, replies: &mut Replies) -> Result<(), Error> {
        let (engine, peer) = (self.engine.clone(), self.peer);
        match kind {
            Type::Ping => self.reply(payload, replies, |_: PingRequest| Ok(PingResponse {})).await,
            Type::Echo => {
                self.reply(payload, replies, |request: EchoRequest| {
                    Ok(EchoResponse { message: request.message })
                })
                .await
            }
            Type::List => {
                let list = move |r: ListRequest| Ok(ListResponse { handles: engine.list(&r.properties) });
                self.reply(payload, replies, list).await
            }
            Type::Create => {
                let created = self
                    .run(payload, move |request: CreateRequest| {
                        engine.create(request, peer).map(|handle| CreateResponse { handle })
                    })
                    .await?;
                self.refer(&created.handle);
                send(replies, Type::Create, &created).await
            }
            Type::Stop => self.stop(payload, replies).await,
            Type::Destroy => {
                let request: DestroyRequest = self.read(&payload)?;
                blocking(move || engine.destroy(&request.handle)).await??;
                send(replies, Type::Destroy, &DestroyResponse {}).await
            }
            Type::Info => self.reply(payload, replies, move |r: InfoRequest| engine.info(&r.handle)).await,
            Type::Spawn => {
                let request: SpawnRequest = self.read(&payload)?;
                let job_id = self.spawn(request).await?;
                send(replies, Type::Spawn, &SpawnResponse { job_id }).await
            }
            Type::Link => {
                let request: LinkRequest = self.read(&payload)?;
                link(&engine, &request.handle, request.job_id, kind, replies).await
            }
            Type::Run => {
                let request: RunRequest = self.read(&payload)?;
                let handle = request.handle.clone();
                let job = self.spawn(request.into()).await?;
                link(&engine, &handle, job, kind, replies).await
            }
            Type::Stream => {
                let request: StreamRequest = self.read(&payload)?;
                stream(&engine, &request, replies).await
            }
            Type::NetIn => self.reply(payload, replies, move |r: NetInRequest| engine.net_in(&r)).await,
            Type::NetOut => {
                let act = move |request: NetOutRequest| engine.net_out(&request).map(|()| NetOutResponse {});
                self.reply(payload, replies, act).await
            }
            Type::CopyIn => {
                let act =
                    move |request: CopyInRequest| engine.copy_in(&request, peer).map(|()| CopyInResponse {});
                self.reply(payload, replies, act).await
            }
            Type::CopyOut => {
                let act = move |request: CopyOutRequest| {
                    engine.copy_out(&request, peer).map(|()| CopyOutResponse {})
                };
                self.reply(payload, replies, act).await
            }
            Type::LimitMemory => {
                self.reply(payload, replies, move |r: LimitMemoryRequest| engine.limit_memory(&r)).await
            }
            Type::LimitDisk => {
                self.reply(payload, replies, move |r: LimitDiskRequest| engine.limit_disk(&r)).await
            }
            Type::LimitCpu => {
                self.reply(payload, replies, move |r: LimitCpuRequest| engine.limit_cpu(&r)).await
            }
            Type::LimitBandwidth => {
                let refuse = |_: LimitBandwidthRequest| {
                    Err(Error::Invalid("network rates are not limited by this server".to_owned()))
                };
                self.reply(payload, replies, refuse).await
            }
            Type::Limit => self.reply(payload, replies, move |r: LimitRequest| engine.limit(&r)).await,
            Type::SetProperty => {
                self.reply(payload, replies, move |r: SetPropertyRequest| engine.set_property(r)).await
            }
            Type::Signal => self.reply(payload, replies, move |r: SignalRequest| engine.signal(&r)).await,
            Type::Resize => self.reply(payload, replies, move |r: ResizeRequest| engine.resize(&r)).await,
            Type::Input => {
                let request: InputRequest = self.read(&payload)?;
                let taken = input(&engine, request, replies).await?;
                send(replies, Type::Input, &taken).await
            }
            Type::Inspect => {
                Err(Error::Invalid(format!("the {kind:?} request is not built yet; see docs/STATUS.md")))
            }
            Type::Error => Err(Error::Invalid("an error is not a request".to_owned())),
        }
    }

    /// Starts a job; it is given what it may have of the client's own process.
    async fn spawn(&mut self, request: SpawnRequest) -> Result<u32, Error> {
        let given = request.stdio_of.map(|pid| self.process.stdio(pid)).transpose()?;
        let engine = self.engine.clone();
        blocking(move || engine.spawn(request, given)).await?
    }

    async fn stop(&mut self, payload: Bytes, replies: &mut Replies) -> Result<(), Error> {
        let request: StopRequest = self.read(&payload)?;
        let how = if request.kill.unwrap_or(false) { How::Kill } else { How::Ask };
        let engine = self.engine.clone();
        if !request.background.unwrap_or(false) {
            blocking(move || engine.stop(&request.handle, how)).await??;
            return send(replies, Type::Stop, &StopResponse {}).await;
        }
        engine.find(&request.handle)?;
        send(replies, Type::Stop, &StopResponse {}).await?;
        tokio::task::spawn_blocking(move || {
            if let Err(error) = engine.stop(&request.handle, how) {
                tracing::warn!(
                    handle = request.handle,
                    error = error.chain(),
                    "stop in the background failed"
                );
            }
        });
        Ok(())
    }

    /// Reads a request and holds the container that it refers to.
    fn read<R: Request>(&mut self, payload: &Bytes) -> Result<R, Error> {
        let request = R::decode(payload.clone())
            .map_err(|error| Error::Invalid(format!("the {:?} request cannot be read: {error}", R::TYPE)))?;
        // Every request that refers to a container has its handle in field 1.
        let refers = !matches!(R::TYPE, Type::Create | Type::Ping | Type::List | Type::Echo | Type::Destroy);
        if refers && let Ok(InfoRequest { handle }) = InfoRequest::decode(payload.clone()) {
            self.refer(&handle);
        }
        Ok(request)
    }

    fn refer(&mut self, handle: &str) {
        // One that is gone gives way to another of the same handle.
        self.references.retain(|held| held.is_current());
        if !self.references.iter().any(|held| held.handle() == handle)
            && let Some(reference) = self.engine.refer(handle)
        {
            self.references.push(reference);
        }
    }

    async fn run<R, F>(&mut self, payload: Bytes, act: F) -> Result<R::Response, Error>
    where
        R: Request + 'static,
        R::Response: Send + 'static,
        F: FnOnce(R) -> Result<R::Response, Error> + Send + 'static,
    {
        let request: R = self.read(&payload)?;
        blocking(move || act(request)).await?
    }

    async fn reply<R, F>(&mut self, payload: Bytes, replies: &mut Replies, act: F) -> Result<(), Error>
    where
        R: Request + 'static,
        R::Response: Send + 'static,
        F: FnOnce(R) -> Result<R::Response, Error> + Send + 'static,
    {
        let response = self.run(payload, act).await?;
        send(replies, R::TYPE, &response).await
    }
}

/// Sends an answer. That the client is gone is seen by the next read.
async fn send(replies: &mut Replies, kind: Type, message: &impl Message) -> Result<(), Error> {
    if let Err(error) = replies.send(kind, message).await {
        tracing::debug!(%error, "answer not sent");
    }
    Ok(())
}

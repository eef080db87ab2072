//! One client's connection: requests one after the other, each answered before the next is looked at.

use super::Error;
use super::dispatch::Session;
use bytes::BytesMut;
use cupola_protocol::warden::{Envelope, ErrorResponse, Type, frame};
use prost::Message;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Requests that are read ahead while one is being answered.
const AHEAD: usize = 16;

/// Where answers go.
#[derive(Debug)]
pub(crate) struct Replies {
    stream: OwnedWriteHalf,
    /// Cancelled when the client has closed its end, or the daemon ends.
    closed: CancellationToken,
}

impl Replies {
    /// Sends one answer.
    pub(crate) async fn send(&mut self, kind: Type, message: &impl Message) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        frame::encode(&Envelope::new(kind, message), &mut buffer);
        let closed = self.closed.clone();
        // A client that has closed its sending end may still read, so what is there to write is tried first; a client
        // that reads nothing at all must not hold up the daemon's end.
        tokio::select! {
            biased;
            written = self.stream.write_all_buf(&mut buffer) => written,
            () = closed.cancelled() => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Sends an error.
    pub(crate) async fn refuse(&mut self, error: &Error) -> io::Result<()> {
        let response = ErrorResponse { message: Some(error.chain()), ..Default::default() };
        self.send(Type::Error, &response).await
    }

    /// Waits for something, unless the client closes first.
    pub(crate) async fn unless_closed<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        self.closed.run_until_cancelled(wait).await
    }
}

/// Serves a client until it closes, sends what is no frame, or the daemon ends.
pub(crate) async fn serve(stream: UnixStream, mut session: Session, shutdown: CancellationToken) {
    let closed = shutdown.child_token();
    let (reading, writing) = stream.into_split();
    let (sender, mut requests) = mpsc::channel(AHEAD);
    let reader = tokio::spawn(read(reading, sender, closed.clone()));
    let mut replies = Replies { stream: writing, closed: closed.clone() };
    while let Some(Some(request)) = closed.run_until_cancelled(requests.recv()).await {
        if let Err(error) = session.serve(request, &mut replies).await {
            tracing::debug!(%error, "client gone");
            break;
        }
    }
    closed.cancel();
    let _ = reader.await;
}

/// Reads requests until the client closes; then whatever waits for the client is ended.
async fn read(mut stream: OwnedReadHalf, requests: mpsc::Sender<Envelope>, closed: CancellationToken) {
    let mut buffer = BytesMut::new();
    loop {
        match frame::decode(&mut buffer) {
            Ok(Some(envelope)) => {
                if requests.send(envelope).await.is_err() {
                    break;
                }
                continue;
            }
            Ok(None) => (),
            Err(error) => {
                tracing::info!(%error, "client sent no frame");
                break;
            }
        }
        match closed.run_until_cancelled(stream.read_buf(&mut buffer)).await {
            Some(Ok(length)) if length > 0 => (),
            _ => break,
        }
    }
    // Requests that are in the queue already are dropped: nobody is there for their answers.
    closed.cancel();
}

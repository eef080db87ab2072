//! One connection: sends one request, reads its answers.

use crate::Error;
use bytes::BytesMut;
use cupola_protocol::warden::{Envelope, ErrorResponse, Request, Type, frame};
use prost::Message;
use std::{io, marker::PhantomData, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::Instant,
};

/// How often a socket that does not answer is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(50);

/// A connection with one request under way.
#[derive(Debug)]
pub(crate) struct Call<R> {
    stream: UnixStream,
    buffer: BytesMut,
    request: PhantomData<fn() -> R>,
}

impl<R: Request> Call<R> {
    /// Connects, trying again for as long as `patience` while the daemon is away, and sends the request.
    pub(crate) async fn start(socket: &Path, patience: Duration, request: &R) -> Result<Self, Error> {
        let mut stream = connect(socket, patience).await?;
        let mut buffer = BytesMut::new();
        frame::encode(&Envelope::new(R::TYPE, request), &mut buffer);
        stream.write_all_buf(&mut buffer).await.map_err(broken::<R>)?;
        Ok(Call { stream, buffer, request: PhantomData })
    }

    /// The next answer. Cancelling it loses nothing.
    pub(crate) async fn answer(&mut self) -> Result<R::Response, Error> {
        let request = R::TYPE;
        let envelope = loop {
            let next = frame::decode(&mut self.buffer).map_err(|source| Error::Frame { request, source })?;
            if let Some(envelope) = next {
                break envelope;
            }
            if self.stream.read_buf(&mut self.buffer).await.map_err(broken::<R>)? == 0 {
                return Err(broken::<R>(io::ErrorKind::UnexpectedEof.into()));
            }
        };
        let content = |source| Error::Content { request, source };
        match envelope.kind() {
            Ok(kind) if kind == request => R::Response::decode(envelope.payload).map_err(content),
            Ok(Type::Error) => {
                let error = ErrorResponse::decode(envelope.payload).map_err(content)?;
                Err(Error::Refused { request, message: error.message.unwrap_or_default() })
            }
            _ => Err(Error::Unexpected { request, answer: envelope.r#type }),
        }
    }
}

async fn connect(socket: &Path, patience: Duration) -> Result<UnixStream, Error> {
    let deadline = Instant::now() + patience;
    loop {
        let error = match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        // What a daemon looks like while it is being restarted; anything else will not mend itself.
        let away = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        if !away || Instant::now() + RETRY > deadline {
            return Err(Error::Connect { socket: socket.to_owned(), source: error });
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn broken<R: Request>(source: io::Error) -> Error {
    Error::Broken { request: R::TYPE, source }
}

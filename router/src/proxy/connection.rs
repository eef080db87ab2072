//! A client's connection, request after request.

use super::{
    Shared,
    answer::Answer,
    forward::{self, Client, Next},
};
use crate::http::{
    request::{BadHead, Request},
    scan::Scan,
    wire::{self, BODY_ROOM, HEAD_ROOM, ReadError},
};
use bytes::{Buf, BytesMut};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

/// How long a client that was told of the end may still send, so that it reads the answer and not a reset.
const LINGER: Duration = Duration::from_secs(2);
/// How many bytes it may send in that time.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// What came instead of a request.
enum NoRequest {
    /// The client has closed, or was idle for too long, or the router stops.
    End,
    /// The head did not come in time.
    Late,
    /// The head is refused.
    Bad(BadHead),
}

/// Serves a connection until it ends.
pub(crate) async fn serve(shared: &Shared, stream: TcpStream, peer: SocketAddr) {
    // Small answers wait for no acknowledgement. A failure means that the client is gone: reading will tell.
    let _ = stream.set_nodelay(true);
    let mut client = Client { stream, buffer: BytesMut::new(), peer };
    loop {
        let came = read(shared, &mut client).await;
        if let Err(NoRequest::Late | NoRequest::Bad(_)) = came {
            shared.figures.bad_request();
        }
        let next = match came {
            Ok(request) => forward::serve(shared, &mut client, &request).await,
            Err(NoRequest::End) => Next::Close,
            Err(NoRequest::Late) => refuse(shared, &client, &Answer::timeout()).await,
            Err(NoRequest::Bad(bad)) => {
                tracing::debug!(%peer, %bad, "refused a request");
                refuse(shared, &client, &Answer::bad_head(bad)).await
            }
        };
        match next {
            Next::KeepAlive => {}
            Next::Linger => return linger(&mut client).await,
            Next::Close => return,
        }
    }
}

/// Reads the next head.
async fn read(shared: &Shared, client: &mut Client) -> Result<Request, NoRequest> {
    let config = &shared.config;
    if client.buffer.is_empty() {
        let idle = Duration::from_secs(config.client_idle_seconds);
        tokio::select! {
            biased;
            first = wire::fill(&client.stream, &mut client.buffer, HEAD_ROOM, idle) => {
                first.map_err(|_| NoRequest::End)?;
            }
            () = shared.draining.cancelled() => return Err(NoRequest::End),
        }
    }
    let deadline = Instant::now() + Duration::from_secs(config.head_timeout_seconds);
    let mut scan = Scan::default();
    let mut begun = false;
    loop {
        // One empty line before a request is left from old clients' bodies (RFC 9112 §2.2).
        if !begun && client.buffer.len() >= 2 {
            begun = true;
            if client.buffer.starts_with(b"\r\n") {
                client.buffer.advance(2);
            }
        }
        if begun {
            match scan.end(&client.buffer).map_err(NoRequest::Bad)? {
                Some(length) if length > config.max_head_bytes => {
                    return Err(NoRequest::Bad(BadHead::TooLong));
                }
                Some(length) => {
                    let raw = client.buffer.split_to(length).freeze();
                    return Request::parse(raw, config.max_headers).map_err(NoRequest::Bad);
                }
                None if client.buffer.len() > config.max_head_bytes => {
                    return Err(NoRequest::Bad(BadHead::TooLong));
                }
                None => {}
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match wire::fill(&client.stream, &mut client.buffer, HEAD_ROOM, left).await {
            Ok(()) => {}
            Err(ReadError::Timeout) => return Err(NoRequest::Late),
            Err(ReadError::Eof | ReadError::Io(_)) => return Err(NoRequest::End),
        }
    }
}

/// Answers what is no request.
async fn refuse(shared: &Shared, client: &Client, answer: &Answer) -> Next {
    let id = uuid::Uuid::new_v4().to_string();
    let bytes = answer.write(&id, false, false);
    match wire::send(&client.stream, &[&bytes], shared.config.stall()).await {
        Ok(()) => Next::Linger,
        Err(_) => Next::Close,
    }
}

/// Ends our direction and drops what the client still sends: a close with unread bytes would reset the
/// connection, and the client might lose the answer.
async fn linger(client: &mut Client) {
    wire::finish(&client.stream);
    let deadline = Instant::now() + LINGER;
    let mut dropped = 0;
    while dropped < LINGER_BYTES {
        client.buffer.clear();
        let read = wire::fill(&client.stream, &mut client.buffer, BODY_ROOM, LINGER);
        match timeout_at(deadline, read).await {
            Ok(Ok(())) => dropped += client.buffer.len(),
            _ => return,
        }
    }
}

//! Bytes both ways, after a checked 101.

use crate::http::wire::{self, BODY_ROOM, ReadError};
use bytes::BytesMut;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::net::TcpStream;

use crate::clock;

/// Copies until both sides have ended, one has failed, or neither has said anything for `idle`. What the two
/// buffers hold already goes first.
pub(crate) async fn run(
    client: (&TcpStream, &mut BytesMut, &AtomicU64),
    upstream: (&TcpStream, &mut BytesMut, &AtomicU64),
    idle: Duration,
) {
    let last = AtomicU64::new(clock::now());
    let up = copy(client.0, client.1, upstream.0, client.2, &last, idle);
    let down = copy(upstream.0, upstream.1, client.0, upstream.2, &last, idle);
    // An error or silence on one side ends both; an orderly end of one side lets the other finish.
    let _ = tokio::try_join!(up, down);
}

/// Why a direction cannot go on.
struct Broken;

async fn copy(
    from: &TcpStream,
    buffer: &mut BytesMut,
    to: &TcpStream,
    counted: &AtomicU64,
    last: &AtomicU64,
    idle: Duration,
) -> Result<(), Broken> {
    let idle_ms = idle.as_millis() as u64;
    loop {
        if !buffer.is_empty() {
            let data = buffer.split();
            wire::send(to, &[&data], idle).await.map_err(|_| Broken)?;
            counted.fetch_add(data.len() as u64, Ordering::Relaxed);
            last.store(clock::now(), Ordering::Relaxed);
        }
        let silent = clock::now().saturating_sub(last.load(Ordering::Relaxed));
        let wait = Duration::from_millis(idle_ms.saturating_sub(silent).max(1));
        match wire::fill(from, buffer, BODY_ROOM, wait).await {
            Ok(()) => {}
            Err(ReadError::Eof) => {
                wire::finish(to);
                return Ok(());
            }
            Err(ReadError::Timeout) => {
                if clock::now().saturating_sub(last.load(Ordering::Relaxed)) >= idle_ms {
                    return Err(Broken);
                }
            }
            Err(ReadError::Io(_)) => return Err(Broken),
        }
    }
}

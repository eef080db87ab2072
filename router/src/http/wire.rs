//! Reading and writing with deadlines, and the pump between two connections.
//!
//! Everything takes `&TcpStream`, since one task reads and writes both connections at the same time.

use super::body::{BadBody, Decoder, Piece};
use bytes::BytesMut;
use std::{
    io::{self, IoSlice},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};

/// Room for one read of a head.
pub(crate) const HEAD_ROOM: usize = 8 * 1024;
/// Room for one read of a body: the most that is ever buffered of one.
pub(crate) const BODY_ROOM: usize = 64 * 1024;

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The other side has closed.
    #[error("the other side closed the connection")]
    Eof,
    /// Nothing came in time.
    #[error("nothing came in time")]
    Timeout,
    /// The connection broke.
    #[error("the connection broke ({0})")]
    Io(io::Error),
}

impl ReadError {
    /// Whether the other side's kernel has stopped to acknowledge what it is sent: the whole host is silent.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, ReadError::Io(error) if error.kind() == io::ErrorKind::TimedOut)
    }
}

/// Reads once, waiting for at most `idle`. Losing the future loses no byte.
pub(crate) async fn fill(
    stream: &TcpStream,
    buffer: &mut BytesMut,
    room: usize,
    idle: Duration,
) -> Result<(), ReadError> {
    loop {
        buffer.reserve(room);
        match stream.try_read_buf(buffer) {
            Ok(0) => return Err(ReadError::Eof),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ReadError::Io(error)),
        }
        if buffer.is_empty() {
            // Who waits holds no memory: there may be thousands.
            *buffer = BytesMut::new();
        }
        match timeout(idle, stream.readable()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(ReadError::Io(error)),
            Err(_) => return Err(ReadError::Timeout),
        }
    }
}

/// Writes all parts, in as few segments as the kernel takes; gives up after `stall` without progress.
pub(crate) async fn send(stream: &TcpStream, parts: &[&[u8]], stall: Duration) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    while !left.is_empty() {
        match stream.try_write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                timeout(stall, stream.writable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Ends our direction, so that the other side sees an end and not a reset.
pub(crate) fn finish(stream: &TcpStream) {
    // A failure means that the connection is gone already, which is what was wanted.
    let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Write);
}

/// How a pumped body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is: the length is known, or the connection's end is the body's.
    Plain,
    /// In chunks of ours.
    Chunked,
}

/// Where a pump stopped.
#[derive(Debug)]
pub(crate) enum PumpError {
    /// The sender's bytes are not a body.
    Body(BadBody),
    /// The sender closed, stalled or broke.
    Read(ReadError),
    /// The receiver closed, stalled or broke.
    Write,
}

/// A stream with the deadline of its side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) stream: &'a TcpStream,
    pub(crate) limit: Duration,
}

/// Writes `head`, then the whole body: the head travels with the first bytes of the body when these are there.
/// One piece is in flight at a time, so a slow receiver slows the sender down. `counted` counts the body.
pub(crate) async fn pump(
    from: End<'_>,
    buffer: &mut BytesMut,
    decoder: &mut Decoder,
    to: End<'_>,
    coding: Coding,
    mut head: &[u8],
    counted: &AtomicU64,
) -> Result<(), PumpError> {
    loop {
        match decoder.next(buffer).map_err(PumpError::Body)? {
            Piece::Data(data) => {
                let size;
                let parts: [&[u8]; 4] = match coding {
                    Coding::Plain => [head, &data, b"", b""],
                    Coding::Chunked => {
                        size = format!("{:x}\r\n", data.len());
                        [head, size.as_bytes(), &data, b"\r\n"]
                    }
                };
                send(to.stream, &parts, to.limit).await.map_err(|_| PumpError::Write)?;
                counted.fetch_add(data.len() as u64, Ordering::Relaxed);
                head = b"";
            }
            Piece::More => {
                send(to.stream, &[head], to.limit).await.map_err(|_| PumpError::Write)?;
                head = b"";
                match fill(from.stream, buffer, BODY_ROOM, from.limit).await {
                    Ok(()) => {}
                    Err(ReadError::Eof) if decoder.ends_with_stream() => {
                        return end(to, coding, head).await;
                    }
                    Err(error) => return Err(PumpError::Read(error)),
                }
            }
            Piece::End => return end(to, coding, head).await,
        }
    }
}

async fn end(to: End<'_>, coding: Coding, head: &[u8]) -> Result<(), PumpError> {
    let last: &[u8] = match coding {
        Coding::Plain => b"",
        Coding::Chunked => b"0\r\n\r\n",
    };
    send(to.stream, &[head, last], to.limit).await.map_err(|_| PumpError::Write)
}

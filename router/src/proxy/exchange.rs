//! One request and its answer, between two connections at the same time.
//!
//! The body goes up while the answer may already come down: an app may answer early, or answer while it reads.
//! Both directions are futures of one task; no channel and no second task between them.

use super::headers::{self, Delivery};
use crate::{
    clock,
    http::{
        body::{BadBody, Decoder, Framing},
        request::{BadHead, Request},
        response::Response,
        scan::Scan,
        wire::{self, BODY_ROOM, Coding, End, HEAD_ROOM, PumpError, ReadError},
    },
};
use bytes::BytesMut;
use std::{
    future::pending,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    time::Duration,
};
use tokio::net::TcpStream;

/// 1xx answers that may come before the final one.
const MAX_INFORMATIONAL: usize = 16;

/// The limits of one exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) stall: Duration,
    pub(crate) answer: Duration,
    pub(crate) stream_idle: Duration,
    pub(crate) max_head: usize,
    pub(crate) max_headers: usize,
}

/// What has happened so far; atomics, because both directions and the caller look at it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes of the request's body.
    pub(crate) received: AtomicU64,
    /// Bytes of the answer's body.
    pub(crate) sent: AtomicU64,
    /// The answer's status; 0 before there is one.
    pub(crate) status: AtomicU16,
    /// When the request was complete at the endpoint; 0 before.
    uploaded_at: AtomicU64,
    /// When the answer's head was there; 0 before.
    pub(crate) answered_at: AtomicU64,
    /// Whether the endpoint has sent any byte.
    pub(crate) heard: AtomicBool,
}

/// Both connections of an exchange with what was read from them too far.
pub(crate) struct Pair<'a> {
    pub(crate) client: &'a TcpStream,
    pub(crate) client_buffer: &'a mut BytesMut,
    pub(crate) upstream: &'a TcpStream,
    pub(crate) upstream_buffer: &'a mut BytesMut,
}

/// How the answer is to be told.
pub(crate) struct Plan<'a> {
    pub(crate) request: &'a Request,
    /// The request's head as the endpoint gets it.
    pub(crate) head: &'a [u8],
    pub(crate) request_id: &'a str,
    /// Whether the client's connection may live on.
    pub(crate) keep_alive: bool,
    /// Makes the sticky cookie for an answer.
    pub(crate) cookie: &'a (dyn Fn(&Response) -> Option<String> + Sync),
}

/// An exchange that came to its end.
#[derive(Debug)]
pub(crate) enum Done {
    /// The answer is complete.
    Answered {
        /// Whether the endpoint's connection can serve another request, and for how long it promised to.
        reusable: Option<Option<Duration>>,
        /// Whether the client's connection can carry another request.
        keep_alive: bool,
    },
    /// The client has been sent the 101.
    Switched,
}

/// An exchange that did not.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The endpoint closed, broke or was silent before it sent a byte.
    NoAnswer(ReadError),
    /// What the endpoint sent is not an answer.
    BadAnswer(BadHead),
    /// The endpoint switched protocols without being asked, or not as asked.
    BadSwitch,
    /// The endpoint failed in the middle of its answer.
    Truncated,
    /// The client closed, broke, or took nothing for too long.
    ClientGone,
    /// The client's body did not arrive in time.
    ClientTimeout,
    /// The client's body is not one.
    ClientBody(BadBody),
}

/// How the upward direction ended; while all is well it does not.
enum Up {
    Endpoint,
    Client(Failed),
}

/// Sends the request, passes the answer on.
pub(crate) async fn run(
    pair: Pair<'_>,
    plan: &Plan<'_>,
    limits: &Limits,
    progress: &Progress,
) -> Result<Done, Failed> {
    let Pair { client, client_buffer, upstream, upstream_buffer } = pair;
    let mut up = pin!(upload(client, client_buffer, upstream, plan, limits, progress));
    let mut down = pin!(download(client, upstream, upstream_buffer, plan, limits, progress));
    let mut uploading = true;
    loop {
        tokio::select! {
            biased;
            // The answer first: when it is complete, nothing else matters.
            end = &mut down => return end,
            end = &mut up, if uploading => match end {
                // The endpoint takes no more: it may have answered early, and that answer counts.
                Up::Endpoint => {
                    uploading = false;
                    progress.uploaded_at.store(clock::now(), Ordering::Relaxed);
                }
                Up::Client(failed) => return Err(failed),
            },
        }
    }
}

/// Sends head and body, then watches the client: when it closes, nobody waits for the answer any more.
async fn upload(
    client: &TcpStream,
    buffer: &mut BytesMut,
    upstream: &TcpStream,
    plan: &Plan<'_>,
    limits: &Limits,
    progress: &Progress,
) -> Up {
    let mut decoder = Decoder::new(plan.request.framing);
    let coding = match plan.request.framing {
        Framing::Chunked => Coding::Chunked,
        _ => Coding::Plain,
    };
    let from = End { stream: client, limit: limits.stall };
    let to = End { stream: upstream, limit: limits.stall };
    match wire::pump(from, buffer, &mut decoder, to, coding, plan.head, &progress.received).await {
        Ok(()) => {}
        Err(PumpError::Write) => return Up::Endpoint,
        Err(PumpError::Body(bad)) => return Up::Client(Failed::ClientBody(bad)),
        Err(PumpError::Read(ReadError::Timeout)) => return Up::Client(Failed::ClientTimeout),
        Err(PumpError::Read(_)) => return Up::Client(Failed::ClientGone),
    }
    progress.uploaded_at.store(clock::now(), Ordering::Release);
    // What a client sends ahead is the next request, or what follows a 101: it waits in the buffer.
    while buffer.len() < BODY_ROOM {
        match wire::fill(client, buffer, HEAD_ROOM, Duration::MAX).await {
            Ok(()) => {}
            Err(_) => return Up::Client(Failed::ClientGone),
        }
    }
    pending().await
}

/// Reads the answer and passes it on.
async fn download(
    client: &TcpStream,
    upstream: &TcpStream,
    buffer: &mut BytesMut,
    plan: &Plan<'_>,
    limits: &Limits,
    progress: &Progress,
) -> Result<Done, Failed> {
    let mut informational = 0;
    let response = loop {
        let response = read_head(upstream, buffer, limits, progress).await?;
        match response.status {
            101 => {
                let upgrade = plan.request.upgrade.filter(|upgrade| response.switches_to(*upgrade));
                let Some(upgrade) = upgrade else { return Err(Failed::BadSwitch) };
                let head = headers::switching(&response, upgrade, plan.request_id);
                answer_begins(progress, 101);
                wire::send(client, &[&head], limits.stall).await.map_err(|_| Failed::ClientGone)?;
                return Ok(Done::Switched);
            }
            100..=199 => {
                informational += 1;
                if informational > MAX_INFORMATIONAL {
                    return Err(Failed::BadAnswer(BadHead::TooMany));
                }
                // HTTP/1.0 knows no such answers.
                if plan.request.minor == 1 {
                    let head = headers::informational(&response);
                    wire::send(client, &[&head], limits.stall).await.map_err(|_| Failed::ClientGone)?;
                }
            }
            _ => break response,
        }
    };
    let to_head = plan.request.method() == "HEAD";
    let body = response.body(to_head);
    let old = plan.request.minor == 0;
    let coding = match body {
        // The length is not known: chunks tell the end, where the client knows chunks.
        Framing::Chunked | Framing::UntilClose if !old => Coding::Chunked,
        _ => Coding::Plain,
    };
    let ends_with_close = old && matches!(body, Framing::Chunked | Framing::UntilClose);
    let uploaded = || progress.uploaded_at.load(Ordering::Acquire) != 0;
    // An answer before the end of the request leaves a body that nobody reads; a refused upgrade, bytes that
    // may not be HTTP.
    let keep_alive = plan.keep_alive && !ends_with_close && uploaded() && plan.request.upgrade.is_none();
    let length = match body {
        Framing::Length(length) => Some(length),
        Framing::None if to_head || response.status == 304 => response.length(),
        _ => None,
    };
    let delivery = Delivery {
        coding,
        length,
        keep_alive,
        old,
        request_id: plan.request_id,
        cookie: (plan.cookie)(&response),
    };
    let head = headers::response(&response, &delivery);
    answer_begins(progress, response.status);
    let mut decoder = Decoder::new(body);
    let from = End { stream: upstream, limit: limits.stream_idle };
    let to = End { stream: client, limit: limits.stall };
    match wire::pump(from, buffer, &mut decoder, to, coding, &head, &progress.sent).await {
        Ok(()) => {}
        Err(PumpError::Write) => return Err(Failed::ClientGone),
        Err(PumpError::Body(_) | PumpError::Read(_)) => return Err(Failed::Truncated),
    }
    let clean =
        buffer.is_empty() && body != Framing::UntilClose && uploaded() && plan.request.upgrade.is_none();
    let reusable = (response.keep_alive && clean).then(|| promised(&response));
    Ok(Done::Answered { reusable, keep_alive })
}

/// Reads one head from the endpoint. The time for it runs from the end of the request.
async fn read_head(
    upstream: &TcpStream,
    buffer: &mut BytesMut,
    limits: &Limits,
    progress: &Progress,
) -> Result<Response, Failed> {
    let mut scan = Scan::default();
    loop {
        match scan.end(buffer) {
            Ok(Some(length)) if length > limits.max_head => return Err(Failed::BadAnswer(BadHead::TooLong)),
            Ok(Some(length)) => {
                let raw = buffer.split_to(length).freeze();
                return Response::parse(raw, limits.max_headers).map_err(Failed::BadAnswer);
            }
            Ok(None) if buffer.len() > limits.max_head => return Err(Failed::BadAnswer(BadHead::TooLong)),
            Ok(None) => {}
            Err(bad) => return Err(Failed::BadAnswer(bad)),
        }
        let waited = match progress.uploaded_at.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            at => Duration::from_millis(clock::now().saturating_sub(at)),
        };
        let Some(left) = limits.answer.checked_sub(waited).filter(|left| !left.is_zero()) else {
            return Err(Failed::NoAnswer(ReadError::Timeout));
        };
        match wire::fill(upstream, buffer, HEAD_ROOM, left).await {
            Ok(()) => progress.heard.store(true, Ordering::Relaxed),
            // The request may have ended meanwhile: the loop looks how much time is left.
            Err(ReadError::Timeout) => {}
            Err(error) => return Err(Failed::NoAnswer(error)),
        }
    }
}

fn answer_begins(progress: &Progress, status: u16) {
    progress.status.store(status, Ordering::Relaxed);
    progress.answered_at.store(clock::now(), Ordering::Relaxed);
}

/// How long the endpoint promises to keep an idle connection: `Keep-Alive: timeout=5`.
fn promised(response: &Response) -> Option<Duration> {
    let value = std::str::from_utf8(response.fields.first("keep-alive")?).ok()?;
    let seconds = value.split(',').find_map(|word| word.trim().strip_prefix("timeout=")?.parse().ok())?;
    Some(Duration::from_secs(seconds))
}

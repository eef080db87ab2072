//! Heads as the router writes them. Nothing of a received head is copied whole: start line, framing and what
//! concerns a connection are ours, other lines are copied one by one.

use crate::{
    Forwarded,
    http::{
        body::Framing,
        fields::Fields,
        request::{Request, Upgrade},
        response::Response,
        wire::Coding,
    },
    routes::endpoint::Endpoint,
};
use std::net::IpAddr;

/// Headers that concern one connection, or say how a body is delimited (RFC 9110 §7.6.1): never copied.
const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// Headers of requests that the router writes itself.
const OURS: [&str; 9] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-request-start",
    "x-vcap-request-id",
    "x-cf-applicationid",
    "x-cf-instanceid",
    "x-cf-instanceindex",
];

/// What the router knows about a request beyond its head.
#[derive(Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) peer: IpAddr,
    pub(crate) request_id: &'a str,
    /// Milliseconds since 1970.
    pub(crate) started: u128,
    pub(crate) forwarded: Forwarded,
}

/// The longest request id that a client may give.
const MAX_REQUEST_ID: usize = 128;

/// The client's request id, when it is one that can be written to logs and headers.
pub(crate) fn given_request_id(fields: &Fields) -> Option<String> {
    let mut given = fields.all("x-vcap-request-id");
    let id = given.next().filter(|_| given.next().is_none())?;
    let sane = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (8..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(sane);
    fits.then(|| String::from_utf8_lossy(id).into_owned())
}

/// The request as the endpoint gets it.
pub(crate) fn request(request: &Request, endpoint: &Endpoint, origin: &Origin<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    put(&mut out, &[request.method().as_bytes(), b" ", request.target().as_bytes(), b" HTTP/1.1"]);
    let host = request.fields.first("host").unwrap_or_default();
    line(&mut out, "Host", host);
    for (name, value) in request.fields.iter() {
        if copied(&request.fields, name) && !is_one_of(name, &OURS) {
            put(&mut out, &[name, b": ", value]);
        }
    }
    match request.framing {
        Framing::Length(length) => line(&mut out, "Content-Length", length.to_string().as_bytes()),
        Framing::Chunked => line(&mut out, "Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
    }
    if let Some(upgrade) = request.upgrade {
        line(&mut out, "Connection", b"Upgrade");
        line(&mut out, "Upgrade", upgrade.name().as_bytes());
    }
    forwarded(&mut out, request, host, origin);
    line(&mut out, "X-Vcap-Request-Id", origin.request_id.as_bytes());
    let ids = [
        ("X-CF-ApplicationID", endpoint.app.as_ref().map(|id| id.as_str())),
        ("X-CF-InstanceID", endpoint.instance.as_ref().map(|id| id.as_str())),
        ("X-CF-InstanceIndex", endpoint.index.as_deref()),
    ];
    for (name, value) in ids {
        if let Some(value) = value.filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic())) {
            line(&mut out, name, value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn forwarded(out: &mut Vec<u8>, request: &Request, host: &[u8], origin: &Origin<'_>) {
    let trusted = origin.forwarded == Forwarded::Append;
    let peer = origin.peer.to_canonical().to_string();
    let mut chain: Vec<u8> = Vec::new();
    if trusted {
        for value in request.fields.all("x-forwarded-for").filter(|value| !value.is_empty()) {
            chain.extend_from_slice(value);
            chain.extend_from_slice(b", ");
        }
    }
    chain.extend_from_slice(peer.as_bytes());
    line(out, "X-Forwarded-For", &chain);
    let given = |name| request.fields.first(name).filter(|value| trusted && !value.is_empty());
    line(out, "X-Forwarded-Proto", given("x-forwarded-proto").unwrap_or(b"http"));
    line(out, "X-Forwarded-Host", given("x-forwarded-host").unwrap_or(host));
    let started = origin.started.to_string();
    line(out, "X-Request-Start", given("x-request-start").unwrap_or(started.as_bytes()));
}

/// How an answer goes to the client.
#[derive(Debug)]
pub(crate) struct Delivery<'a> {
    pub(crate) coding: Coding,
    /// What is written as `Content-Length`.
    pub(crate) length: Option<u64>,
    /// Whether the client's connection lives on.
    pub(crate) keep_alive: bool,
    /// Whether the client speaks HTTP/1.0 only, and so has to be told that its connection lives on.
    pub(crate) old: bool,
    pub(crate) request_id: &'a str,
    /// A `Set-Cookie` of ours.
    pub(crate) cookie: Option<String>,
}

/// The final answer's head as the client gets it.
pub(crate) fn response(response: &Response, delivery: &Delivery<'_>) -> Vec<u8> {
    let mut out = copied_response(response);
    if let Some(length) = delivery.length {
        line(&mut out, "Content-Length", length.to_string().as_bytes());
    }
    if delivery.coding == Coding::Chunked {
        line(&mut out, "Transfer-Encoding", b"chunked");
    }
    if !delivery.keep_alive {
        line(&mut out, "Connection", b"close");
    } else if delivery.old {
        line(&mut out, "Connection", b"keep-alive");
    }
    if let Some(cookie) = &delivery.cookie {
        line(&mut out, "Set-Cookie", cookie.as_bytes());
    }
    line(&mut out, "X-Vcap-Request-Id", delivery.request_id.as_bytes());
    out.extend_from_slice(b"\r\n");
    out
}

/// A 1xx head as the client gets it.
pub(crate) fn informational(response: &Response) -> Vec<u8> {
    let mut out = copied_response(response);
    out.extend_from_slice(b"\r\n");
    out
}

/// The head of a checked 101 as the client gets it.
pub(crate) fn switching(response: &Response, upgrade: Upgrade, request_id: &str) -> Vec<u8> {
    let mut out = copied_response(response);
    line(&mut out, "Connection", b"Upgrade");
    line(&mut out, "Upgrade", upgrade.name().as_bytes());
    line(&mut out, "X-Vcap-Request-Id", request_id.as_bytes());
    out.extend_from_slice(b"\r\n");
    out
}

fn copied_response(response: &Response) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    put(&mut out, &[b"HTTP/1.1 ", response.status.to_string().as_bytes(), b" ", response.reason()]);
    for (name, value) in response.fields.iter() {
        if copied(&response.fields, name) && !name.eq_ignore_ascii_case(b"x-vcap-request-id") {
            put(&mut out, &[name, b": ", value]);
        }
    }
    out
}

/// Whether a line is copied to the other side.
fn copied(fields: &Fields, name: &[u8]) -> bool {
    !is_one_of(name, &OF_THE_CONNECTION) && !fields.nominated(name)
}

/// Whether a name is in a list. `_` counts as `-`: many app servers make the same variable of both, so that
/// `X_Forwarded_For` would speak for `X-Forwarded-For`.
fn is_one_of(name: &[u8], list: &[&str]) -> bool {
    let same = |known: &str| {
        known.len() == name.len()
            && known
                .bytes()
                .zip(name)
                .all(|(known, byte)| known == byte.to_ascii_lowercase() || known == b'-' && *byte == b'_')
    };
    list.iter().any(|known| same(known))
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(out, &[name.as_bytes(), b": ", value]);
}

fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;

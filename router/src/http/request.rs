//! Heads of requests, checked.

use super::{body::Framing, fields::Fields};
use bytes::Bytes;
use std::ops::Range;

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadHead {
    #[error("a line of the head does not end with CR LF, and with nothing else")]
    LineEnd,
    #[error("the head holds a NUL byte")]
    Nul,
    #[error("the first line is not one of HTTP/1.1")]
    StartLine,
    #[error("only HTTP/1.0 and HTTP/1.1 are spoken here")]
    Version,
    #[error("a header line is not of the form `Name: value`")]
    Field,
    #[error("too many header lines")]
    TooMany,
    #[error("the head is too long")]
    TooLong,
    #[error("both Content-Length and Transfer-Encoding are given")]
    LengthAndEncoding,
    #[error("Content-Length is given more than once, or is not a number")]
    Length,
    #[error("Transfer-Encoding is not exactly `chunked`, once, in HTTP/1.1")]
    Encoding,
    #[error("Host is given more than once")]
    RepeatedHost,
    #[error("Host is missing or empty")]
    EmptyHost,
    #[error("Host is not a name with an optional port")]
    BadHost,
    #[error("the request's target is not a path, or names another host than Host does")]
    Target,
    #[error("CONNECT is not served here")]
    Connect,
    #[error("an upgrade cannot have a body")]
    UpgradeBody,
    #[error("only `Expect: 100-continue` can be met")]
    Expect,
}

/// What a client may change its connection into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    WebSocket,
    /// Cloud Foundry's plain tunnel.
    Tcp,
}

impl Upgrade {
    /// The protocol as the `Upgrade` header names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Tcp => "tcp",
        }
    }
}

/// A request's head that is safe to act on.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) fields: Fields,
    raw: Bytes,
    method: Range<usize>,
    target: Range<usize>,
    /// `0` for HTTP/1.0, `1` for HTTP/1.1.
    pub(crate) minor: u8,
    /// The host in lower case, without port and final dot.
    pub(crate) host: String,
    pub(crate) framing: Framing,
    /// Whether the client lets its connection live on.
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: Option<Upgrade>,
}

impl Request {
    /// Reads a whole head, as [`super::scan::Scan`] found it.
    pub(crate) fn parse(raw: Bytes, max_headers: usize) -> Result<Self, BadHead> {
        let mut headers = vec![httparse::EMPTY_HEADER; max_headers];
        let mut parsed = httparse::Request::new(&mut headers);
        parsed.parse(&raw).map_err(BadHead::from)?;
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(BadHead::StartLine);
        };
        let base = raw.as_ptr() as usize;
        let place = |text: &str| {
            let at = text.as_ptr() as usize - base;
            at..at + text.len()
        };
        let (method, target) = (place(method), place(target));
        let fields = Fields::new(raw.clone(), parsed.headers);
        let framing = framing(&fields, minor)?;
        let (host, target) = addressed(&raw, &method, target, &fields)?;
        let keep_alive = match minor {
            0 => fields.has_token("connection", "keep-alive") && !fields.has_token("connection", "close"),
            _ => !fields.has_token("connection", "close"),
        };
        let upgrade = upgrade(&fields, minor, framing)?;
        if let Some(expect) = fields.first("expect")
            && !expect.eq_ignore_ascii_case(b"100-continue")
        {
            return Err(BadHead::Expect);
        }
        Ok(Self { fields, raw, method, target, minor, host, framing, keep_alive, upgrade })
    }

    /// The method, as sent.
    pub(crate) fn method(&self) -> &str {
        std::str::from_utf8(&self.raw[self.method.clone()]).unwrap_or("")
    }

    /// Path and query, or `*`.
    pub(crate) fn target(&self) -> &str {
        std::str::from_utf8(&self.raw[self.target.clone()]).unwrap_or("/")
    }

    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or("/")
    }

    /// Whether sending the request twice does what sending it once does, so that it may be repeated.
    pub(crate) fn repeatable(&self) -> bool {
        self.framing == Framing::None
            && (matches!(self.method(), "GET" | "HEAD" | "OPTIONS" | "TRACE")
                || self.fields.first("idempotency-key").is_some())
    }
}

impl From<httparse::Error> for BadHead {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooMany,
            httparse::Error::HeaderName | httparse::Error::HeaderValue => Self::Field,
            httparse::Error::Version => Self::Version,
            _ => Self::StartLine,
        }
    }
}

/// How the body is delimited, when all that is said about it agrees.
pub(super) fn framing(fields: &Fields, minor: u8) -> Result<Framing, BadHead> {
    let mut lengths = fields.all("content-length");
    let mut encodings = fields.all("transfer-encoding");
    match (lengths.next(), encodings.next()) {
        (Some(_), Some(_)) => Err(BadHead::LengthAndEncoding),
        (None, None) => Ok(Framing::None),
        (Some(length), None) => {
            let digits = !length.is_empty() && length.len() <= 18 && length.iter().all(u8::is_ascii_digit);
            if !digits || lengths.next().is_some() {
                return Err(BadHead::Length);
            }
            let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
            Ok(Framing::Length(length.ok_or(BadHead::Length)?))
        }
        (None, Some(encoding)) => {
            let chunked = encoding.eq_ignore_ascii_case(b"chunked");
            if !chunked || minor == 0 || encodings.next().is_some() {
                return Err(BadHead::Encoding);
            }
            Ok(Framing::Chunked)
        }
    }
}

/// The host that is meant, and the target as a path.
fn addressed(
    raw: &[u8],
    method: &Range<usize>,
    target: Range<usize>,
    fields: &Fields,
) -> Result<(String, Range<usize>), BadHead> {
    let mut hosts = fields.all("host");
    let host = hosts.next().unwrap_or_default();
    if hosts.next().is_some() {
        return Err(BadHead::RepeatedHost);
    }
    let method = &raw[method.clone()];
    if method == b"CONNECT" {
        return Err(BadHead::Connect);
    }
    let text = &raw[target.clone()];
    if !text.iter().all(u8::is_ascii_graphic) || text.contains(&b'#') {
        return Err(BadHead::Target);
    }
    let target = match text {
        [b'/', ..] => target,
        b"*" if method == b"OPTIONS" => target,
        _ => {
            // The absolute form: only clients of forward proxies send it. It must not contradict Host.
            let scheme = ["http://", "https://"]
                .iter()
                .find(|scheme| {
                    text.get(..scheme.len())
                        .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
                })
                .ok_or(BadHead::Target)?;
            let rest = &text[scheme.len()..];
            let slash = rest.iter().position(|byte| *byte == b'/').ok_or(BadHead::Target)?;
            if !rest[..slash].eq_ignore_ascii_case(host) {
                return Err(BadHead::Target);
            }
            target.start + scheme.len() + slash..target.end
        }
    };
    Ok((host_name(host)?, target))
}

/// The name in a `Host` value: lower case, without port and final dot.
fn host_name(host: &[u8]) -> Result<String, BadHead> {
    let host = std::str::from_utf8(host).map_err(|_| BadHead::BadHost)?;
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(BadHead::BadHost);
            }
            (&host[..address.len() + 2], rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, Some("")),
        },
    };
    let port = port.ok_or(BadHead::BadHost)?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.len() > 5 {
        return Err(BadHead::BadHost);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(BadHead::EmptyHost);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if !name.starts_with('[') && !name.bytes().all(allowed) {
        return Err(BadHead::BadHost);
    }
    Ok(name.to_ascii_lowercase())
}

/// The upgrade that is asked for, when it is one that we can check. Others (`h2c` above all) are not passed on.
fn upgrade(fields: &Fields, minor: u8, framing: Framing) -> Result<Option<Upgrade>, BadHead> {
    if minor == 0 || !fields.has_token("connection", "upgrade") {
        return Ok(None);
    }
    let mut values = fields.all("upgrade");
    let upgrade = match values.next() {
        Some(value) if value.eq_ignore_ascii_case(b"websocket") => Upgrade::WebSocket,
        Some(value) if value.eq_ignore_ascii_case(b"tcp") => Upgrade::Tcp,
        _ => return Ok(None),
    };
    if values.next().is_some() {
        return Ok(None);
    }
    match framing {
        Framing::None | Framing::Length(0) => Ok(Some(upgrade)),
        _ => Err(BadHead::UpgradeBody),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

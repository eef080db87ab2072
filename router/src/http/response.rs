//! Heads of answers, checked as strictly as those of requests: apps are not trusted either.

use super::{
    body::Framing,
    fields::Fields,
    request::{BadHead, Upgrade, framing},
};
use bytes::Bytes;
use std::ops::Range;

/// An answer's head that is safe to act on.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) fields: Fields,
    raw: Bytes,
    reason: Range<usize>,
    pub(crate) status: u16,
    /// How the body is delimited, by what the head says; see [`Response::body`].
    framing: Framing,
    /// Whether the app lets its connection live on.
    pub(crate) keep_alive: bool,
}

impl Response {
    /// Reads a whole head, as [`super::scan::Scan`] found it.
    pub(crate) fn parse(raw: Bytes, max_headers: usize) -> Result<Self, BadHead> {
        let mut headers = vec![httparse::EMPTY_HEADER; max_headers];
        let mut parsed = httparse::Response::new(&mut headers);
        parsed.parse(&raw).map_err(BadHead::from)?;
        let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(BadHead::StartLine);
        };
        if !(100..=999).contains(&status) {
            return Err(BadHead::StartLine);
        }
        let reason = match parsed.reason.unwrap_or_default() {
            "" => 0..0,
            reason => {
                let at = reason.as_ptr() as usize - raw.as_ptr() as usize;
                at..at + reason.len()
            }
        };
        let fields = Fields::new(raw.clone(), parsed.headers);
        let framing = framing(&fields, minor)?;
        let keep_alive = minor == 1 && !fields.has_token("connection", "close");
        Ok(Self { fields, raw, reason, status, framing, keep_alive })
    }

    /// The words after the status; may be empty.
    pub(crate) fn reason(&self) -> &[u8] {
        &self.raw[self.reason.clone()]
    }

    /// How the body that follows is delimited (RFC 9112 §6.3).
    pub(crate) fn body(&self, to_head: bool) -> Framing {
        match self.framing {
            _ if to_head || self.status < 200 || matches!(self.status, 204 | 304) => Framing::None,
            Framing::None => Framing::UntilClose,
            framing => framing,
        }
    }

    /// What `Content-Length` says; a head without a body may have one too.
    pub(crate) fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    /// Whether this 101 is the change of protocol that was asked for.
    pub(crate) fn switches_to(&self, upgrade: Upgrade) -> bool {
        let mut values = self.fields.all("upgrade");
        let named = values.next().is_some_and(|value| value.eq_ignore_ascii_case(upgrade.name().as_bytes()));
        self.status == 101
            && named
            && values.next().is_none()
            && self.fields.has_token("connection", "upgrade")
            && matches!(self.framing, Framing::None | Framing::Length(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Response, BadHead> {
        Response::parse(Bytes::copy_from_slice(head.as_bytes()), 16)
    }

    #[test]
    fn bodies_end_where_the_head_says() {
        let body = |head: &str| read(head).unwrap().body(false);
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), Framing::Length(5));
        assert_eq!(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Framing::Chunked);
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\n"), Framing::UntilClose);
        assert_eq!(body("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"), Framing::None);
        assert_eq!(body("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), Framing::None);
        let head = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert_eq!((head.body(true), head.length()), (Framing::None, Some(5)));
        assert_eq!(read("HTTP/1.1 200\r\n\r\n").unwrap().reason(), b"");
        assert!(!read("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n").unwrap().keep_alive);
    }

    #[test]
    fn ambiguous_answers_are_refused() {
        let cases = [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                BadHead::LengthAndEncoding,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", BadHead::Length),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", BadHead::Encoding),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", BadHead::Encoding),
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", BadHead::Field),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", BadHead::Field),
            ("HTTP/1.1 99 OK\r\n\r\n", BadHead::StartLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", BadHead::StartLine),
            ("SSH-2.0-OpenSSH\r\n\r\n", BadHead::Version),
        ];
        for (head, bad) in cases {
            assert_eq!(read(head).map(|response| response.status), Err(bad), "{head:?}");
        }
    }

    #[test]
    fn a_101_must_be_the_one_that_was_asked_for() {
        let switches = |head: &str| read(head).unwrap().switches_to(Upgrade::WebSocket);
        assert!(switches("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
        assert!(!switches("HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
        assert!(!switches("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"));
        assert!(!switches("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n"));
        assert!(!switches("HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n"));
    }
}

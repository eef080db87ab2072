//! What the router answers itself.

use crate::http::request::BadHead;

/// An answer of ours: plain text, never cached, marked with `X-Cf-RouterError`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    reason: &'static str,
    /// The value of `X-Cf-RouterError`.
    pub(crate) mark: Option<&'static str>,
    body: String,
}

impl Answer {
    fn new(status: u16, reason: &'static str, mark: Option<&'static str>, text: &str) -> Self {
        Self { status, reason, mark, body: format!("{status} {reason}: {text}\n") }
    }

    /// `host` has passed the check of request heads, so that it can be repeated.
    pub(crate) fn unknown_route(host: &str) -> Self {
        let text = format!("Requested route ('{host}') does not exist.");
        Self::new(404, "Not Found", Some("unknown_route"), &text)
    }

    pub(crate) fn no_endpoints(host: &str) -> Self {
        let text = format!(
            "Requested route ('{host}') has no available endpoints: its app is stopped, still starting, or crashed."
        );
        Self::new(503, "Service Unavailable", Some("no_endpoints"), &text)
    }

    pub(crate) fn no_such_instance() -> Self {
        Self::new(
            400,
            "Bad Request",
            Some("unknown_route"),
            "The instance named in X-CF-App-Instance does not serve this route.",
        )
    }

    pub(crate) fn bad_instance_header() -> Self {
        Self::new(
            400,
            "Bad Request",
            Some("invalid_cf_app_instance_header"),
            "X-CF-App-Instance must be the app's guid, a colon and the instance's index.",
        )
    }

    pub(crate) fn endpoint_failure(text: &str) -> Self {
        Self::new(502, "Bad Gateway", Some("endpoint_failure"), text)
    }

    pub(crate) fn bad_request(text: &str) -> Self {
        Self::new(400, "Bad Request", None, text)
    }

    pub(crate) fn timeout() -> Self {
        Self::new(408, "Request Timeout", None, "The request did not arrive in time.")
    }

    pub(crate) fn bad_head(bad: BadHead) -> Self {
        let text = format!("{bad}.");
        match bad {
            BadHead::EmptyHost => Self::new(400, "Bad Request", Some("empty_host"), &text),
            BadHead::TooLong | BadHead::TooMany => {
                Self::new(431, "Request Header Fields Too Large", Some("max-request-size-exceeded"), &text)
            }
            BadHead::Version => Self::new(505, "HTTP Version Not Supported", None, &text),
            BadHead::Expect => Self::new(417, "Expectation Failed", None, &text),
            BadHead::Connect => Self::new(405, "Method Not Allowed", None, &text),
            _ => Self::new(400, "Bad Request", None, &text),
        }
    }

    /// For load balancers that ask whether the router lives.
    pub(crate) fn health(draining: bool) -> Self {
        match draining {
            false => Self { status: 200, reason: "OK", mark: None, body: "ok\n".to_owned() },
            true => Self::new(503, "Service Unavailable", None, "The router is stopping."),
        }
    }

    /// Bytes of the body.
    pub(crate) fn length(&self) -> usize {
        self.body.len()
    }

    /// The whole answer as bytes.
    pub(crate) fn write(&self, request_id: &str, to_head: bool, keep_alive: bool) -> Vec<u8> {
        let mark = self.mark.map(|mark| format!("X-Cf-RouterError: {mark}\r\n")).unwrap_or_default();
        let connection = if keep_alive { "" } else { "Connection: close\r\n" };
        let allow =
            if self.status == 405 { "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" } else { "" };
        let body = if to_head { "" } else { &self.body };
        format!(
            "HTTP/1.1 {} {}\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
             Cache-Control: no-cache, no-store\r\nContent-Length: {}\r\nX-Vcap-Request-Id: {request_id}\r\n\
             {mark}{allow}{connection}\r\n{body}",
            self.status,
            self.reason,
            self.body.len(),
        )
        .into_bytes()
    }
}

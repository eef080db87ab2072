//! Sessions that stay with their instance: the `__VCAP_ID__` cookie.
//!
//! When an app sets one of the configured session cookies (`JSESSIONID`), the router adds `__VCAP_ID__` with the
//! instance's id. A request that has both goes to that instance again; when it is gone, another one is chosen
//! and the cookie is written anew.

use crate::http::{fields::Fields, response::Response};

/// The router's cookie.
pub(crate) const COOKIE: &str = "__VCAP_ID__";

/// The instance id that a request's session sticks to.
pub(crate) fn wanted(fields: &Fields, sessions: &[String]) -> Option<Vec<u8>> {
    let mut session = false;
    let mut instance = None;
    for pair in fields.all("cookie").flat_map(|value| value.split(|byte| *byte == b';')) {
        let pair = pair.trim_ascii();
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        session |= sessions.iter().any(|own| own.as_bytes() == name);
        if name == COOKIE.as_bytes() {
            instance = Some(value.to_vec());
        }
    }
    instance.filter(|_| session)
}

/// The `Set-Cookie` value to add to an answer: when the app sets a session cookie, with its attributes, or when
/// `moved` says that the session has just lost its instance.
pub(crate) fn cookie(
    response: &Response,
    sessions: &[String],
    instance: &str,
    context_path: &str,
    moved: bool,
) -> Option<String> {
    let session = response.fields.all("set-cookie").find(|value| {
        let name = value.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        sessions.iter().any(|own| own.as_bytes() == name)
    });
    // An id from the bus must not be able to end the header line.
    let sane =
        instance.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !sane || session.is_none() && !moved {
        return None;
    }
    let mut cookie = format!("{COOKIE}={instance}; Path={context_path}; HttpOnly");
    for attribute in session.unwrap_or_default().split(|byte| *byte == b';').skip(1) {
        let attribute = attribute.trim_ascii();
        let name = attribute.split(|byte| *byte == b'=').next().unwrap_or_default().to_ascii_lowercase();
        if matches!(&name[..], b"secure" | b"samesite" | b"max-age" | b"partitioned")
            && let Ok(text) = std::str::from_utf8(attribute)
        {
            cookie.push_str("; ");
            cookie.push_str(text);
        }
    }
    Some(cookie)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Request;
    use bytes::Bytes;

    fn sessions() -> Vec<String> {
        vec!["JSESSIONID".to_owned()]
    }

    #[test]
    fn a_session_sticks_only_with_both_cookies() {
        let wanted = |cookies: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{cookies}\r\n");
            wanted(&Request::parse(Bytes::from(head), 16).unwrap().fields, &sessions())
        };
        assert_eq!(wanted("Cookie: a=b; __VCAP_ID__=i1; JSESSIONID=x\r\n"), Some(b"i1".to_vec()));
        assert_eq!(wanted("Cookie: __VCAP_ID__=i1\r\nCookie: JSESSIONID=x\r\n"), Some(b"i1".to_vec()));
        assert_eq!(wanted("Cookie: __VCAP_ID__=i1\r\n"), None);
        assert_eq!(wanted("Cookie: JSESSIONID=x\r\n"), None);
        assert_eq!(wanted(""), None);
    }

    #[test]
    fn the_cookie_takes_over_the_sessions_attributes() {
        let cookie = |lines: &str, instance: &str, moved| {
            let head = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
            cookie(&Response::parse(Bytes::from(head), 16).unwrap(), &sessions(), instance, "/p", moved)
        };
        let set = "Set-Cookie: JSESSIONID=1; path=/x; Secure; SameSite=Strict; HttpOnly; Max-Age=5\r\n";
        assert_eq!(
            cookie(set, "i1", false).as_deref(),
            Some("__VCAP_ID__=i1; Path=/p; HttpOnly; Secure; SameSite=Strict; Max-Age=5")
        );
        assert_eq!(cookie("Set-Cookie: other=1\r\n", "i1", false), None);
        assert_eq!(cookie("", "i1", true).as_deref(), Some("__VCAP_ID__=i1; Path=/p; HttpOnly"));
        assert_eq!(cookie(set, "i1\r\nX: y", false), None);
    }
}

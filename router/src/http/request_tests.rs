use super::*;
use crate::http::scan::Scan;
use proptest::prelude::*;

/// Reads a head the way a connection does.
fn read(bytes: &[u8]) -> Result<Request, BadHead> {
    let end = Scan::default().end(bytes)?.ok_or(BadHead::StartLine)?;
    Request::parse(Bytes::copy_from_slice(&bytes[..end]), 16)
}

/// A head with `lines` after its request line.
fn with(lines: &str) -> Result<Request, BadHead> {
    read(format!("POST /p?q=1 HTTP/1.1\r\n{lines}\r\n").as_bytes())
}

#[test]
fn a_plain_request_is_understood() {
    let request = with("Host: App.Example.COM.:8080\r\nContent-Length: 12\r\n").unwrap();
    assert_eq!((request.method(), request.target(), request.path()), ("POST", "/p?q=1", "/p"));
    assert_eq!(request.host, "app.example.com");
    assert_eq!(request.framing, Framing::Length(12));
    assert!(request.keep_alive);
    assert!(!with("Host: a\r\nConnection: foo, Close\r\n").unwrap().keep_alive);
    assert!(!read(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n").unwrap().keep_alive);
    assert!(read(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").unwrap().keep_alive);
    assert_eq!(read(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").unwrap().host, "[::1]");
    assert_eq!(read(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().target(), "*");
    let absolute = read(b"GET http://A.b/c?d HTTP/1.1\r\nHost: a.b\r\n\r\n").unwrap();
    assert_eq!((absolute.target(), absolute.host.as_str()), ("/c?d", "a.b"));
}

#[test]
fn what_could_smuggle_is_refused() {
    use BadHead::*;
    let cases = [
        ("Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", LengthAndEncoding),
        ("Host: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n", Length),
        ("Host: a\r\nContent-Length: 3, 3\r\n", Length),
        ("Host: a\r\nContent-Length: +3\r\n", Length),
        ("Host: a\r\nContent-Length: -1\r\n", Length),
        ("Host: a\r\nContent-Length: 0x3\r\n", Length),
        ("Host: a\r\nContent-Length:\r\n", Length),
        ("Host: a\r\nContent-Length: 99999999999999999999\r\n", Length),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: chunked, identity\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: xchunked\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding: \x0bchunked\r\n", Field),
        ("Host: a\r\nTransfer-Encoding:\r\n", Encoding),
        ("Host: a\r\nTransfer-Encoding : chunked\r\n", Field),
        ("Host : a\r\n", Field),
        ("Host: a\r\n folded: b\r\n", Field),
        ("Host: a\r\nX: b\r\n\tfolded\r\n", Field),
        (" Host: a\r\n", Field),
        ("Host: a\r\nHost: b\r\n", RepeatedHost),
        ("Host: a\r\nNo colon\r\n", Field),
        ("Host: a\r\n: empty\r\n", Field),
        ("Host: a\r\nX: b\rc\r\n", LineEnd),
        ("Host: a\r\nX: b\nContent-Length: 3\r\n", LineEnd),
        ("Host: a\r\nX: \0\r\n", Nul),
        ("Host: a\r\nX: \x01\r\n", Field),
        ("Host:\r\n", EmptyHost),
        ("", EmptyHost),
        ("Host: .\r\n", EmptyHost),
        ("Host: a/b\r\n", BadHost),
        ("Host: a@b\r\n", BadHost),
        ("Host: a b\r\n", BadHost),
        ("Host: a:b\r\n", BadHost),
        ("Host: a:80:80\r\n", BadHost),
        ("Host: [::1\r\n", BadHost),
        ("Host: [::1]x\r\n", BadHost),
        ("Host: a,b\r\n", BadHost),
        ("Host: a\r\nExpect: cake\r\n", Expect),
        ("Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n", UpgradeBody),
        (
            "Host: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n",
            UpgradeBody,
        ),
    ];
    for (lines, bad) in cases {
        assert_eq!(with(lines).map(|request| request.framing), Err(bad), "{lines:?}");
    }
    let lines: [(&[u8], BadHead); 12] = [
        (b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Encoding),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Version),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", StartLine),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Version),
        (b"GET /\r\nHost: a\r\n\r\n", StartLine),
        (b"GET\r\n\r\n", StartLine),
        (b"G{}T / HTTP/1.1\r\nHost: a\r\n\r\n", StartLine),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Connect),
        (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Target),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", Target),
    ];
    for (head, bad) in lines {
        assert_eq!(
            read(head).map(|request| request.framing),
            Err(bad),
            "{:?}",
            String::from_utf8_lossy(head)
        );
    }
    let many = "X: y\r\n".repeat(17);
    assert_eq!(with(&format!("Host: a\r\n{many}")).map(|request| request.framing), Err(TooMany));
}

#[test]
fn only_known_upgrades_are_upgrades() {
    let upgrade = |name: &str| {
        with(&format!("Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {name}\r\n")).unwrap().upgrade
    };
    assert_eq!(upgrade("WebSocket"), Some(Upgrade::WebSocket));
    assert_eq!(upgrade("tcp"), Some(Upgrade::Tcp));
    assert_eq!(upgrade("h2c"), None);
    assert_eq!(upgrade("websocket, h2c"), None);
    assert_eq!(with("Host: a\r\nUpgrade: websocket\r\n").unwrap().upgrade, None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_lines_make_it_panic(lines in "([A-Za-z-]{1,18} ?:[ -~\t]{0,20}\r?\n){0,8}") {
        let _ = with(&lines);
    }
}

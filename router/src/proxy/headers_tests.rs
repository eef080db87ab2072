use super::*;
use crate::http::scan::Scan;
use bytes::Bytes;
use cupola_protocol::router::Register;
use proptest::prelude::*;

fn parse(head: &str) -> Request {
    Request::parse(Bytes::copy_from_slice(head.as_bytes()), 32).unwrap()
}

fn endpoint() -> Endpoint {
    Endpoint::new(&Register {
        host: "10.0.0.1".to_owned(),
        port: 1,
        uris: Vec::new(),
        tags: Default::default(),
        app: Some("app-1".into()),
        dea: None,
        private_instance_id: Some("inst-1".into()),
        private_instance_index: Some("3".to_owned()),
        stale_threshold_in_seconds: None,
    })
}

fn sent(head: &str, policy: Forwarded) -> String {
    let origin = Origin {
        peer: "192.0.2.7".parse().unwrap(),
        request_id: "id-12345",
        started: 1700,
        forwarded: policy,
    };
    String::from_utf8(request(&parse(head), &endpoint(), &origin)).unwrap()
}

#[test]
fn the_app_gets_what_the_router_knows() {
    let head = sent("GET /a?b HTTP/1.1\r\nHost: App.Com:80\r\nAccept: x\r\n\r\n", Forwarded::Append);
    assert_eq!(
        head,
        "GET /a?b HTTP/1.1\r\nHost: App.Com:80\r\nAccept: x\r\nX-Forwarded-For: 192.0.2.7\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Host: App.Com:80\r\nX-Request-Start: 1700\r\n\
         X-Vcap-Request-Id: id-12345\r\nX-CF-ApplicationID: app-1\r\nX-CF-InstanceID: inst-1\r\n\
         X-CF-InstanceIndex: 3\r\n\r\n"
    );
}

#[test]
fn what_concerns_the_connection_stays_behind() {
    let head = sent(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret\r\nKeep-Alive: 5\r\nX-Secret: s\r\nTE: trailers\r\n\
         Trailer: x\r\nProxy-Authorization: p\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        Forwarded::Append,
    );
    for gone in ["close", "X-Secret", "Keep-Alive", "TE:", "Trailer", "Proxy-", "Upgrade", "h2c"] {
        assert!(!head.contains(gone), "{gone} in {head}");
    }
    assert_eq!(head.matches("Transfer-Encoding: chunked\r\n").count(), 1);
}

#[test]
fn nobody_speaks_for_the_router() {
    let spoofed = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX_Forwarded_For: 2.2.2.2\r\n\
                   x-forwarded-proto: https\r\nX-CF-ApplicationID: other\r\nX_CF_InstanceIndex: 9\r\n\
                   Content_Length: 5\r\nX-Forwarded-Host: evil\r\nConnection: X-Forwarded-For\r\n\r\n";
    let appended = sent(spoofed, Forwarded::Append);
    assert!(
        appended.contains("X-Forwarded-For: 1.1.1.1, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"),
        "{appended}"
    );
    let replaced = sent(spoofed, Forwarded::Replace);
    assert!(
        replaced.contains("X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n")
    );
    for head in [appended, replaced] {
        for gone in ["2.2.2.2", "other", ": 9", "Content_Length"] {
            assert!(!head.contains(gone), "{gone} in {head}");
        }
    }
}

#[test]
fn request_ids_are_taken_only_when_sane() {
    let given =
        |lines: &str| given_request_id(&parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).fields);
    assert_eq!(given("X-Vcap-Request-Id: abc-12345\r\n").as_deref(), Some("abc-12345"));
    assert_eq!(given("X-Vcap-Request-Id: abc-12345\r\nX-Vcap-Request-Id: abc-12345\r\n"), None);
    assert_eq!(given("X-Vcap-Request-Id: a b c \" injected\r\n"), None);
    assert_eq!(given("X-Vcap-Request-Id: short\r\n"), None);
    assert_eq!(given(&format!("X-Vcap-Request-Id: {}\r\n", "x".repeat(129))), None);
    assert_eq!(given(""), None);
}

/// Header lines that somebody up to no good could try.
fn line_of_a_head() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("Content-Length".to_owned()),
        Just("Transfer-Encoding".to_owned()),
        Just("transfer_encoding".to_owned()),
        Just("Connection".to_owned()),
        Just("Upgrade".to_owned()),
        Just("Host".to_owned()),
        "[A-Za-z_-]{1,12}",
    ];
    let value = prop_oneof![
        Just("chunked".to_owned()),
        Just("5".to_owned()),
        Just("close, content-length".to_owned()),
        Just("upgrade".to_owned()),
        Just("websocket".to_owned()),
        "[ -~\t]{0,16}",
    ];
    (name, value).prop_map(|(name, value)| format!("{name}:{value}\r\n"))
}

proptest! {
    /// What goes to the app says the same as what was understood, to us and to httparse.
    #[test]
    fn what_is_written_reads_as_what_was_read(lines in proptest::collection::vec(line_of_a_head(), 0..8)) {
        let head = format!("POST /p HTTP/1.1\r\nHost: a.test\r\n{}\r\n", lines.concat());
        let Ok(first) = Request::parse(Bytes::from(head), 32) else { return Ok(()) };
        let origin = Origin {
            peer: "192.0.2.7".parse().unwrap(),
            request_id: "id-12345",
            started: 1700,
            forwarded: Forwarded::Append,
        };
        let written = request(&first, &endpoint(), &origin);
        prop_assert_eq!(Scan::default().end(&written), Ok(Some(written.len())));
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut reference = httparse::Request::new(&mut headers);
        prop_assert!(reference.parse(&written).unwrap().is_complete());
        let second = Request::parse(Bytes::from(written.clone()), 64).unwrap();
        prop_assert_eq!(second.framing, first.framing);
        prop_assert_eq!(second.upgrade, first.upgrade);
        prop_assert_eq!((second.method(), second.target(), &second.host), ("POST", "/p", &first.host));
        for name in ["content-length", "transfer-encoding"] {
            let count = reference.headers.iter().filter(|header| {
                header.name.replace('_', "-").eq_ignore_ascii_case(name)
            }).count();
            prop_assert!(count <= 1, "{} lines of {}", count, name);
        }
    }
}

//! Who may use the socket, and what of the host they may name. The client is a script of its own that writes the
//! protocol's bytes by hand, run as another user: so these are also the words of a client that is not ours.

use crate::scene::Warden;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Sends one frame, given as type number and payload in hexadecimal, and prints the payload that comes back.
const CLIENT: &str = r"
import socket, sys
kind, payload = int(sys.argv[2]), bytes.fromhex(sys.argv[3])
body = bytes([8, kind, 18, len(payload)]) + payload
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b'%d\r\n%s\r\n' % (len(body), body))
print(s.recv(65536).decode('utf-8', 'replace'))
";

/// uid of `nobody`.
const NOBODY: &str = "65534";

/// What a client of user `nobody` gets for a request.
fn ask(warden: &Warden, kind: u32, payload: &[u8]) -> Result<String, String> {
    let socket = warden.path().join("warden.sock");
    // The test's directory is root's alone; the socket in it is what is being tested.
    fs::set_permissions(warden.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let payload: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    let output = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "/usr/bin/python3", "-c", CLIENT])
        .arg(socket)
        .args([kind.to_string(), payload])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn the_socket_is_closed_to_other_users() {
    let warden = Warden::start().await;
    let error = ask(&warden, 91, b"").unwrap_err();
    assert!(error.contains("PermissionError"), "{error}");
    // Even one who could open it is asked who he is.
    fs::set_permissions(warden.path().join("warden.sock"), fs::Permissions::from_mode(0o666)).unwrap();
    let answer = ask(&warden, 91, b"");
    assert!(!answer.clone().is_ok_and(|text| text.contains('[')), "{answer:?}");
    warden.client.ping().await.unwrap();
}

#[tokio::test]
async fn the_owner_may_name_what_is_configured() {
    let warden = Warden::start_with("", "socket_owner = \"nobody\"\nhost_paths = [\"/usr/share\"]").await;
    let answer = ask(&warden, 91, b"").unwrap();
    assert!(answer.starts_with("4\r\n\u{8}["), "{answer:?}");
    // Create with rootfs (field 5) /etc: not of the configured paths.
    let answer = ask(&warden, 11, b"\x2a\x04/etc").unwrap();
    assert!(answer.contains("this user may not use /etc") && answer.contains("host_paths"), "{answer:?}");
    // A bind mount (field 1) whose source leads out of the allowed directory.
    let bind = b"\x0a\x1c\x0a\x14/usr/share/../../etc\x12\x02/x\x18\x00";
    let answer = ask(&warden, 11, bind).unwrap();
    assert!(answer.contains("this user may not use /usr/share/../../etc"), "{answer:?}");
    // Without either it is the operator's root: made, although its path is not one of this user's.
    let answer = ask(&warden, 11, b"\x10\x01\x1a\x01h").unwrap();
    assert!(answer.contains("\u{a}\u{1}h"), "{answer:?}");
    assert_eq!(warden.client.list().await.unwrap(), ["h"]);
    // Copy in (handle, source, target) of a file of root's.
    let answer = ask(&warden, 41, b"\x0a\x01h\x12\x0b/etc/shadow\x1a\x04/tmp").unwrap();
    assert!(answer.contains("this user may not use /etc/shadow"), "{answer:?}");
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_the_connection() {
    let warden = Warden::start().await;
    let mut stream = std::os::unix::net::UnixStream::connect(warden.path().join("warden.sock")).unwrap();
    std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    assert_eq!(answer, b"");
    let unknown = ask_as_root(&warden, b"4\r\n\x08\x4d\x12\x00\r\n");
    assert!(unknown.contains("unknown request of type 77"), "{unknown:?}");
    let damaged = ask_as_root(&warden, b"6\r\n\x08\x0e\x12\x02\x0a\x09\r\n");
    assert!(damaged.contains("the Info request cannot be read"), "{damaged:?}");
}

/// What root gets for raw bytes.
fn ask_as_root(warden: &Warden, bytes: &[u8]) -> String {
    let mut stream = std::os::unix::net::UnixStream::connect(warden.path().join("warden.sock")).unwrap();
    std::io::Write::write_all(&mut stream, bytes).unwrap();
    let mut answer = vec![0; 4096];
    let length = std::io::Read::read(&mut stream, &mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

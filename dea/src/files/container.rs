//! Reading in a container: a short job of the app's own user for each piece. What the path leads to, with every
//! link on the way, is looked up by that job, inside.

use super::{Entry, Look, Refusal};
use crate::{instance::container::chain, node::Node};
use cupola_protocol::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;
use warden_client::{
    Name, Output,
    message::{ResourceLimits, SpawnRequest},
};

/// Bytes that one job reads: what is under way at a time is bounded by this, and well below the output that
/// warden allows a job.
pub(super) const WINDOW: u64 = 1 << 20;

/// How long a warden that is away is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// Processor time that a job may use, in seconds.
const CPU_SECONDS: u64 = 10;

/// Exit statuses of the scripts.
const NOT_FOUND: u32 = 42;
const DENIED: u32 = 43;
const NOT_A_FILE: u32 = 44;

/// Says what is at `$FILE` below the home, and gives `$LENGTH` bytes of a file from `$OFFSET`, or the entries of a
/// directory in `$LISTING` bytes. Bash reads this text from its standard input: nothing in it may.
const LOOK: &str = r#"cd /home/vcap || exit 42
file=./$FILE
if [ -d "$file" ]; then
  [ -r "$file" ] && [ -x "$file" ] || exit 43
  echo directory
  find -L "$file" -mindepth 1 -maxdepth 1 -printf '%y %s %f\0' 2>/dev/null | head -c "$LISTING"
elif [ -f "$file" ]; then
  [ -r "$file" ] || exit 43
  size=$(stat -L -c %s "$file") || exit 42
  echo "file $size"
  [ "$LENGTH" -eq 0 ] || tail -c "+$((OFFSET + 1))" "$file" | head -c "$LISTING"
elif [ -e "$file" ]; then
  exit 44
else
  exit 42
fi
exit 0
"#;

/// The regular files below `logs/`, newest first.
const GATHER: &str = r#"cd /home/vcap || exit 42
find logs -type f -printf '%T@ %s %p\0' 2>/dev/null | sort -z -r -n | head -z -n "$COUNT"
exit 0
"#;

/// Looks at a path, which is inside of the home, and reads `length` bytes from `offset` when it is a file.
pub(super) async fn look(
    node: &Arc<Node>,
    handle: &str,
    path: &str,
    offset: u64,
    length: u64,
) -> Result<Look, Refusal> {
    let turn = node.directory.turn().await?;
    let env = [
        ("FILE", path.to_owned()),
        ("OFFSET", offset.to_string()),
        ("LENGTH", length.min(WINDOW).to_string()),
        ("LISTING", WINDOW.to_string()),
    ];
    let said = run(node, handle, LOOK, &env, turn).await?;
    match said.status {
        0 => read(&said.out, path),
        NOT_FOUND => Err(Refusal::NotFound(path.to_owned())),
        DENIED => Err(Refusal::Denied(path.to_owned())),
        NOT_A_FILE => Err(Refusal::NotAFile(path.to_owned())),
        status => Err(Refusal::Unreachable(format!("reading ended with status {status}"))),
    }
}

/// Reads what [`LOOK`] wrote.
fn read(out: &[u8], path: &str) -> Result<Look, Refusal> {
    let broken = || Refusal::Unreachable(format!("the answer about {path:?} cannot be read"));
    let end = out.iter().position(|byte| *byte == b'\n').ok_or_else(broken)?;
    let (head, rest) = (String::from_utf8_lossy(&out[..end]), &out[end + 1..]);
    if let Some(size) = head.strip_prefix("file ") {
        return Ok(Look::File { begin: 0, size: size.parse().map_err(|_| broken())?, bytes: rest.to_vec() });
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut pieces: Vec<&[u8]> = rest.split(|byte| *byte == 0).collect();
    // Behind the last zero is nothing, or half an entry where it was cut.
    pieces.pop();
    for piece in pieces {
        let text = String::from_utf8_lossy(piece);
        let mut words = text.splitn(3, ' ');
        let (Some(kind), Some(size), Some(name)) = (words.next(), words.next(), words.next()) else {
            return Err(broken());
        };
        let size = (kind != "d").then(|| size.parse().map(Bytes)).transpose().map_err(|_| broken())?;
        entries.push(Entry { name: name.to_owned(), size });
    }
    entries.sort();
    Ok(Look::Directory { entries, cut: rest.len() as u64 >= WINDOW })
}

/// One file to keep of a crashed instance: its path below the home, and its last bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gathered {
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

/// Reads the files in `logs/`, newest first, up to the limits; of what is larger the end.
pub(crate) async fn gather(node: &Arc<Node>, handle: &str) -> Result<Vec<Gathered>, Refusal> {
    let config = &node.config.files;
    let env = [("COUNT", config.crash_max_files.to_string())];
    let said = run(node, handle, GATHER, &env, node.directory.turn().await?).await?;
    let mut left = config.crash_max_mb.bytes().0;
    let mut gathered = Vec::new();
    for piece in said.out.split(|byte| *byte == 0) {
        let text = String::from_utf8_lossy(piece);
        let mut words = text.splitn(3, ' ');
        let (Some(_), Some(size), Some(path)) = (words.next(), words.next(), words.next()) else { continue };
        let (Ok(size), Ok(path)) = (size.parse::<u64>(), super::path::inside(path)) else { continue };
        let wanted = size.min(left);
        let (mut bytes, mut offset) = (Vec::new(), size - wanted);
        while offset < size {
            let Ok(Look::File { bytes: more, .. }) = look(node, handle, &path, offset, size - offset).await
            else {
                break;
            };
            if more.is_empty() {
                break;
            }
            offset += more.len() as u64;
            bytes.extend(more);
        }
        left -= wanted;
        gathered.push(Gathered { path, bytes });
    }
    Ok(gathered)
}

struct Said {
    status: u32,
    out: Vec<u8>,
}

/// Runs a script to its end. The task goes on when nobody waits any more: a job whose end was not taken is kept by
/// the warden.
async fn run(
    node: &Arc<Node>,
    handle: &str,
    script: &str,
    env: &[(&str, String)],
    turn: OwnedSemaphorePermit,
) -> Result<Said, Refusal> {
    let request = SpawnRequest {
        handle: handle.to_owned(),
        script: script.to_owned(),
        rlimits: Some(ResourceLimits { cpu: Some(CPU_SECONDS), ..ResourceLimits::default() }),
        env: env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        ..SpawnRequest::default()
    };
    let (warden, handle) = (node.warden.clone().with_patience(PATIENCE), handle.to_owned());
    let job = tokio::spawn(async move {
        let _turn = turn;
        let job = warden.spawn(request).await?;
        let mut stream = warden.stream(&handle, job, None).await?;
        let mut out = Vec::new();
        loop {
            match stream.next().await? {
                Some(Output::Data { name: Name::Stdout, bytes, .. }) => out.extend_from_slice(&bytes),
                Some(Output::Data { .. }) => {}
                Some(Output::Exited { status, .. }) => return Ok(Said { status, out }),
                None => return Ok(Said { status: 255, out }),
            }
        }
    });
    let limit = crate::config::seconds(node.config.files.wait_seconds);
    match tokio::time::timeout(limit, job).await {
        Ok(Ok(said)) => said.map_err(|error: warden_client::Error| Refusal::Unreachable(chain(&error))),
        Ok(Err(error)) => Err(Refusal::Unreachable(error.to_string())),
        Err(_) => Err(Refusal::Unreachable("the container does not answer".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_writes_is_read() {
        assert_eq!(
            read(b"file 7\nabc\n\0d", "x"),
            Ok(Look::File { begin: 0, size: 7, bytes: b"abc\n\0d".to_vec() })
        );
        let entry = |name: &str, size| Entry { name: name.to_owned(), size };
        assert_eq!(
            read(b"directory\nf 12 with a space\nand a line\0d 4096 app\0l 3 broken\0", "x"),
            Ok(Look::Directory {
                entries: vec![
                    entry("app", None),
                    entry("broken", Some(Bytes(3))),
                    entry("with a space\nand a line", Some(Bytes(12))),
                ],
                cut: false
            })
        );
        let long =
            [b"directory\n".to_vec(), b"f 1 a\0".repeat(WINDOW as usize / 6), b"f 2 h".to_vec()].concat();
        let Ok(Look::Directory { entries, cut: true }) = read(&long, "x") else { panic!("not cut") };
        assert_eq!(entries.last(), Some(&entry("a", Some(Bytes(1)))));
        for bad in [&b""[..], b"file x\n", b"directory\nf 1\0"] {
            assert!(matches!(read(bad, "x"), Err(Refusal::Unreachable(_))), "{bad:?}");
        }
    }
}

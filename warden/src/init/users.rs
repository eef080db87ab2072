//! Who a job is, by what the container's own files say: read by the job's process, inside, before it gives up its powers.

use super::execute::Vcap;
use crate::wire::{Failure, JobSpec, JobUser, NamedUser};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Largest file that is read; a container writes it.
const LARGEST: u64 = 1024 * 1024;
/// Ids above this are outside the container's range.
const HIGHEST: u32 = 65_535;

/// Who a job runs as, and what it is told of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Empty where it was not looked up.
    pub(super) name: Vec<u8>,
    pub(super) home: PathBuf,
}

/// The ids of a user that needs no looking up.
pub(super) fn ids(user: JobUser, vcap: Vcap) -> (u32, u32) {
    match user {
        JobUser::Root => (0, 0),
        JobUser::Vcap => (vcap.uid, vcap.gid),
        JobUser::Ids { uid, gid } => (uid, gid),
    }
}

/// Who runs a job. The files are read only where something of the answer is wanted.
pub(super) fn of(spec: &JobSpec, vcap: Vcap) -> Result<Identity, Failure> {
    let has = |name: &[u8]| spec.env.iter().any(|(known, _)| known == name);
    let (uid, gid) = ids(spec.user, vcap);
    if spec.named.is_none() && has(b"HOME") && has(b"USER") && !spec.cwd.as_os_str().is_empty() {
        return Ok(Identity { uid, gid, name: Vec::new(), home: PathBuf::new() });
    }
    let passwd = read("/etc/passwd");
    match &spec.named {
        None => {
            Ok(match passwd.as_deref().ok().and_then(|text| entry(text, &uid.to_string().into_bytes())) {
                Some(found) => Identity { uid, gid, ..found },
                None => nobody(uid, gid),
            })
        }
        Some(named) => {
            // Numbers need no file: many an image has none.
            let text = match passwd {
                Ok(text) => text,
                Err(_) if number(&named.user).is_some() => Vec::new(),
                Err(errno) => return Err(Failure::new("read", "/etc/passwd", errno as i32)),
            };
            find(named, &text, || read("/etc/group").unwrap_or_default())
        }
    }
}

/// A user whom no file knows: at home in the root.
fn nobody(uid: u32, gid: u32) -> Identity {
    Identity { uid, gid, name: uid.to_string().into_bytes(), home: PathBuf::from("/") }
}

fn find(named: &NamedUser, passwd: &[u8], group: impl FnOnce() -> Vec<u8>) -> Result<Identity, Failure> {
    let unknown = |what: &str, name: &[u8]| {
        let name = String::from_utf8_lossy(name).into_owned();
        Failure::new(format!("find the {what} in the container's files"), name, libc::ENOENT)
    };
    let mut found = match (entry(passwd, &named.user), number(&named.user)) {
        (Some(found), _) => found,
        (None, Some(uid)) => nobody(uid, uid),
        (None, None) => return Err(unknown("user", &named.user)),
    };
    if let Some(name) = &named.group {
        found.gid = match number(name) {
            Some(gid) => gid,
            None => group_id(&group(), name).ok_or_else(|| unknown("group", name))?,
        };
    }
    Ok(found)
}

/// An id of the container's range.
fn number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let id = digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()?;
    (id <= HIGHEST).then_some(id)
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|byte| *byte == b':').collect()
}

/// The user of a passwd(5) line, by name, or else by number.
fn entry(passwd: &[u8], user: &[u8]) -> Option<Identity> {
    let lines = || passwd.split(|byte| *byte == b'\n').map(fields);
    let by_name = lines().find(|fields| fields.first() == Some(&user));
    let by_number = || {
        let uid = number(user)?;
        lines().find(|fields| fields.get(2).and_then(|text| number(text)) == Some(uid))
    };
    let fields = by_name.or_else(by_number)?;
    let home = fields.get(5).filter(|home| home.starts_with(b"/")).copied().unwrap_or(b"/");
    Some(Identity {
        uid: number(fields.get(2)?)?,
        gid: number(fields.get(3)?)?,
        name: fields.first()?.to_vec(),
        home: PathBuf::from(std::ffi::OsString::from_vec(home.to_vec())),
    })
}

fn group_id(group: &[u8], name: &[u8]) -> Option<u32> {
    let mut lines = group.split(|byte| *byte == b'\n').map(fields);
    number(lines.find(|fields| fields.first() == Some(&name))?.get(2)?)
}

/// A file of the container, if it is one and not too large. Not blocking: it may have become a pipe.
fn read(path: &str) -> Result<Vec<u8>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = File::from(open(Path::new(path), flags, Mode::empty())?);
    let found = file.metadata().map_err(|_| Errno::EIO)?;
    if !found.is_file() || found.len() > LARGEST {
        return Err(Errno::EFBIG);
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(|_| Errno::EIO)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\nout:x:70000:1::/:\n12:x:40:41::/twelve:\n";

    fn found(user: &str, group: Option<&str>) -> Result<(u32, u32, String), i32> {
        let named = NamedUser { user: user.into(), group: group.map(Into::into) };
        let groups = || b"root:x:0:\nstaff:x:50:web\n".to_vec();
        let found = find(&named, PASSWD, groups).map_err(|failure| failure.errno)?;
        Ok((found.uid, found.gid, found.home.display().to_string()))
    }

    #[test]
    fn users_are_names_or_numbers() {
        assert_eq!(found("web", None), Ok((33, 34, "/srv".into())));
        assert_eq!(found("33", None), Ok((33, 34, "/srv".into())), "a number of the file has its group");
        assert_eq!(found("77", None), Ok((77, 77, "/".into())));
        assert_eq!(found("12", None), Ok((40, 41, "/twelve".into())), "a name comes first");
        assert_eq!(found("web", Some("staff")), Ok((33, 50, "/srv".into())));
        assert_eq!(found("77", Some("9")), Ok((77, 9, "/".into())));
    }

    #[test]
    fn who_is_not_there_is_refused() {
        for (user, group) in
            [("nobody", None), ("web", Some("none")), ("out", None), ("70000", None), ("", None)]
        {
            assert_eq!(found(user, group), Err(libc::ENOENT), "{user} {group:?}");
        }
    }
}

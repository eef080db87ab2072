//! The ordinary user of a container, in the root's `/etc/passwd` and `/etc/group`.

use super::Step;
use super::root::Root;
use crate::wire::{Failure, UserSpec};
use nix::fcntl::OFlag;
use std::io::Read;
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

/// Largest file that is read: an image is not trusted.
const LARGEST: u64 = 1024 * 1024;
/// Ids above this are outside the container's range.
const HIGHEST: u32 = 65_535;

/// Makes sure that the user exists, with a home; gives the ids and the home that hold.
pub(super) fn ensure(root: &Root, user: &UserSpec, base: u32) -> Result<UserSpec, Failure> {
    let (passwd, group) = (Path::new("/etc/passwd"), Path::new("/etc/group"));
    let passwd_text = read(root, passwd)?;
    let user = match entry(&passwd_text, &user.name) {
        Some(line) => from_line(line, user)
            .ok_or_else(|| Failure::new("read the user's entry", passwd, libc::EINVAL))?,
        None => {
            let line =
                format!("{}:x:{}:{}::{}:/bin/bash\n", user.name, user.uid, user.gid, user.home.display());
            root.write(passwd, appended(&passwd_text, &line).as_bytes()).step("add the user", passwd)?;
            user.clone()
        }
    };
    let group_text = read(root, group)?;
    if entry(&group_text, &user.name).is_none() {
        let line = format!("{}:x:{}:\n", user.name, user.gid);
        root.write(group, appended(&group_text, &line).as_bytes()).step("add the group", group)?;
    }
    let home = root.directory(&user.home).step("make the user's home", &user.home)?;
    fchown(&home, Some(base + user.uid), Some(base + user.gid)).step("give the user a home", &user.home)?;
    Ok(user)
}

/// The user as the root has it, if it does.
pub(super) fn find(root: &Root, user: &UserSpec) -> Result<Option<UserSpec>, Failure> {
    let passwd = Path::new("/etc/passwd");
    let text = read(root, passwd)?;
    let known = |line| {
        from_line(line, user).ok_or_else(|| Failure::new("read the user's entry", passwd, libc::EINVAL))
    };
    entry(&text, &user.name).map(known).transpose()
}

fn read(root: &Root, path: &Path) -> Result<String, Failure> {
    // Not blocking: the file may be a pipe.
    let file = match root.find(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY) {
        Err(nix::Error::ENOENT) => return Ok(String::new()),
        other => other.step("open", path)?,
    };
    let metadata = file.metadata().step("look at", path)?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(Failure::new("read a file of users", path, libc::EFBIG));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).step("read", path)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn entry<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find(|line| line.split(':').next() == Some(name))
}

/// uid, gid and home of a passwd(5) line; `None` for ids outside the container's range, or root's.
fn from_line(line: &str, user: &UserSpec) -> Option<UserSpec> {
    let fields: Vec<&str> = line.split(':').collect();
    let id = |at: usize| fields.get(at)?.parse::<u32>().ok().filter(|id| *id <= HIGHEST);
    let uid = id(2).filter(|uid| *uid != 0)?;
    let home = fields.get(5).filter(|home| home.starts_with('/')).map_or(user.home.clone(), PathBuf::from);
    Some(UserSpec { name: user.name.clone(), uid, gid: id(3)?, home })
}

fn appended(text: &str, line: &str) -> String {
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let root =
        if text.is_empty() && line.matches(':').count() > 3 { "root:x:0:0:root:/root:/bin/sh\n" } else { "" };
    format!("{text}{newline}{root}{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vcap() -> UserSpec {
        UserSpec { name: "vcap".into(), uid: 1000, gid: 1000, home: "/home/vcap".into() }
    }

    #[test]
    fn an_entry_of_the_image_holds() {
        let text = "root:x:0:0::/root:/bin/sh\nvcap:x:2000:2001::/home/app:/bin/bash\nvcapper:x:1:1::/:\n";
        let found = from_line(entry(text, "vcap").unwrap(), &vcap()).unwrap();
        assert_eq!((found.uid, found.gid, found.home), (2000, 2001, "/home/app".into()));
        assert_eq!(entry(text, "vca"), None);
    }

    #[test]
    fn ids_that_a_container_does_not_have_are_refused() {
        for line in
            ["vcap:x:0:0::/:", "vcap:x:65536:1::/:", "vcap:x:-1:1::/:", "vcap:x:1:4294967295::/:", "vcap"]
        {
            assert_eq!(from_line(line, &vcap()), None, "{line}");
        }
    }

    #[test]
    fn a_line_is_added_on_a_line_of_its_own() {
        assert_eq!(appended("a:x:1:1::/:", "b:x:2:\n"), "a:x:1:1::/:\nb:x:2:\n");
        assert_eq!(appended("", "b:x:2:\n"), "b:x:2:\n");
    }
}

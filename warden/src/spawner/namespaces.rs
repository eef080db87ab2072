//! User namespaces of containers. Making one takes a process that is in it for a moment; where nothing else is to do, those
//! of the uid ranges that will most likely be asked for next are made ahead. None is used twice.

use super::Step;
use super::serve::RANGE;
use crate::sys::process::{self, Cloned};
use crate::wire::Failure;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;

/// Most that are made ahead.
const SPARE: usize = 4;

/// User namespaces that have been made ahead, by the first uid on the host.
#[derive(Default)]
pub(super) struct Namespaces {
    spare: VecDeque<(u32, File)>,
    /// First uid of the next range, once one has been asked for: ranges are given out in order.
    next: Option<u32>,
}

impl Namespaces {
    /// The user namespace of a range.
    pub(super) fn take(&mut self, uid_base: u32) -> Result<File, Failure> {
        // Those before it were passed over, and will not be asked for soon.
        while let Some((base, file)) = self.spare.pop_front() {
            if base == uid_base {
                return Ok(file);
            }
        }
        self.next = uid_base.checked_add(RANGE);
        whole(uid_base)
    }

    /// Whether one can be made ahead.
    pub(super) fn wants_more(&self) -> bool {
        self.spare.len() < SPARE && self.next.is_some_and(|next| next.checked_add(RANGE).is_some())
    }

    /// Makes one ahead. When that fails there is no more of it until a plan tells why.
    pub(super) fn make_one(&mut self) {
        let Some(base) = self.next else { return };
        self.next = match whole(base) {
            Ok(file) => {
                self.spare.push_back((base, file));
                base.checked_add(RANGE)
            }
            Err(_) => None,
        };
    }
}

fn whole(uid_base: u32) -> Result<File, Failure> {
    let map = format!("0 {uid_base} {RANGE}\n");
    make(&map, &map)
}

/// A user namespace with these maps: made by a child that lives only until they are written.
pub(super) fn make(uids: &str, gids: &str) -> Result<File, Failure> {
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC).step("make a pipe", "")?;
    match process::clone_into(libc::CLONE_NEWUSER, None).step("make a user namespace", "")? {
        Cloned::Child => {
            drop(writing);
            // Returns when the parent has closed its end, or is gone.
            let _ = File::from(reading).read(&mut [0]);
            process::exit_now(0)
        }
        Cloned::Parent { pid, pidfd: _ } => {
            drop(reading);
            for (name, map) in [("uid_map", uids), ("gid_map", gids)] {
                let path = format!("/proc/{pid}/{name}");
                std::fs::write(&path, map).step("map the container's uids", &path)?;
            }
            let path = format!("/proc/{pid}/ns/user");
            let namespace = File::open(&path).step("open the user namespace", &path)?;
            drop(writing);
            Ok(namespace)
        }
    }
}

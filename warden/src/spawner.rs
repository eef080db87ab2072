//! Building containers. The daemon keeps one spawner process (`warden-init spawner`): small, static, single-threaded,
//! run from a sealed copy in memory, with a mount namespace of its own, so that nothing it mounts is seen on the host.
//! It reads [`crate::wire::SpawnRequest`]s from its standard input, a `SOCK_SEQPACKET` socket, and leaves when that closes.
//! Several containers are under construction at once: each builds itself, the spawner only starts it and hears of it.
//!
//! | file | what it does |
//! |---|---|
//! | `client` | the daemon's side |
//! | `serve` | the loop: plan in, container made, pidfd out |
//! | `building` | a container under construction |
//! | `namespaces` | user namespaces |
//! | `images` | EROFS images, mounted once for all containers |
//! | `build` | the first process of a container, from clone to `warden-init init` |
//! | `layers` | the root: overlay of lower layers and the writable one |
//! | `inside` | what is mounted and written in the root |
//! | `users` | the ordinary user in `/etc/passwd` |
//! | `root` | paths resolved inside a root that is not trusted |

mod build;
mod building;
pub mod client;
mod images;
mod inside;
mod layers;
mod namespaces;
mod root;
mod serve;
mod users;

pub(crate) use build::{READY, ROOT_JOB};
pub use serve::serve;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::wire::Failure;

/// Names a step: what was tried and on what, when the kernel refuses it.
trait Step<T> {
    fn step(self, step: &str, path: impl AsRef<Path>) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: &str, path: impl AsRef<Path>) -> Result<T, Failure> {
        self.map_err(|error| {
            let error: io::Error = error.into();
            Failure::new(step, path.as_ref(), error.raw_os_error().unwrap_or(libc::EINVAL))
        })
    }
}

/// A path for a system call; `EINVAL` for one with a zero byte.
fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

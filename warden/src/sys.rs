//! System calls that nix does not wrap, and every `unsafe` block of the project.
//!
//! Each function here is safe to call: what its `unsafe` needs is either checked in it or given by its types. The one
//! promise that a caller keeps is that [`process::fork`] and [`process::clone_into`] are called in single-threaded
//! processes only (the spawner and the init; both ask [`process::is_single_threaded`] when they start).
#![allow(unsafe_code)]

#[cfg(feature = "daemon")]
pub(crate) mod bpf;
pub mod fd;
#[cfg(feature = "daemon")]
pub(crate) mod filesystem;
pub mod loopdev;
pub mod mount;
pub mod privilege;
pub mod process;
pub(crate) mod terminal;
#[cfg(feature = "daemon")]
pub(crate) mod watch;
#[cfg(feature = "daemon")]
pub(crate) mod window;

use std::io;

/// The result of a raw system call: `-1` means look at errno.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

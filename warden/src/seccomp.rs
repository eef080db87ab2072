//! Which system calls the processes of a container may make.
//!
//! The policy is an allow-list: what is named in [`policy`] is allowed or refused with `EPERM`; what is not named is
//! answered with `ENOSYS`, as by a kernel that does not have it, so that programs fall back. The program is a binary
//! search tree over the call's number, because the kernel evaluates it once for every number when it is loaded.

mod compile;
mod policy;

pub use compile::program;

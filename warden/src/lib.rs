//! The container engine: the daemon's parts, the spawner that builds containers, and the process that is PID 1 in them.
//!
//! | module | what it holds | who runs it |
//! |---|---|---|
//! | [`wire`] | what daemon, spawner and init say to each other, and its bytes | all three |
//! | [`channel`] | packets with descriptors over a `SOCK_SEQPACKET` socket | all three |
//! | [`daemon`] | the socket, and everything of a container that is outside it | `warden` |
//! | [`cli`] | the operator's commands | `warden`, as a client |
//! | [`spawner`] | building a container; [`spawner::client::Spawner`] is the daemon's side | `warden-init spawner` |
//! | [`init`] | jobs, their output, tar streams; [`init::client::InitClient`] is the daemon's side | `warden-init init` |
//! | [`seccomp`] | which system calls a container may make, compiled to BPF | `warden-init spawner` |
//! | [`sys`] | every system call that nix does not wrap, and all `unsafe` of the project | all three |

pub mod channel;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod init;
pub mod seccomp;
pub mod spawner;
pub mod sys;
pub mod wire;

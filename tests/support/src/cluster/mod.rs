//! A platform on several hosts, on this one machine: each host is a set of namespaces (network, mounts, processes) with
//! a disk of its own, and runs what a real one runs, by the same binaries and the configuration files of
//! `docs/examples/cluster`, which `docs/operations.md` explains.
//!
//! - [`plan`]: which hosts there are, and what runs on each.
//! - [`network`]: the switch between them.
//! - [`host`]: one host from outside: boot, crash, start, stop and kill of what runs on it.
//! - [`boot`]: one host from inside: its process 1, which reads systemd units.
//! - [`files`]: what is on a host's disk before its first boot.
//! - [`database`]: PostgreSQL on its host, as Debian's administrators make it.
//! - [`developer`]: pushes and requests through the load balancer.
//! - [`load`]: requests at a fixed rate, and which of them failed.
//! - [`losses`]: loses one thing after the other and waits until all is whole again.

pub mod boot;
mod cleanup;
mod database;
mod developer;
mod files;
mod host;
mod load;
pub mod losses;
mod network;
mod plan;
mod unit;
mod up;

pub use host::Host;
pub use up::Cluster;

//! Harness of the end-to-end, privileged and chaos tests: what a test needs around the thing that it tests.
//!
//! - [`require_root`]: the first line of a privileged test.
//! - [`eventually`], [`eventually_blocking`]: waiting for a condition, instead of sleeping.
//! - [`NatsServer`]: a real bus of one's own.
//! - [`PostgresServer`]: a real PostgreSQL of one's own.
//! - [`S3Server`]: a real S3-compatible store of one's own; the program `s3-server` is the same for many hosts.
//! - [`Inventory`]: what the kernel holds, before and after: proof that nothing leaked.
//! - [`Platform`]: a whole platform of the test's own, by `cupola up`.
//! - [`TempDir`]: a directory that goes away with the test.
//! - [`cluster`]: a platform on several hosts (program `cluster`).
//! - [`vm`]: the privileged tests in a virtual machine (program `vm-run`).

pub mod cluster;
mod eventually;
mod nats;
mod platform;
mod postgres;
mod root;
mod s3;
pub mod vm;

pub use eventually::{eventually, eventually_blocking};
pub use inventory::{Inventory, Scope};
pub use nats::NatsServer;
pub use platform::{Platform, Said, inventory};
pub use postgres::PostgresServer;
pub use root::require_root;
pub use s3::{S3Server, serve as serve_s3};
pub use tempfile::TempDir;

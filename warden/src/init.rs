//! PID 1 of a container: runs jobs, keeps their output and their ends in files, reaps, and packs and unpacks tar streams.
//!
//! One thread, one poll loop. It holds nothing that its daemon could not read again after a restart: jobs and their
//! output are files in `<depot>/<id>/jobs/<job>/`, requests come over connections that may break at any time.
//!
//! | file | what it does |
//! |---|---|
//! | `client` | the daemon's side |
//! | `serve` | the loop |
//! | `connection` | one connection: requests in, answers and notes out |
//! | `job` | one job: its pipes, its spool, its end |
//! | `spool` | the files with a job's output |
//! | `execute` | from fork to the job's program |
//! | `tree` | which processes belong to a job |
//! | `users` | who a job is, by the container's own files |
//! | `pack`, `unpack` | tar streams out of and into the container |

pub mod client;
mod connection;
mod execute;
mod job;
mod pack;
mod serve;
mod spool;
mod tree;
mod unpack;
mod users;

pub use serve::{Arguments, serve};

//! Client of the warden socket: what the node's other components link.
//!
//! [`Client`] is a cheap, cloneable handle. Every call has a connection of its own, so any number may be in
//! flight, a slow one holds up nobody, and a restarted daemon is simply connected to again. A connection that
//! breaks in the middle of a call is an error of that call: only the caller knows whether it may be repeated.
//!
//! ```no_run
//! # async fn example() -> Result<(), warden_client::Error> {
//! use warden_client::{Client, Output, message::{CreateRequest, SpawnRequest}};
//! let warden = Client::new("/run/cupola/warden.sock");
//! let handle = warden.create(CreateRequest::default()).await?;
//! let script = "echo hello".to_owned();
//! let job = warden.spawn(SpawnRequest { handle: handle.clone(), script, ..Default::default() }).await?;
//! let mut output = warden.stream(&handle, job, None).await?;
//! while let Some(piece) = output.next().await? {
//!     match piece {
//!         Output::Data { bytes, .. } => print!("{}", String::from_utf8_lossy(&bytes)),
//!         Output::Exited { status, .. } => println!("ended with {status}"),
//!     }
//! }
//! warden.destroy(&handle).await?;
//! # Ok(())
//! # }
//! ```

mod client;
mod connection;
mod error;
mod job_stream;

pub use client::{Client, StopMode};
pub use cupola_protocol::warden as message;
pub use error::Error;
pub use job_stream::{JobStream, Name, Output};

//! `warden signal`.

use super::{Doing, Error, parse};
use warden_client::Client;

/// Sends a signal to every process of a job.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The container
    handle: String,
    /// The job; `warden info` lists those that run
    job: u32,
    /// Number or name, such as TERM
    #[arg(value_parser = parse::signal)]
    signal: u32,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let Arguments { handle, job, signal } = arguments;
    let sent = client.signal(&handle, job, signal).await;
    sent.doing(|| format!("send signal {signal} to job {job} of {handle}"))
}

//! `warden stop`.

use super::{Doing, Error, destroy};
use warden_client::{Client, StopMode};

/// Ends the processes of containers: SIGTERM, up to 10 s, SIGKILL.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The containers
    #[arg(required = true)]
    handles: Vec<String>,
    /// SIGKILL at once
    #[arg(long, conflicts_with = "background")]
    kill: bool,
    /// Do not wait for the end
    #[arg(long)]
    background: bool,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let mode = match (arguments.kill, arguments.background) {
        (true, _) => StopMode::Kill,
        (false, true) => StopMode::Background,
        (false, false) => StopMode::Graceful,
    };
    destroy::each(&arguments.handles, async |handle| {
        client.stop(handle, mode).await.doing(|| format!("stop {handle}"))
    })
    .await
}

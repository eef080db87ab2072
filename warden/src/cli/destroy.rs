//! `warden destroy`.

use super::{Doing, Error};
use warden_client::Client;

/// Ends containers with all that belongs to them.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The containers
    #[arg(required = true)]
    handles: Vec<String>,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    each(&arguments.handles, async |handle| {
        client.destroy(handle).await.doing(|| format!("destroy {handle}"))
    })
    .await
}

/// Does the same to every container, though it fails with some; gives the last failure, with the others said before.
pub(super) async fn each(
    handles: &[String],
    act: impl AsyncFn(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut failure: Option<Error> = None;
    for handle in handles {
        if let Err(error) = act(handle).await
            && let Some(earlier) = failure.replace(error)
        {
            eprintln!("warden: {}", earlier.chain());
        }
    }
    failure.map_or(Ok(()), Err)
}

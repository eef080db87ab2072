//! `warden ping`.

use super::{Doing, Error, output};
use std::time::Duration;
use warden_client::Client;

/// Asks whether the daemon answers.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Seconds to wait for a daemon that is being started
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let client = client.clone().with_patience(Duration::from_secs(arguments.wait));
    client.ping().await.doing(|| "ping the daemon".to_owned())?;
    output::line(format!("the warden at {} answers", client.socket().display()));
    Ok(())
}

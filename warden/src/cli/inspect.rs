//! `warden inspect`.

use super::{Doing, Error, output};
use warden_client::Client;

/// Prints what a container was made of, as an OCI runtime specification.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The container
    handle: String,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let handle = arguments.handle;
    let spec = client.inspect(&handle).await.doing(|| format!("inspect {handle}"))?;
    // Laid out for people; a document that this version cannot read is passed on as it is.
    match serde_json::from_str::<serde_json::Value>(&spec) {
        Ok(value) => output::json(&value),
        Err(_) => output::line(spec),
    }
    Ok(())
}

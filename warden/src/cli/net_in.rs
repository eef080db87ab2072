//! `warden net-in`.

use super::{Doing, Error, output};
use warden_client::Client;

/// Leads a port of the host into a container; prints HOSTPORT:CONTAINERPORT.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The container
    handle: String,
    /// Port of the host; one of the daemon's pool when missing
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    host_port: Option<u32>,
    /// Port inside; the host's when missing
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    container_port: Option<u32>,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let Arguments { handle, host_port, container_port } = arguments;
    let mapped = client.net_in(&handle, host_port, container_port).await;
    let mapped = mapped.doing(|| format!("lead a port into {handle}"))?;
    output::line(format!("{}:{}", mapped.host_port, mapped.container_port));
    Ok(())
}

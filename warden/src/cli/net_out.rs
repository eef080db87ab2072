//! `warden net-out`.

use super::{Doing, Error};
use warden_client::Client;
use warden_client::message::{NetOutRequest, Protocol};

/// Lets a container reach a destination.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("destination").required(true).multiple(true).args(["network", "port", "ports"])))]
pub struct Arguments {
    /// The container
    handle: String,
    /// An address, a network as A.B.C.D/N, or FIRST-LAST; any address when missing
    network: Option<String>,
    /// One port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    port: Option<u32>,
    /// Ports from the first to the last
    #[arg(long, value_name = "FIRST:LAST", conflicts_with = "port")]
    ports: Option<String>,
    /// Which traffic
    #[arg(long, value_enum, default_value_t = Traffic::Tcp)]
    protocol: Traffic,
    /// ICMP type; any when missing
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..=255))]
    icmp_type: Option<i32>,
    /// ICMP code; any when missing
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..=255))]
    icmp_code: Option<i32>,
    /// Log new TCP connections that this allows
    #[arg(long)]
    log: bool,
}

/// Protocols by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Traffic {
    Tcp,
    Udp,
    Icmp,
    All,
}

pub(super) async fn run(arguments: Arguments, client: &Client) -> Result<(), Error> {
    let request = request(arguments);
    let handle = request.handle.clone();
    client.net_out(request).await.doing(|| format!("let {handle} reach that destination"))
}

fn request(arguments: Arguments) -> NetOutRequest {
    let protocol = match arguments.protocol {
        Traffic::Tcp => Protocol::Tcp,
        Traffic::Udp => Protocol::Udp,
        Traffic::Icmp => Protocol::Icmp,
        Traffic::All => Protocol::All,
    };
    NetOutRequest {
        handle: arguments.handle,
        network: arguments.network,
        port: arguments.port,
        port_range: arguments.ports,
        protocol: Some(protocol.into()),
        icmp_type: arguments.icmp_type,
        icmp_code: arguments.icmp_code,
        log: arguments.log.then_some(true),
    }
}

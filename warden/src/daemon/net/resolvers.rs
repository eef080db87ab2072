//! The name servers of containers.

use super::policy::NEVER;
use super::subnet::Addresses;
use crate::daemon::config::Network;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

/// Where the host's own name servers are written down; the second is that of systemd-resolved, whose own address in the
/// first is one of the loopback.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];
/// Sockets of the host that receive: of UDP, IPv4 and IPv6.
const SOCKETS: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];
/// The port of names (RFC 1035).
const PORT: u16 = 53;

/// The name servers of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolvers {
    /// These.
    Servers(Vec<IpAddr>),
    /// The host, at its end of each container's link.
    Host,
}

impl Resolvers {
    /// The configured ones, or else those of the host that a container can reach, or else the host itself.
    pub(crate) fn choose(network: &Network, six: bool) -> Self {
        if !network.dns_servers.is_empty() {
            let (servers, unreachable) = reachable(&network.dns_servers, network, six);
            if !unreachable.is_empty() {
                tracing::warn!(?unreachable, "configured name servers that no container can reach");
            }
            return Resolvers::Servers(servers);
        }
        for file in FILES {
            let (servers, unreachable) =
                reachable(&name_servers(&fs::read_to_string(file).unwrap_or_default()), network, six);
            if !unreachable.is_empty() {
                tracing::info!(file, ?unreachable, "name servers of the host that no container can reach");
            }
            if !servers.is_empty() {
                return Resolvers::Servers(servers);
            }
        }
        let sockets = SOCKETS.map(|file| fs::read_to_string(file).unwrap_or_default());
        if !sockets.iter().any(|text| listens_everywhere(text)) {
            tracing::warn!(
                "containers cannot look up names: the host's name servers are on its loopback, and nothing listens on \
                 port 53 of its other addresses; set `network.dns_servers`"
            );
        }
        Resolvers::Host
    }

    /// The name servers of a container whose host's end has an address.
    pub(crate) fn of(&self, host: Ipv4Addr) -> Vec<IpAddr> {
        match self {
            Resolvers::Servers(servers) => servers.clone(),
            Resolvers::Host => vec![host.into()],
        }
    }
}

/// Addresses of the `nameserver` lines of resolv.conf(5).
fn name_servers(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| line.trim_start().strip_prefix("nameserver")?.trim().parse().ok();
    text.lines().filter_map(address).collect()
}

/// Which of some servers a container can reach, and which not: those on the host's loopback, in networks that are denied,
/// or of IPv6 where containers have none.
fn reachable(servers: &[IpAddr], network: &Network, six: bool) -> (Vec<IpAddr>, Vec<IpAddr>) {
    let denied: Vec<Addresses> = network.deny_networks.iter().filter_map(|text| text.parse().ok()).collect();
    let never: Vec<Addresses> = NEVER.iter().filter_map(|text| text.parse().ok()).collect();
    let is_denied = |server| denied.iter().chain(&never).any(|range| range.contains(server));
    servers
        .iter()
        .partition(|server| !server.is_loopback() && !is_denied(**server) && (six || server.is_ipv4()))
}

/// Whether a socket of a table like `/proc/net/udp` receives on port 53 of every address: the second column is the local
/// address in hexadecimal.
fn listens_everywhere(table: &str) -> bool {
    let local = |line: &str| {
        line.split_whitespace().nth(1)?.split_once(':').map(|(a, p)| (a.to_owned(), p.to_owned()))
    };
    let port = format!("{PORT:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(local)
        .any(|(address, local)| local == port && address.bytes().all(|byte| byte == b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_a_container_cannot_reach_are_left_out() {
        let network = Network { deny_networks: vec!["10.9.0.0/16".to_owned()], ..Network::default() };
        let text = "search x\nnameserver 127.0.0.53\n nameserver 10.0.0.1\nnameserver ::1\nnameserver fd00::1\n\
                    nameserver 169.254.169.254\nnameserver 10.9.0.1\nnameserver x\n";
        let servers = name_servers(text);
        assert_eq!(servers.len(), 6);
        let one: IpAddr = [10, 0, 0, 1].into();
        assert_eq!(reachable(&servers, &network, false).0, [one]);
        assert_eq!(reachable(&servers, &network, true).0, [one, "fd00::1".parse().unwrap()]);
    }

    #[test]
    fn the_configured_servers_win() {
        let one: IpAddr = [10, 0, 0, 1].into();
        let network = Network { dns_servers: vec![one], ..Network::default() };
        let chosen = Resolvers::choose(&network, false);
        assert_eq!(chosen.of(Ipv4Addr::new(10, 254, 0, 1)), [one]);
        assert_eq!(Resolvers::Host.of(Ipv4Addr::new(10, 254, 0, 1)), [IpAddr::from([10, 254, 0, 1])]);
    }

    #[test]
    fn a_socket_of_every_address_is_told_from_one_of_the_loopback() {
        let line = |local: &str| format!("  sl  local_address rem_address\n  1: {local} 00000000:0000 07\n");
        assert!(listens_everywhere(&line("00000000:0035")));
        assert!(listens_everywhere(&line("00000000000000000000000000000000:0035")));
        assert!(!listens_everywhere(&line("3500007F:0035")));
        assert!(!listens_everywhere(&line("00000000:0036")));
        assert!(!listens_everywhere(""));
    }
}

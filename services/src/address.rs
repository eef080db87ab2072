//! The address of this host that others reach it by.

use nix::ifaddrs::getifaddrs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// An address that nobody has (RFC 5737): asked for the way to it, the kernel tells our own. Nothing is sent.
const SOMEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The configured address, or the one that this host would use to reach others, or else any of its own.
pub(crate) fn advertised(configured: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    configured.or_else(on_the_way_out).or_else(any)
}

fn on_the_way_out() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(SOMEWHERE).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) => usable(address),
        IpAddr::V6(_) => None,
    }
}

fn any() -> Option<Ipv4Addr> {
    let addresses = getifaddrs().ok()?;
    addresses
        // The host's ends of the containers' links come and go.
        .filter(|interface| !interface.interface_name.starts_with("w-"))
        .filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()))
        .find_map(usable)
}

fn usable(address: Ipv4Addr) -> Option<Ipv4Addr> {
    (!address.is_loopback() && !address.is_unspecified() && !address.is_link_local()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_wins() {
        let address = Ipv4Addr::new(10, 0, 0, 7);
        assert_eq!(advertised(Some(address)), Some(address));
    }

    #[test]
    fn containers_cannot_use_a_loopback_address() {
        assert_eq!(usable(Ipv4Addr::LOCALHOST), None);
        assert!(usable(Ipv4Addr::new(10, 0, 0, 7)).is_some());
    }
}

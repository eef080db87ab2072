//! A container's network namespace and the pair of links between it and the host.

use super::netlink::{
    EXCLUSIVE, NESTED, Netlink, RTM_DELLINK, RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, RTM_NEWADDR,
    RTM_NEWLINK, RTM_NEWROUTE, Request, attribute, attributes,
};
use super::{PoolNet, Subnet};
use crate::daemon::Error;
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

// Attribute numbers of linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h and linux/veth.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const IFF_UP: u32 = 1;

/// The container's link, seen from inside.
const INSIDE: &str = "eth0";

/// The host's end of a container's link.
pub(crate) fn name(id: &str) -> String {
    format!("w-{id}-0")
}

/// Makes a network namespace with a link to the host in it, all addresses set and up. Nothing but the descriptor holds
/// the namespace: when it is closed and no process is in it, namespace and links are gone.
pub(crate) fn make(id: &str, subnet: Subnet, mtu: u32) -> Result<OwnedFd, Error> {
    let outside = name(id);
    let label = outside.clone();
    // A thread of its own: it moves to the new namespace and never comes back.
    let thread =
        std::thread::Builder::new().name("netns".to_owned()).spawn(move || build(&outside, subnet, mtu));
    let built =
        thread.and_then(|thread| thread.join().map_err(|_| io::Error::other("the thread panicked"))?);
    built.map_err(|source| Error::Net { action: "make the container's network link", name: label, source })
}

/// Moves the calling thread to a new network namespace that has a loopback link, which is up, and nothing else.
pub(crate) fn alone() -> io::Result<OwnedFd> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let namespace: OwnedFd = File::open("/proc/thread-self/ns/net")?.into();
    let mut inside = Netlink::open()?;
    let loopback = link_index(&mut inside, "lo")?;
    inside.send(up(loopback))?;
    Ok(namespace)
}

fn build(outside: &str, subnet: Subnet, mtu: u32) -> io::Result<OwnedFd> {
    let mut host = Netlink::open()?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    let namespace: OwnedFd = File::open("/proc/thread-self/ns/net")?.into();
    let mut inside = Netlink::open()?;
    // Before any link is up: otherwise the kernel gives them link-local addresses. An absent file is a kernel
    // without IPv6.
    for which in ["all", "default"] {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => (),
        }
    }
    host.send(veth(outside, mtu, &namespace))?;
    let host_index = link_index(&mut host, outside)?;
    host.send(address(host_index, subnet.host(), outside))?;
    // The other end is up before the container runs, so that its first packet finds a way.
    host.send(up(host_index))?;
    let loopback = link_index(&mut inside, "lo")?;
    inside.send(up(loopback))?;
    let inner = link_index(&mut inside, INSIDE)?;
    inside.send(address(inner, subnet.container(), INSIDE))?;
    inside.send(up(inner))?;
    inside.send(default_route(subnet.host(), inner))?;
    Ok(namespace)
}

/// Removes the host's end, and with it the other. One that is not there is no error.
pub(crate) fn remove(name: &str) -> Result<(), Error> {
    let gone = |error: &io::Error| error.raw_os_error() == Some(libc::ENODEV);
    let request = Request::new(RTM_DELLINK, 0, &ifinfo(0, 0)).attribute(IFLA_IFNAME, &text(name));
    match Netlink::open().and_then(|mut host| host.send(request)) {
        Err(source) if !gone(&source) => {
            Err(Error::Net { action: "remove the network link", name: name.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Links of the host whose addresses are in `pool`: index, address, name.
pub(crate) fn addresses_in(pool: PoolNet) -> Result<Vec<(Ipv4Addr, String)>, Error> {
    let failed = |source| Error::Net { action: "list the host's addresses", name: "all".to_owned(), source };
    let request = Request::new(RTM_GETADDR, 0, &[libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0]);
    let answers = Netlink::open().and_then(|mut host| host.dump(request)).map_err(failed)?;
    let mut found = Vec::new();
    for (_, body) in answers {
        let list = attributes(body.get(8..).unwrap_or_default());
        let value = |kind| list.iter().find(|(k, _)| *k == kind).map(|(_, value)| *value);
        let address =
            value(IFA_LOCAL).or(value(IFA_ADDRESS)).and_then(|value| <[u8; 4]>::try_from(value).ok());
        let label =
            value(IFA_LABEL).map(|value| String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        match address.map(Ipv4Addr::from) {
            Some(address) if pool.net().contains(address) => found.push((address, label.unwrap_or_default())),
            _ => (),
        }
    }
    Ok(found)
}

/// The MTU of the link of the default route; 1500 where there is none.
pub(crate) fn default_mtu() -> u32 {
    let request = Request::new(RTM_GETROUTE, 0, &[libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let routes = Netlink::open().and_then(|mut host| host.dump(request)).unwrap_or_default();
    let link = routes.iter().find_map(|(_, body)| {
        // A destination of no bits is the default route.
        (body.get(1) == Some(&0)).then_some(())?;
        let list = attributes(body.get(12..)?);
        let index = list.iter().find(|(kind, _)| *kind == RTA_OIF)?.1;
        Some(u32::from_ne_bytes(index.try_into().ok()?))
    });
    let mtu = |index: u32| {
        let links = fs::read_dir("/sys/class/net").ok()?.flatten();
        let number = |path: std::path::PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u32>().ok();
        let link =
            links.map(|entry| entry.path()).find(|path| number(path.join("ifindex")) == Some(index))?;
        number(link.join("mtu"))
    };
    link.and_then(mtu).unwrap_or(1_500)
}

fn veth(outside: &str, mtu: u32, namespace: &OwnedFd) -> Request {
    let mut peer = ifinfo(0, 0);
    attribute(&mut peer, IFLA_IFNAME, &text(INSIDE));
    attribute(&mut peer, IFLA_MTU, &mtu.to_ne_bytes());
    attribute(&mut peer, IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
    let mut data = Vec::new();
    attribute(&mut data, VETH_INFO_PEER | NESTED, &peer);
    let mut info = Vec::new();
    attribute(&mut info, IFLA_INFO_KIND, b"veth");
    attribute(&mut info, IFLA_INFO_DATA | NESTED, &data);
    Request::new(RTM_NEWLINK, EXCLUSIVE, &ifinfo(0, 0))
        .attribute(IFLA_IFNAME, &text(outside))
        .attribute(IFLA_MTU, &mtu.to_ne_bytes())
        .attribute(IFLA_LINKINFO | NESTED, &info)
}

/// The number of a link of the socket's namespace.
fn link_index(netlink: &mut Netlink, name: &str) -> io::Result<u32> {
    let request = Request::new(RTM_GETLINK, 0, &ifinfo(0, 0)).attribute(IFLA_IFNAME, &text(name));
    let body = netlink.get(request)?;
    let index = body.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    index.ok_or(io::ErrorKind::InvalidData.into())
}

fn up(index: u32) -> Request {
    Request::new(RTM_NEWLINK, 0, &ifinfo(index, IFF_UP))
}

fn address(index: u32, address: Ipv4Addr, label: &str) -> Request {
    let mut structure = vec![libc::AF_INET as u8, Subnet::PREFIX, 0, 0];
    structure.extend_from_slice(&index.to_ne_bytes());
    Request::new(RTM_NEWADDR, EXCLUSIVE, &structure)
        .attribute(IFA_LOCAL, &address.octets())
        .attribute(IFA_ADDRESS, &address.octets())
        .attribute(IFA_LABEL, &text(label))
}

fn default_route(gateway: Ipv4Addr, index: u32) -> Request {
    // struct rtmsg: main table (254), protocol boot (3), scope universe (0), unicast (1).
    let structure = [libc::AF_INET as u8, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    Request::new(RTM_NEWROUTE, EXCLUSIVE, &structure)
        .attribute(RTA_GATEWAY, &gateway.octets())
        .attribute(RTA_OIF, &index.to_ne_bytes())
}

/// struct ifinfomsg; `flags` are both what is set and what is changed.
fn ifinfo(index: u32, flags: u32) -> Vec<u8> {
    let mut structure = vec![0; 4];
    structure.extend_from_slice(&index.to_ne_bytes());
    structure.extend_from_slice(&flags.to_ne_bytes());
    structure.extend_from_slice(&flags.to_ne_bytes());
    structure
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

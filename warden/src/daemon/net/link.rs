//! A container's network namespace and the pair of links between it and the host.
//!
//! Both ends have hardware addresses that follow from their IPv4 addresses, and each knows the other's for good: nobody
//! asks for them (ARP, neighbour discovery), nobody can answer wrongly, and a thousand containers do not fill the host's
//! one neighbour table. No link has an IPv6 address but those of the pool: no fe80::, so no router can be announced.

use super::netlink::{
    EXCLUSIVE, Netlink, RTM_DELLINK, RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWLINK,
    RTM_NEWNEIGH, RTM_NEWROUTE, Request, attribute, attributes, nested,
};
use super::{PoolNet, Subnet};
use crate::daemon::Error;
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

// Attribute numbers of linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h, linux/neighbour.h and linux/veth.h.
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_F_NODAD: u8 = 0x02;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const IFF_UP: u32 = 1;
/// `IN6_ADDR_GEN_MODE_NONE`.
const NO_GENERATED_ADDRESS: u8 = 1;

/// The container's link, seen from inside.
pub(super) const INSIDE: &str = "eth0";
/// Number of a new namespace's loopback link. The number of the other is asked for: some kernels put tunnels between.
const LOOPBACK_INDEX: u32 = 1;
/// Group that links are put in to be deleted at once.
const DYING_GROUP: u32 = 0x7761_7264;

/// Makes links and knows their names.
#[derive(Debug, Clone)]
pub(crate) struct LinkMaker {
    prefix: String,
    mtu: u32,
}

impl LinkMaker {
    /// For a platform's links.
    pub(crate) fn new(instance: &str, mtu: u32) -> Self {
        LinkMaker { prefix: prefix(instance), mtu }
    }

    /// What the host's ends of all links of this platform begin with, and no other link does.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The host's end of a container's link. It follows from the address alone, so that a link can be made before
    /// anybody knows for which container.
    pub(crate) fn name(&self, subnet: Subnet) -> String {
        format!("{}{:08x}", self.prefix, u32::from(subnet.first()))
    }

    /// Makes a network namespace with a link to the host in it, all addresses set and up; without a subnet, one with a
    /// loopback link alone. Nothing but the descriptor holds the namespace: when it is closed and no process is in it,
    /// namespace and links are gone.
    pub(crate) fn make(&self, subnet: Option<Subnet>) -> Result<OwnedFd, Error> {
        let maker = self.clone();
        // A thread of its own: it moves to the new namespace and never comes back.
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn(move || maker.make_here(&mut Netlink::open()?, subnet));
        let built =
            thread.and_then(|thread| thread.join().map_err(|_| io::Error::other("the thread panicked"))?);
        built.map_err(self.failed(subnet))
    }

    /// The same on this thread, which is in the new namespace afterwards. `host` is of the host's namespace.
    pub(super) fn make_here(&self, host: &mut Netlink, subnet: Option<Subnet>) -> io::Result<OwnedFd> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let namespace: OwnedFd = File::open("/proc/thread-self/ns/net")?.into();
        set_defaults(subnet)?;
        let mut inside = Netlink::open()?;
        let Some(subnet) = subnet else {
            inside.send(up(LOOPBACK_INDEX))?;
            return Ok(namespace);
        };
        let name = self.name(subnet);
        host.send(veth(&name, self.mtu, subnet, &namespace))?;
        let outside = link_index(host, &name)?;
        // The host's end is up before the container runs, so that its first packet finds a way.
        let mut requests = Vec::new();
        if has_six() {
            // Before it is up, or the kernel gives it a link-local address.
            requests.push(no_generated_address(outside));
        }
        let (host4, container4) = (subnet.host(), subnet.container());
        let (host6, container6) = (subnet.host6().map(IpAddr::V6), subnet.container6().map(IpAddr::V6));
        requests.push(address(outside, host4.into(), Some(&name)));
        requests.extend(host6.map(|six| address(outside, six, None)));
        requests.push(up(outside));
        requests.push(neighbour(outside, container4.into(), container4));
        requests.extend(container6.map(|six| neighbour(outside, six, container4)));
        host.send_all(&requests)?;
        let eth0 = link_index(&mut inside, INSIDE)?;
        let mut requests = vec![up(LOOPBACK_INDEX), address(eth0, container4.into(), Some(INSIDE))];
        requests.extend(container6.map(|six| address(eth0, six, None)));
        requests.push(up(eth0));
        requests.push(neighbour(eth0, host4.into(), host4));
        requests.extend(host6.map(|six| neighbour(eth0, six, host4)));
        requests.push(default_route(host4.into(), eth0));
        requests.extend(host6.map(|six| default_route(six, eth0)));
        inside.send_all(&requests)?;
        Ok(namespace)
    }

    /// For `map_err`: a link that could not be made.
    pub(super) fn failed(&self, subnet: Option<Subnet>) -> impl FnOnce(io::Error) -> Error {
        let name = subnet.map_or_else(|| "loopback alone".to_owned(), |subnet| self.name(subnet));
        move |source| Error::Net { action: "make the container's network link", name, source }
    }

    /// Links of this platform: number and name of each host's end.
    pub(super) fn all(&self, host: &mut Netlink) -> io::Result<Vec<(u32, String)>> {
        let links = host.dump(Request::new(RTM_GETLINK, 0, &ifinfo(0, 0)))?;
        let ours = links.into_iter().filter_map(|(_, body)| {
            let index = u32::from_ne_bytes(*body.get(4..)?.first_chunk()?);
            let list = attributes(body.get(16..)?);
            let name = list.iter().find(|(kind, _)| *kind == IFLA_IFNAME)?.1;
            let name = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
            name.starts_with(&self.prefix).then_some((index, name))
        });
        Ok(ours.collect())
    }
}

/// What the links of a platform begin with: 25 bits of a hash of its name in letters and digits. With the address in
/// hexadecimal behind it, a name has 15 bytes, the most that the kernel takes.
fn prefix(instance: &str) -> String {
    // FNV-1a.
    let hash = instance
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let letters = b"abcdefghijklmnopqrstuvwxyz234567";
    let letter = |at: u32| char::from(letters[(hash >> (5 * at)) as usize % letters.len()]);
    let text: String = (0..5).map(letter).collect();
    format!("w{text}-")
}

/// Deletes links of the host, all at once: one by one each waits for all processors to look away (15 ms).
pub(super) fn delete(host: &mut Netlink, indexes: &[u32]) -> io::Result<()> {
    if indexes.is_empty() {
        return Ok(());
    }
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    };
    for index in indexes {
        let group = Request::new(RTM_NEWLINK, 0, &ifinfo(*index, 0));
        gone(host.send(group.attribute(IFLA_GROUP, &DYING_GROUP.to_ne_bytes())))?;
    }
    let all = Request::new(RTM_DELLINK, 0, &ifinfo(0, 0));
    gone(host.send(all.attribute(IFLA_GROUP, &DYING_GROUP.to_ne_bytes())))
}

/// The number of the host's link of a name, if there is one.
pub(super) fn find(host: &mut Netlink, name: &str) -> io::Result<Option<u32>> {
    match link_index(host, name) {
        Ok(index) => Ok(Some(index)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Links of the host whose addresses are in `pool`: address, name.
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

/// Whether the kernel has IPv6.
pub(super) fn has_six() -> bool {
    fs::exists("/proc/sys/net/ipv6").unwrap_or(false)
}

/// Sets what the links of this thread's new namespace begin with.
fn set_defaults(subnet: Option<Subnet>) -> io::Result<()> {
    let set = |name: &str, value: &str| fs::write(format!("/proc/sys/net/{name}"), value);
    // Echo sockets for everybody, and every port: it is nobody else's network. (Root inside has no power over it.)
    set("ipv4/ping_group_range", "0 2147483647")?;
    set("ipv4/ip_unprivileged_port_start", "0")?;
    if has_six() {
        set("ipv6/conf/default/accept_ra", "0")?;
        set("ipv6/conf/default/addr_gen_mode", &NO_GENERATED_ADDRESS.to_string())?;
        // The loopback link is there already, and keeps its ::1.
        let disable = subnet.is_none_or(|subnet| subnet.first6().is_none());
        set("ipv6/conf/default/disable_ipv6", if disable { "1" } else { "0" })?;
    }
    Ok(())
}

fn veth(outside: &str, mtu: u32, subnet: Subnet, namespace: &OwnedFd) -> Request {
    let end = |name: &str, address: Ipv4Addr, list: &mut Vec<u8>| {
        attribute(list, IFLA_IFNAME, &text(name));
        attribute(list, IFLA_MTU, &mtu.to_ne_bytes());
        attribute(list, IFLA_ADDRESS, &hardware(address));
    };
    let mut own = Vec::new();
    end(outside, subnet.host(), &mut own);
    let mut structure = ifinfo(0, 0);
    structure.extend(own);
    Request::new(RTM_NEWLINK, EXCLUSIVE, &structure).nested(IFLA_LINKINFO, |info| {
        attribute(info, IFLA_INFO_KIND, b"veth");
        nested(info, IFLA_INFO_DATA, |data| {
            nested(data, VETH_INFO_PEER, |peer| {
                peer.extend(ifinfo(0, 0));
                end(INSIDE, subnet.container(), peer);
                attribute(peer, IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
            });
        });
    })
}

/// The hardware address of the end that has an IPv4 address: a locally administered one.
fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, b'w', a, b, c, d]
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

fn no_generated_address(index: u32) -> Request {
    Request::new(RTM_NEWLINK, 0, &ifinfo(index, 0)).nested(IFLA_AF_SPEC, |families| {
        nested(families, libc::AF_INET6 as u16, |six| {
            attribute(six, IFLA_INET6_ADDR_GEN_MODE, &[NO_GENERATED_ADDRESS]);
        });
    })
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { libc::AF_INET as u8 } else { libc::AF_INET6 as u8 }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address(index: u32, address: IpAddr, label: Option<&str>) -> Request {
    // struct ifaddrmsg: family, prefix, flags, scope, link. Nobody else can have an address of a pair's network.
    let (prefix, flags) =
        if address.is_ipv4() { (Subnet::PREFIX, 0) } else { (Subnet::PREFIX_6, IFA_F_NODAD) };
    let mut structure = vec![family(address), prefix, flags, 0];
    structure.extend_from_slice(&index.to_ne_bytes());
    let bytes = octets(address);
    let request = Request::new(RTM_NEWADDR, EXCLUSIVE, &structure)
        .attribute(IFA_LOCAL, &bytes)
        .attribute(IFA_ADDRESS, &bytes);
    match label {
        Some(label) => request.attribute(IFA_LABEL, &text(label)),
        None => request,
    }
}

/// What the link's other end, which has an address, is called in hardware.
fn neighbour(index: u32, address: IpAddr, end: Ipv4Addr) -> Request {
    // struct ndmsg: family, padding, link, state, flags, type.
    let mut structure = vec![family(address), 0, 0, 0];
    structure.extend_from_slice(&index.to_ne_bytes());
    structure.extend_from_slice(&NUD_PERMANENT.to_ne_bytes());
    structure.extend_from_slice(&[0, 0]);
    Request::new(RTM_NEWNEIGH, EXCLUSIVE, &structure)
        .attribute(NDA_DST, &octets(address))
        .attribute(NDA_LLADDR, &hardware(end))
}

fn default_route(gateway: IpAddr, index: u32) -> Request {
    // struct rtmsg: main table (254), protocol boot (3), scope universe (0), unicast (1).
    let structure = [family(gateway), 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    Request::new(RTM_NEWROUTE, EXCLUSIVE, &structure)
        .attribute(RTA_GATEWAY, &octets(gateway))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_name_fits_and_tells_platform_and_address() {
        let subnet = PoolNet::parse("10.254.0.0/16").unwrap().subnet(3);
        let (one, two) = (LinkMaker::new("one", 1_500), LinkMaker::new("two", 1_500));
        assert_eq!(one.name(subnet).len(), 15);
        assert!(one.name(subnet).starts_with(one.prefix()) && one.name(subnet).ends_with("-0afe000c"));
        assert_ne!(one.prefix(), two.prefix());
    }
}

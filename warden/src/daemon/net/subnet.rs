//! Networks and addresses as values.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ipv4Net {
    base: u32,
    prefix: u8,
}

impl Ipv4Net {
    /// Whether an address is in it.
    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.base
    }
}

impl Ipv4Net {
    /// Its first address.
    pub(super) fn base(self) -> [u8; 4] {
        self.base.to_be_bytes()
    }

    /// The bits that all its addresses share.
    pub(super) fn mask(self) -> [u8; 4] {
        mask(self.prefix).to_be_bytes()
    }
}

impl FromStr for Ipv4Net {
    type Err = String;

    /// `a.b.c.d` or `a.b.c.d/n`; bits below the prefix are dropped.
    fn from_str(text: &str) -> Result<Self, String> {
        let not = || "is not an IPv4 network: write a.b.c.d/n".to_owned();
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| not())?;
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(not)?;
        Ok(Ipv4Net { base: u32::from(address) & mask(prefix), prefix })
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// Addresses from the first to the last, all of one family: what a network, a single address and a range have in
/// common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Addresses {
    /// IPv4.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6.
    V6(Ipv6Addr, Ipv6Addr),
}

impl Addresses {
    /// The only address, if there is no more than one.
    pub(crate) fn single(self) -> Option<IpAddr> {
        match self {
            Addresses::V4(first, last) => (first == last).then_some(IpAddr::V4(first)),
            Addresses::V6(first, last) => (first == last).then_some(IpAddr::V6(first)),
        }
    }

    /// Mask and first address, when they are one network.
    pub(crate) fn network(self) -> Option<(Vec<u8>, Vec<u8>)> {
        match self {
            Addresses::V4(first, last) => {
                let (first, last) = (u32::from(first), u32::from(last));
                let mask = !(first ^ last);
                let whole = mask.leading_ones() + mask.trailing_zeros() == u32::BITS && first & !mask == 0;
                whole.then(|| (mask.to_be_bytes().to_vec(), first.to_be_bytes().to_vec()))
            }
            Addresses::V6(first, last) => {
                let (first, last) = (u128::from(first), u128::from(last));
                let mask = !(first ^ last);
                let whole = mask.leading_ones() + mask.trailing_zeros() == u128::BITS && first & !mask == 0;
                whole.then(|| (mask.to_be_bytes().to_vec(), first.to_be_bytes().to_vec()))
            }
        }
    }

    /// Its first and its last address.
    pub(crate) fn ends(self) -> (IpAddr, IpAddr) {
        match self {
            Addresses::V4(first, last) => (first.into(), last.into()),
            Addresses::V6(first, last) => (first.into(), last.into()),
        }
    }

    /// Whether an address is one of them.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Addresses::V4(first, last), IpAddr::V4(address)) => (first..=last).contains(&address),
            (Addresses::V6(first, last), IpAddr::V6(address)) => (first..=last).contains(&address),
            _ => false,
        }
    }
}

impl FromStr for Addresses {
    type Err = String;

    /// An address, a network `address/n` (bits below the prefix are dropped), or a range `first-last`.
    fn from_str(text: &str) -> Result<Self, String> {
        let not = || "is not an address, a network address/n or a range first-last".to_owned();
        let pair = match text.split_once('-') {
            Some((first, last)) => {
                (first.trim().parse().map_err(|_| not())?, last.trim().parse().map_err(|_| not())?)
            }
            None => {
                let (address, prefix) =
                    text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
                let address: IpAddr = address.parse().map_err(|_| not())?;
                let bits = if address.is_ipv4() { 32 } else { 128 };
                let prefix = prefix.map_or(Some(bits), |prefix| prefix.parse().ok());
                let prefix = prefix.filter(|prefix| *prefix <= bits).ok_or_else(not)?;
                block(address, prefix)
            }
        };
        match pair {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => Ok(Addresses::V4(first, last)),
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => Ok(Addresses::V6(first, last)),
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                Err("is a range whose last address is below its first".to_owned())
            }
            _ => Err("is a range of two families of addresses".to_owned()),
        }
    }
}

impl TryFrom<String> for Addresses {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Addresses> for String {
    fn from(addresses: Addresses) -> Self {
        addresses.to_string()
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.single(), self) {
            (Some(address), _) => write!(f, "{address}"),
            (None, Addresses::V4(first, last)) => write!(f, "{first}-{last}"),
            (None, Addresses::V6(first, last)) => write!(f, "{first}-{last}"),
        }
    }
}

/// First and last address of the network that an address is in.
fn block(address: IpAddr, prefix: u32) -> (IpAddr, IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            let base = u32::from(address) & mask;
            (Ipv4Addr::from(base).into(), Ipv4Addr::from(base | !mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            let base = u128::from(address) & mask;
            (Ipv6Addr::from(base).into(), Ipv6Addr::from(base | !mask).into())
        }
    }
}

/// The network that containers get their /30s of, and with them, if it is configured, their IPv6 /126s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolNet {
    net: Ipv4Net,
    six: Option<Ipv6Addr>,
}

/// Longest prefix of an IPv6 pool: the last 32 bits are those of the IPv4 address.
const LONGEST_6: u8 = 96;

impl PoolNet {
    /// Reads `a.b.c.d/n` with n from 8 to 30.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let net: Ipv4Net = text.parse().map_err(|why| format!("{text:?} {why}"))?;
        match (8..=30).contains(&net.prefix) {
            true => Ok(PoolNet { net, six: None }),
            false => Err(format!("{text:?} must have a prefix from 8 to 30")),
        }
    }

    /// The same with IPv6 addresses: `address/n` with n up to 96. The last 32 bits of a container's address are its IPv4
    /// address, so that one number stands for both.
    pub(crate) fn with_six(self, text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let prefix = prefix.parse::<u8>().ok().filter(|prefix| (8..=LONGEST_6).contains(prefix))?;
            Some((address.parse::<Ipv6Addr>().ok()?, prefix))
        });
        let (address, prefix) = parsed.ok_or_else(|| {
            format!("{text:?} is not an IPv6 network address/n with n from 8 to {LONGEST_6}")
        })?;
        match block(address.into(), prefix.into()) {
            (IpAddr::V6(base), _) => Ok(PoolNet { six: Some(base), ..self }),
            (IpAddr::V4(_), _) => Err(format!("{text:?} is not an IPv6 network")),
        }
    }

    /// The whole of IPv4.
    pub(crate) fn net(self) -> Ipv4Net {
        self.net
    }

    /// Whether containers have IPv6 addresses.
    pub(crate) fn has_six(self) -> bool {
        self.six.is_some()
    }

    /// How many /30s it has.
    pub(crate) fn count(self) -> u32 {
        1 << (30 - u32::from(self.net.prefix))
    }

    /// One of them.
    pub(crate) fn subnet(self, number: u32) -> Subnet {
        let first = self.net.base + number * 4;
        let first6 = self.six.map(|base| Ipv6Addr::from(u128::from(base) | u128::from(first)));
        Subnet { first: Ipv4Addr::from(first), first6 }
    }

    /// The number of the /30 that begins at an address; `None` when it is not of the pool.
    pub(crate) fn number_of(self, first: Ipv4Addr) -> Option<u32> {
        self.net.contains(first).then(|| (u32::from(first) - self.net.base) / 4)
    }

    /// The number of the /30 that a client names; `None` when it is not of the pool.
    pub(crate) fn number(self, text: &str) -> Option<u32> {
        let net: Ipv4Net = text.parse().ok()?;
        let inside = self.net.contains(Ipv4Addr::from(net.base)) && net.prefix >= 30;
        inside.then(|| (net.base - self.net.base) / 4)
    }
}

/// The four addresses of one container, and of IPv6 four more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    first: Ipv4Addr,
    first6: Option<Ipv6Addr>,
}

impl Subnet {
    /// Length of its prefix.
    pub(crate) const PREFIX: u8 = 30;
    /// Length of its IPv6 prefix.
    pub(crate) const PREFIX_6: u8 = 126;

    /// The one that begins at these addresses.
    pub(crate) fn at(first: Ipv4Addr, first6: Option<Ipv6Addr>) -> Self {
        Subnet { first, first6 }
    }

    /// Its first address.
    pub(crate) fn first(self) -> Ipv4Addr {
        self.first
    }

    /// Its first IPv6 address.
    pub(crate) fn first6(self) -> Option<Ipv6Addr> {
        self.first6
    }

    /// The host's end.
    pub(crate) fn host(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first).wrapping_add(1))
    }

    /// The container's end.
    pub(crate) fn container(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.first).wrapping_add(2))
    }

    /// The host's end, IPv6.
    pub(crate) fn host6(self) -> Option<Ipv6Addr> {
        self.first6.map(|first| Ipv6Addr::from(u128::from(first).wrapping_add(1)))
    }

    /// The container's end, IPv6.
    pub(crate) fn container6(self) -> Option<Ipv6Addr> {
        self.first6.map(|first| Ipv6Addr::from(u128::from(first).wrapping_add(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_cut_into_blocks_of_four() {
        let pool = PoolNet::parse("10.254.0.0/16").unwrap();
        assert_eq!(pool.count(), 16_384);
        assert_eq!(pool.subnet(1).host(), Ipv4Addr::new(10, 254, 0, 5));
        assert_eq!(pool.subnet(16_383).container(), Ipv4Addr::new(10, 254, 255, 254));
        assert_eq!(pool.number_of(pool.subnet(7).first()), Some(7));
        assert_eq!(pool.number_of(Ipv4Addr::new(10, 253, 0, 0)), None);
        assert_eq!(pool.number("10.254.0.8"), Some(2));
        assert_eq!(pool.number("10.254.0.8/30"), Some(2));
        assert_eq!(pool.number("10.254.0.0/29"), None);
        assert_eq!(pool.number("10.253.0.0"), None);
        assert!(PoolNet::parse("10.254.0.0/31").is_err());
        assert_eq!((pool.subnet(1).first6(), pool.has_six()), (None, false));
    }

    #[test]
    fn an_ipv6_address_ends_with_the_ipv4_address() {
        let pool = PoolNet::parse("10.254.0.0/16").unwrap().with_six("fd12:3456:789a:1::/64").unwrap();
        let subnet = pool.subnet(1);
        assert_eq!(subnet.host6(), Some("fd12:3456:789a:1::10.254.0.5".parse().unwrap()));
        assert_eq!(subnet.container6(), Some("fd12:3456:789a:1::10.254.0.6".parse().unwrap()));
        assert_eq!(Subnet::at(subnet.first(), subnet.first6()), subnet);
        for text in ["fd00::/97", "fd00::", "10.0.0.0/8", "fd00::/x", "::/0"] {
            assert!(pool.with_six(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_drop_the_bits_below_their_prefix() {
        let net: Ipv4Net = "192.168.7.9/24".parse().unwrap();
        assert_eq!(net.to_string(), "192.168.7.0/24");
        assert!(
            net.contains(Ipv4Addr::new(192, 168, 7, 255)) && !net.contains(Ipv4Addr::new(192, 168, 8, 0))
        );
        assert!("0.0.0.0/0".parse::<Ipv4Net>().unwrap().contains(Ipv4Addr::BROADCAST));
        for text in ["", "1.2.3", "1.2.3.4/33", "1.2.3.4/-1", "::1"] {
            assert!(text.parse::<Ipv4Net>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_a_network_and_a_range_have_a_first_and_a_last() {
        let read = |text: &str| text.parse::<Addresses>().map(|addresses| addresses.to_string());
        assert_eq!(read("10.1.2.3/8").unwrap(), "10.0.0.0-10.255.255.255");
        assert_eq!(read("10.1.2.3/32").unwrap(), "10.1.2.3");
        assert_eq!(read("0.0.0.0/0").unwrap(), "0.0.0.0-255.255.255.255");
        assert_eq!(read("1.1.1.1-1.1.1.9").unwrap(), "1.1.1.1-1.1.1.9");
        assert_eq!(read("fd00::1/64").unwrap(), "fd00::-fd00::ffff:ffff:ffff:ffff");
        assert_eq!(read("fd00::1-fd00::9").unwrap(), "fd00::1-fd00::9");
        for text in
            ["", "1.1.1.1/33", "::/129", "1.1.1.9-1.1.1.1", "1.1.1.1-::1", "1.1.1.1; x", "-", "1.1.1.1/"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        let some: Addresses = "fd00::/64".parse().unwrap();
        let network = |text: &str| text.parse::<Addresses>().unwrap().network();
        assert_eq!(network("10.0.0.0/8"), Some((vec![255, 0, 0, 0], vec![10, 0, 0, 0])));
        assert_eq!(network("10.0.0.0-10.0.0.2"), None);
        assert_eq!(network("10.0.0.1-10.0.0.2"), None);
        assert_eq!(network("0.0.0.0/0"), Some((vec![0; 4], vec![0; 4])));
        assert_eq!(network("10.0.0.1").unwrap().0, [255; 4]);
        assert!(some.contains("fd00::7".parse().unwrap()) && !some.contains("10.0.0.1".parse().unwrap()));
    }
}

//! Networks and addresses as values.

use std::fmt;
use std::net::Ipv4Addr;
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

/// The network that containers get their /30s of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolNet(Ipv4Net);

impl PoolNet {
    /// Reads `a.b.c.d/n` with n from 8 to 30.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let net: Ipv4Net = text.parse().map_err(|why| format!("{text:?} {why}"))?;
        match (8..=30).contains(&net.prefix) {
            true => Ok(PoolNet(net)),
            false => Err(format!("{text:?} must have a prefix from 8 to 30")),
        }
    }

    /// The whole.
    pub(crate) fn net(self) -> Ipv4Net {
        self.0
    }

    /// How many /30s it has.
    pub(crate) fn count(self) -> u32 {
        1 << (30 - u32::from(self.0.prefix))
    }

    /// One of them.
    pub(crate) fn subnet(self, number: u32) -> Subnet {
        Subnet(self.0.base + number * 4)
    }

    /// The number of the /30 that begins at an address; `None` when it is not of the pool.
    pub(crate) fn number_of(self, first: Ipv4Addr) -> Option<u32> {
        self.0.contains(first).then(|| (u32::from(first) - self.0.base) / 4)
    }

    /// The number of the /30 that a client names; `None` when it is not of the pool.
    pub(crate) fn number(self, text: &str) -> Option<u32> {
        let net: Ipv4Net = text.parse().ok()?;
        let inside = self.0.contains(Ipv4Addr::from(net.base)) && net.prefix >= 30;
        inside.then(|| (net.base - self.0.base) / 4)
    }
}

/// The four addresses of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet(u32);

impl Subnet {
    /// Length of its prefix.
    pub(crate) const PREFIX: u8 = 30;

    /// The one that begins at an address.
    pub(crate) fn at(first: Ipv4Addr) -> Self {
        Subnet(u32::from(first))
    }

    /// Its first address.
    pub(crate) fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.0)
    }

    /// The host's end.
    pub(crate) fn host(self) -> Ipv4Addr {
        Ipv4Addr::from(self.0 + 1)
    }

    /// The container's end.
    pub(crate) fn container(self) -> Ipv4Addr {
        Ipv4Addr::from(self.0 + 2)
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
        assert_eq!(Subnet::at(pool.subnet(7).first()), pool.subnet(7));
        assert_eq!(pool.number_of(pool.subnet(7).first()), Some(7));
        assert_eq!(pool.number_of(Ipv4Addr::new(10, 253, 0, 0)), None);
        assert_eq!(pool.number("10.254.0.8"), Some(2));
        assert_eq!(pool.number("10.254.0.8/30"), Some(2));
        assert_eq!(pool.number("10.254.0.0/29"), None);
        assert_eq!(pool.number("10.253.0.0"), None);
        assert!(PoolNet::parse("10.254.0.0/31").is_err());
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
}

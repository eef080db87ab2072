//! Sets and maps: what their keys are made of, and their elements.

use super::super::netlink::{attribute, nested};
use super::super::subnet::Addresses;
use super::kernel::*;
use super::rule::{text, verdict};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Key {
    /// Name of a link.
    Link,
    /// IPv4 address.
    V4,
    /// IPv6 address.
    V6,
    /// Port.
    Port,
    /// Protocol above IP.
    Protocol,
}

impl Key {
    /// Bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Key::Link | Key::V6 => 16,
            Key::V4 => 4,
            Key::Port => 2,
            Key::Protocol => 1,
        }
    }

    /// The number that the nft program has for the type (`enum datatypes` of its include/datatype.h): so it can show the
    /// set. The kernel keeps it and does not care.
    fn kind(self) -> u32 {
        match self {
            Key::V4 => 7,
            Key::V6 => 8,
            Key::Protocol => 12,
            Key::Port => 13,
            Key::Link => 41,
        }
    }

    /// Type and length of several side by side: six bits for each type, and whole registers for each value.
    fn of_all(keys: &[Key]) -> (u32, u32) {
        match keys {
            [key] => (key.kind(), key.length() as u32),
            keys => (
                keys.iter().fold(0, |kind, key| kind << 6 | key.kind()),
                keys.iter().map(|key| key.length().next_multiple_of(4) as u32).sum(),
            ),
        }
    }
}

/// A part of a key or of what a map gives, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Value<'a> {
    /// Name of a link.
    Link(&'a str),
    /// An address.
    Address(IpAddr),
    /// A port.
    Port(u16),
    /// A protocol.
    Protocol(u8),
    /// A jump to a chain.
    Jump(&'a str),
}

/// A set, or with values a map.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Set {
    /// Its name.
    pub(in super::super) name: &'static str,
    /// What a key is made of.
    pub(in super::super) keys: &'static [Key],
    /// What it is a map to.
    pub(in super::super) to: To,
    /// Whether its elements are ranges.
    pub(in super::super) ranges: bool,
}

/// What a map gives.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum To {
    /// Nothing: a set.
    Nothing,
    /// A verdict.
    Verdict,
    /// A value.
    Values(&'static [Key]),
}

impl Set {
    /// A set of single keys.
    pub(in super::super) const fn of(name: &'static str, keys: &'static [Key]) -> Self {
        Set { name, keys, to: To::Nothing, ranges: false }
    }

    /// A set of ranges.
    pub(in super::super) const fn ranges(name: &'static str, keys: &'static [Key]) -> Self {
        Set { name, keys, to: To::Nothing, ranges: true }
    }

    /// A map to a value.
    pub(in super::super) const fn map(name: &'static str, keys: &'static [Key], to: &'static [Key]) -> Self {
        Set { name, keys, to: To::Values(to), ranges: false }
    }

    /// A map to verdicts.
    pub(in super::super) const fn verdicts(name: &'static str, keys: &'static [Key]) -> Self {
        Set { name, keys, to: To::Verdict, ranges: false }
    }

    /// Writes what makes the set.
    pub(super) fn write(self, out: &mut Vec<u8>, id: u32) {
        let mut flags = if self.ranges { SET_F_INTERVAL } else { 0 };
        let (kind, length) = Key::of_all(self.keys);
        attribute(out, SET_NAME, &text(self.name));
        if !matches!(self.to, To::Nothing) {
            flags |= SET_F_MAP;
        }
        attribute(out, SET_FLAGS, &flags.to_be_bytes());
        attribute(out, SET_KEY_TYPE, &kind.to_be_bytes());
        attribute(out, SET_KEY_LEN, &length.to_be_bytes());
        match self.to {
            To::Nothing => (),
            To::Verdict => {
                attribute(out, SET_DATA_TYPE, &DATA_VERDICT_TYPE.to_be_bytes());
                attribute(out, SET_DATA_LEN, &0u32.to_be_bytes());
            }
            To::Values(keys) => {
                let (kind, length) = Key::of_all(keys);
                attribute(out, SET_DATA_TYPE, &kind.to_be_bytes());
                attribute(out, SET_DATA_LEN, &length.to_be_bytes());
            }
        }
        attribute(out, SET_ID, &id.to_be_bytes());
        // For the nft program, the order of a key's bytes (NFTNL_UDATA_SET_KEYBYTEORDER is 0): the host's (1) of text, the
        // network's (2) of anything else.
        let order = if self.keys == [Key::Link] { 1 } else { 2 };
        attribute(out, SET_USERDATA, &[0, 4, order, 0, 0, 0]);
    }
}

/// Writes one element.
pub(super) fn element(list: &mut Vec<u8>, key: &[Value<'_>], value: &[Value<'_>]) {
    nested(list, LIST_ELEMENT, |element| {
        nested(element, ELEMENT_KEY, |data| attribute(data, DATA_VALUE, &bytes(key)));
        match value {
            [] => (),
            [Value::Jump(chain)] => nested(element, ELEMENT_DATA, |data| verdict(data, JUMP, Some(chain))),
            value => nested(element, ELEMENT_DATA, |data| attribute(data, DATA_VALUE, &bytes(value))),
        }
    });
}

/// Writes a range as the kernel keeps it: where it begins, and where it has ended.
pub(super) fn range(list: &mut Vec<u8>, range: Addresses) {
    let mut edge = |address: &[u8], end: bool| {
        nested(list, LIST_ELEMENT, |element| {
            nested(element, ELEMENT_KEY, |data| attribute(data, DATA_VALUE, address));
            if end {
                attribute(element, ELEMENT_FLAGS, &ELEMENT_INTERVAL_END.to_be_bytes());
            }
        });
    };
    match range {
        Addresses::V4(first, last) => {
            edge(&first.octets(), false);
            if let Some(after) = u32::from(last).checked_add(1) {
                edge(&Ipv4Addr::from(after).octets(), true);
            }
        }
        Addresses::V6(first, last) => {
            edge(&first.octets(), false);
            if let Some(after) = u128::from(last).checked_add(1) {
                edge(&Ipv6Addr::from(after).octets(), true);
            }
        }
    }
}

/// Ranges in order that neither overlap nor touch: the kernel refuses those that overlap.
pub(in super::super) fn merge(mut ranges: Vec<Addresses>) -> Vec<Addresses> {
    ranges.sort();
    let mut merged: Vec<Addresses> = Vec::new();
    for range in ranges {
        match (merged.last_mut(), range) {
            (Some(Addresses::V4(_, last)), Addresses::V4(first, end))
                if u32::from(first) <= u32::from(*last).saturating_add(1) =>
            {
                *last = (*last).max(end);
            }
            (Some(Addresses::V6(_, last)), Addresses::V6(first, end))
                if u128::from(first) <= u128::from(*last).saturating_add(1) =>
            {
                *last = (*last).max(end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// Values side by side: each fills whole registers, unless it is alone.
fn bytes(values: &[Value<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        let start = bytes.len();
        match value {
            Value::Link(name) => {
                bytes.extend_from_slice(name.as_bytes());
                bytes.resize(start + Key::Link.length(), 0);
            }
            Value::Address(IpAddr::V4(address)) => bytes.extend_from_slice(&address.octets()),
            Value::Address(IpAddr::V6(address)) => bytes.extend_from_slice(&address.octets()),
            Value::Port(port) => bytes.extend_from_slice(&port.to_be_bytes()),
            Value::Protocol(number) => bytes.push(*number),
            // A verdict is no value: see `element`.
            Value::Jump(_) => (),
        }
        if values.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_or_touch_become_one() {
        let read = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect::<Vec<Addresses>>();
        let merged =
            merge(read(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.7", "10.9.0.0/16", "255.255.255.0/24"]));
        assert_eq!(merged, read(&["10.0.0.0-10.0.1.255", "10.9.0.0/16", "255.255.255.0/24"]));
        assert_eq!(merge(read(&["0.0.0.0/0", "1.1.1.1"])), read(&["0.0.0.0/0"]));
        let six = merge(read(&["fe80::/10", "fe80::1", "fd00:ec2::254"]));
        assert_eq!(six, read(&["fd00:ec2::254", "fe80::/10"]));
    }

    #[test]
    fn values_side_by_side_fill_whole_registers() {
        let address = Value::Address([10, 0, 0, 1].into());
        assert_eq!(bytes(&[Value::Port(258)]), [1, 2]);
        assert_eq!(bytes(&[address, Value::Port(258)]), [10, 0, 0, 1, 1, 2, 0, 0]);
        assert_eq!(bytes(&[Value::Link("ab"), Value::Protocol(6)])[..3], *b"ab\0");
        assert_eq!(bytes(&[Value::Link("ab"), Value::Protocol(6)]).len(), 20);
        assert_eq!(Key::of_all(&[Key::Link, Key::V4]), (41 << 6 | 7, 20));
    }
}

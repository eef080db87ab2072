//! A rule: expressions of the kernel's little machine, one after the other. The first that does not hold ends the rule.

use super::super::netlink::{NESTED, attribute, nested};
use super::kernel::*;
use super::set::Key;
use std::net::IpAddr;

/// A rule that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Rule(pub(super) Vec<u8>);

/// What can be read of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Field {
    /// Name of the link that it came in by.
    InLink,
    /// Name of the link that it goes out by.
    OutLink,
    /// IPv4 or IPv6.
    Family,
    /// TCP, UDP, ...
    Protocol,
    /// IPv4 source.
    Source4,
    /// IPv6 source.
    Source6,
    /// IPv4 destination.
    Destination4,
    /// IPv6 destination.
    Destination6,
    /// Destination port of TCP and UDP.
    Port,
    /// Type of ICMP and ICMPv6.
    IcmpType,
    /// Code of ICMP and ICMPv6.
    IcmpCode,
    /// State bits of its connection.
    State,
    /// Status bits of its connection.
    Status,
    /// IPv4 destination of its connection's first packet, before any change.
    Original4,
    /// The same, IPv6.
    Original6,
    /// The same, port.
    OriginalPort,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Test {
    /// Equal.
    Is,
    /// Not equal.
    Not,
    /// At least, by bytes.
    From,
    /// At most, by bytes.
    To,
}

impl Field {
    /// Bytes.
    fn length(self) -> usize {
        match self {
            Field::InLink | Field::OutLink => Key::Link.length(),
            Field::Source6 | Field::Destination6 | Field::Original6 => 16,
            Field::Source4 | Field::Destination4 | Field::Original4 | Field::State | Field::Status => 4,
            Field::Port | Field::OriginalPort => 2,
            Field::Family | Field::Protocol | Field::IcmpType | Field::IcmpCode => 1,
        }
    }

    /// How many registers of 4 bytes it fills.
    fn registers(self) -> u32 {
        self.length().div_ceil(4) as u32
    }
}

impl Rule {
    /// A rule that every packet fits.
    pub(in super::super) fn new() -> Self {
        Rule::default()
    }

    /// Goes on if a field compares so. `value` may be shorter than the field: then it is compared with its beginning.
    pub(in super::super) fn when(self, field: Field, test: Test, value: &[u8]) -> Self {
        let op = match test {
            Test::Is => CMP_EQ,
            Test::Not => CMP_NEQ,
            Test::From => CMP_GTE,
            Test::To => CMP_LTE,
        };
        self.load(field, 0).compare(op, value)
    }

    /// This rule, and then another.
    pub(in super::super) fn merge(mut self, then: Rule) -> Self {
        self.0.extend(then.0);
        self
    }

    /// Goes on with packets of an address's family.
    pub(in super::super) fn family_of(self, address: IpAddr) -> Self {
        let family = if address.is_ipv4() { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
        self.when(Field::Family, Test::Is, &[family])
    }

    /// Goes on with IPv4 packets.
    pub(in super::super) fn v4(self) -> Self {
        self.when(Field::Family, Test::Is, &[NFPROTO_IPV4])
    }

    /// Goes on with IPv6 packets.
    pub(in super::super) fn v6(self) -> Self {
        self.when(Field::Family, Test::Is, &[NFPROTO_IPV6])
    }

    /// Goes on if the connection's state has one of these bits.
    pub(in super::super) fn state(self, bits: u32) -> Self {
        self.load(Field::State, 0).mask(&bits.to_ne_bytes()).compare(CMP_NEQ, &[0; 4])
    }

    /// Goes on if the connection's destination has been changed.
    pub(in super::super) fn led_elsewhere(self) -> Self {
        self.load(Field::Status, 0).mask(&CT_DNAT.to_ne_bytes()).compare(CMP_NEQ, &[0; 4])
    }

    /// Goes on if the destination, under a mask, is a network's.
    pub(in super::super) fn within(self, field: Field, mask: &[u8], network: &[u8]) -> Self {
        self.load(field, 0).mask(mask).compare(CMP_EQ, network)
    }

    /// Goes on if the destination is an address of the host.
    pub(in super::super) fn to_host(self) -> Self {
        let rule = self.expression("fib", |data| {
            attribute(data, FIB_DREG, &REG_FIRST.to_be_bytes());
            attribute(data, FIB_RESULT, &FIB_RESULT_TYPE.to_be_bytes());
            attribute(data, FIB_FLAGS, &FIB_F_DADDR.to_be_bytes());
        });
        rule.compare(CMP_EQ, &FIB_LOCAL.to_ne_bytes())
    }

    /// Goes on if the fields, side by side, are in a set.
    pub(in super::super) fn lookup(self, fields: &[Field], set: &str) -> Self {
        self.load_all(fields).expression("lookup", |data| {
            attribute(data, LOOKUP_SET, &text(set));
            attribute(data, LOOKUP_SREG, &REG_FIRST.to_be_bytes());
        })
    }

    /// Does with the packet what a map says of the fields; goes on where it says nothing.
    pub(in super::super) fn verdict_of(self, fields: &[Field], map: &str) -> Self {
        self.load_all(fields).find(map, REG_VERDICT)
    }

    /// Leads the packet to the address and the port that a map of IPv4 has for its port.
    pub(in super::super) fn lead4(self, map: &str) -> Self {
        self.load(Field::Port, 0).find(map, REG_FIRST).lead(NFPROTO_IPV4, REG_FIRST + 1)
    }

    /// The same of IPv6.
    pub(in super::super) fn lead6(self, map: &str) -> Self {
        self.load(Field::Port, 0).find(map, REG_FIRST).lead(NFPROTO_IPV6, REG_FIRST + 4)
    }

    /// Counts packets and bytes.
    pub(in super::super) fn count(self) -> Self {
        self.expression("counter", |_| ())
    }

    /// Writes a line with a prefix to the kernel's log.
    pub(in super::super) fn log(self, prefix: &str) -> Self {
        self.expression("log", |data| attribute(data, LOG_PREFIX, &text(prefix)))
    }

    /// Gives packets the address of the link that they go out by.
    pub(in super::super) fn masquerade(self) -> Self {
        self.expression("masq", |_| ())
    }

    /// Refuses, and tells the sender.
    pub(in super::super) fn reject(self) -> Self {
        self.expression("reject", |data| {
            attribute(data, REJECT_TYPE, &REJECT_ICMPX.to_be_bytes());
            attribute(data, REJECT_CODE, &[REJECT_ADMIN_PROHIBITED]);
        })
    }

    /// Lets through.
    pub(in super::super) fn accept(self) -> Self {
        self.end(ACCEPT, None)
    }

    /// Drops.
    pub(in super::super) fn drop(self) -> Self {
        self.end(DROP, None)
    }

    /// Goes on in another chain, and never comes back.
    pub(in super::super) fn goto(self, chain: &str) -> Self {
        self.end(GOTO, Some(chain))
    }

    fn end(self, code: i32, chain: Option<&str>) -> Self {
        self.expression("immediate", |data| {
            attribute(data, IMMEDIATE_DREG, &REG_VERDICT.to_be_bytes());
            nested(data, IMMEDIATE_DATA, |value| verdict(value, code, chain));
        })
    }

    fn load_all(mut self, fields: &[Field]) -> Self {
        let mut register = 0;
        for field in fields {
            self = self.load(*field, register);
            register += field.registers();
        }
        self
    }

    fn load(self, field: Field, register: u32) -> Self {
        let register = (REG_FIRST + register).to_be_bytes();
        let length = field.length() as u32;
        match field {
            Field::InLink => self.meta(META_IIFNAME, register),
            Field::OutLink => self.meta(META_OIFNAME, register),
            Field::Family => self.meta(META_NFPROTO, register),
            Field::Protocol => self.meta(META_L4PROTO, register),
            // Offsets of struct iphdr, ipv6hdr, tcphdr, udphdr and icmphdr.
            Field::Source4 => self.payload(NETWORK_HEADER, 12, length, register),
            Field::Source6 => self.payload(NETWORK_HEADER, 8, length, register),
            Field::Destination4 => self.payload(NETWORK_HEADER, 16, length, register),
            Field::Destination6 => self.payload(NETWORK_HEADER, 24, length, register),
            Field::Port => self.payload(TRANSPORT_HEADER, 2, length, register),
            Field::IcmpType => self.payload(TRANSPORT_HEADER, 0, length, register),
            Field::IcmpCode => self.payload(TRANSPORT_HEADER, 1, length, register),
            Field::State => self.connection(CT_STATE, None, register),
            Field::Status => self.connection(CT_STATUS, None, register),
            Field::Original4 => self.connection(CT_DST_IP, Some(CT_ORIGINAL), register),
            Field::Original6 => self.connection(CT_DST_IP6, Some(CT_ORIGINAL), register),
            Field::OriginalPort => self.connection(CT_PROTO_DST, Some(CT_ORIGINAL), register),
        }
    }

    fn meta(self, key: u32, register: [u8; 4]) -> Self {
        self.expression("meta", |data| {
            attribute(data, META_DREG, &register);
            attribute(data, META_KEY, &key.to_be_bytes());
        })
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: [u8; 4]) -> Self {
        self.expression("payload", |data| {
            attribute(data, PAYLOAD_DREG, &register);
            attribute(data, PAYLOAD_BASE, &base.to_be_bytes());
            attribute(data, PAYLOAD_OFFSET, &offset.to_be_bytes());
            attribute(data, PAYLOAD_LEN, &length.to_be_bytes());
        })
    }

    fn connection(self, key: u32, direction: Option<u8>, register: [u8; 4]) -> Self {
        self.expression("ct", |data| {
            attribute(data, CT_DREG, &register);
            attribute(data, CT_KEY, &key.to_be_bytes());
            if let Some(direction) = direction {
                attribute(data, CT_DIRECTION, &[direction]);
            }
        })
    }

    /// Keeps the bits of a mask of what was loaded.
    fn mask(self, mask: &[u8]) -> Self {
        self.expression("bitwise", |data| {
            attribute(data, BITWISE_SREG, &REG_FIRST.to_be_bytes());
            attribute(data, BITWISE_DREG, &REG_FIRST.to_be_bytes());
            attribute(data, BITWISE_LEN, &(mask.len() as u32).to_be_bytes());
            nested(data, BITWISE_MASK, |value| attribute(value, DATA_VALUE, mask));
            nested(data, BITWISE_XOR, |value| attribute(value, DATA_VALUE, &vec![0; mask.len()]));
        })
    }

    fn compare(self, op: u32, value: &[u8]) -> Self {
        self.expression("cmp", |data| {
            attribute(data, CMP_SREG, &REG_FIRST.to_be_bytes());
            attribute(data, CMP_OP, &op.to_be_bytes());
            nested(data, CMP_DATA, |inner| attribute(inner, DATA_VALUE, value));
        })
    }

    /// Loads what a map has for what was loaded.
    fn find(self, map: &str, into: u32) -> Self {
        self.expression("lookup", |data| {
            attribute(data, LOOKUP_SET, &text(map));
            attribute(data, LOOKUP_SREG, &REG_FIRST.to_be_bytes());
            attribute(data, LOOKUP_DREG, &into.to_be_bytes());
        })
    }

    fn lead(self, family: u8, port: u32) -> Self {
        self.expression("nat", |data| {
            attribute(data, NAT_TYPE, &NAT_DNAT.to_be_bytes());
            attribute(data, NAT_FAMILY, &u32::from(family).to_be_bytes());
            attribute(data, NAT_REG_ADDRESS, &REG_FIRST.to_be_bytes());
            attribute(data, NAT_REG_PORT, &port.to_be_bytes());
        })
    }

    fn expression(mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        nested(&mut self.0, LIST_ELEMENT, |element| {
            attribute(element, EXPR_NAME, &text(name));
            let mut data = Vec::new();
            write(&mut data);
            attribute(element, EXPR_DATA | NESTED, &data);
        });
        self
    }
}

/// Writes a verdict as data.
pub(super) fn verdict(data: &mut Vec<u8>, code: i32, chain: Option<&str>) {
    nested(data, DATA_VERDICT, |verdict| {
        attribute(verdict, VERDICT_CODE, &code.to_be_bytes());
        if let Some(chain) = chain {
            attribute(verdict, VERDICT_CHAIN, &text(chain));
        }
    });
}

/// Text with the zero byte that the kernel expects.
pub(super) fn text(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

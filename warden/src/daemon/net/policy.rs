//! What is constant of the firewall: chains and rules, which look up sets and maps by link and address. What a container
//! adds are elements, and one chain with the destinations that it may reach. So the cost of a packet and of a change is
//! the same with one container and with a thousand.
//!
//! Every link of ours, and no other, has a name with one beginning: rules tell ours from others by that alone, and a link
//! that is of no container yet is closed from its first moment.

use super::nft::{Batch, ESTABLISHED_RELATED, Field, Hook, Key, Kind, Rule, Set, Test, Value, merge};
use super::subnet::{Addresses, Ipv4Net};
use super::{LinkMaker, PoolNet, Resolvers};
use crate::daemon::config::Network;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Networks that no container ever reaches. Link-local, where clouds keep their metadata services; the addresses of the
/// same in IPv6 (Amazon, Google, Oracle); and 169.254.0.0/16 as gateways between IPv4 and IPv6 spell it (RFC 6052 and
/// RFC 3056).
pub(super) const NEVER: [&str; 7] = [
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "64:ff9b::169.254.0.0/112",
    "2002:a9fe::/32",
];

/// Which addresses may speak from which link.
pub(super) const ADDRESSES: Set = Set::of("addresses", &[Key::Link, Key::V4]);
/// The same, IPv6.
pub(super) const ADDRESSES_6: Set = Set::of("addresses6", &[Key::Link, Key::V6]);
/// What each link may reach: its own chain.
pub(super) const EGRESS: Set = Set::verdicts("egress", &[Key::Link]);
/// Ports of the host that lead into containers.
pub(super) const INWARD: Set = Set::map("inward", &[Key::Port], &[Key::V4, Key::Port]);
/// The same, IPv6.
pub(super) const INWARD_6: Set = Set::map("inward6", &[Key::Port], &[Key::V6, Key::Port]);
/// Who may reach a neighbour by which address and port of the host.
pub(super) const THROUGH: Set = Set::of("through", &[Key::V4, Key::V4, Key::Port]);
/// The same, IPv6.
pub(super) const THROUGH_6: Set = Set::of("through6", &[Key::V6, Key::V6, Key::Port]);

const DENIED: Set = Set::ranges("denied", &[Key::V4]);
const DENIED_6: Set = Set::ranges("denied6", &[Key::V6]);
const ALLOWED: Set = Set::ranges("allowed", &[Key::V4]);
const ALLOWED_6: Set = Set::ranges("allowed6", &[Key::V6]);
const RESOLVERS: Set = Set::of("resolvers", &[Key::V4, Key::Protocol, Key::Port]);
const RESOLVERS_6: Set = Set::of("resolvers6", &[Key::V6, Key::Protocol, Key::Port]);

/// Protocols and port of names (RFC 1035).
const NAMES: [(u8, u16); 2] = [(TCP, 53), (UDP, 53)];
pub(super) const TCP: u8 = libc::IPPROTO_TCP as u8;
pub(super) const UDP: u8 = libc::IPPROTO_UDP as u8;

/// The operator's part.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    /// What the names of our links begin with.
    pub(super) prefix: String,
    /// Networks that nobody reaches.
    pub(super) denied: Vec<Addresses>,
    /// Networks that everybody reaches.
    pub(super) allowed: Vec<Addresses>,
    /// Name servers.
    pub(super) resolvers: Vec<IpAddr>,
    /// The pool, when the host's own end of each link is the name server.
    pub(super) host_resolver: Option<Ipv4Net>,
    /// Whether containers reach the host itself.
    pub(super) host_access: bool,
}

impl Policy {
    /// What a configuration says.
    pub(super) fn of(network: &Network, pool: PoolNet, resolvers: &Resolvers, maker: &LinkMaker) -> Self {
        // Checked when the configuration was read.
        let parsed = |text: &str| text.parse::<Addresses>().ok();
        let denied = NEVER.into_iter().chain(network.deny_networks.iter().map(String::as_str));
        Policy {
            prefix: maker.prefix().to_owned(),
            denied: denied.filter_map(parsed).collect(),
            allowed: network.allow_networks.iter().filter_map(|text| parsed(text)).collect(),
            resolvers: match resolvers {
                Resolvers::Servers(servers) => {
                    servers.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
                }
                Resolvers::Host => Vec::new(),
            },
            host_resolver: matches!(resolvers, Resolvers::Host).then(|| pool.net()),
            host_access: network.allow_host_access,
        }
    }

    /// Makes the table anew, with nothing of any container, in place of what was there.
    pub(super) fn write(&self, batch: &mut Batch) {
        batch.remove_table();
        batch.add_table();
        for set in [
            ADDRESSES,
            ADDRESSES_6,
            DENIED,
            DENIED_6,
            ALLOWED,
            ALLOWED_6,
            RESOLVERS,
            RESOLVERS_6,
            THROUGH,
            THROUGH_6,
            EGRESS,
            INWARD,
            INWARD_6,
        ] {
            batch.add_set(set);
        }
        for (list, four, six) in [(&self.denied, DENIED, DENIED_6), (&self.allowed, ALLOWED, ALLOWED_6)] {
            let (fours, sixes): (Vec<_>, Vec<_>) =
                merge(list.clone()).into_iter().partition(|range| matches!(range, Addresses::V4(..)));
            batch.add_ranges(four, &fours);
            batch.add_ranges(six, &sixes);
        }
        for server in &self.resolvers {
            for (protocol, port) in NAMES {
                let set = if server.is_ipv4() { RESOLVERS } else { RESOLVERS_6 };
                batch.add(set, &[Value::Address(*server), Value::Protocol(protocol), Value::Port(port)], &[]);
            }
        }
        batch.add_chain("outward");
        self.write_spoof(batch);
        self.write_input(batch);
        self.write_forward(batch);
        self.write_nat(batch);
    }

    /// Nobody speaks under another's address, nor in anything but IPv4 and the IPv6 of the pool: no link-local address, so
    /// no router announces itself.
    fn write_spoof(&self, batch: &mut Batch) {
        const NAME: &str = "spoof";
        // Priority raw: before connections are looked at.
        batch.add_base_chain(NAME, Kind::Filter, Hook::Prerouting, -300);
        let known = |fields: &[Field], set: Set| Rule::new().lookup(fields, set.name).accept();
        add(
            batch,
            NAME,
            [
                self.others().accept(),
                Rule::new().v4().merge(known(&[Field::InLink, Field::Source4], ADDRESSES)),
                Rule::new().v6().merge(known(&[Field::InLink, Field::Source6], ADDRESSES_6)),
                Rule::new().count().drop(),
            ],
        );
    }

    /// Container to host.
    fn write_input(&self, batch: &mut Batch) {
        const NAME: &str = "input";
        batch.add_base_chain(NAME, Kind::Filter, Hook::Input, 0);
        add(batch, NAME, [self.others().accept(), Rule::new().state(ESTABLISHED_RELATED).accept()]);
        add(batch, NAME, denied());
        add(batch, NAME, resolvers());
        if let Some(pool) = self.host_resolver {
            for (protocol, port) in NAMES {
                let rule = Rule::new().v4().within(Field::Destination4, &pool.mask(), &pool.base());
                let rule = rule.when(Field::Protocol, Test::Is, &[protocol]);
                add(batch, NAME, [rule.when(Field::Port, Test::Is, &port.to_be_bytes()).to_host().accept()]);
            }
        }
        let last = Rule::new();
        add(batch, NAME, [if self.host_access { last.accept() } else { last.reject() }]);
    }

    /// Container to anywhere else, and from anywhere else to containers: what was led there by a port of the host, and
    /// answers.
    fn write_forward(&self, batch: &mut Batch) {
        const NAME: &str = "forward";
        batch.add_base_chain(NAME, Kind::Filter, Hook::Forward, 0);
        let inward = || self.when(Field::OutLink, Test::Is);
        add(
            batch,
            NAME,
            [
                self.when(Field::InLink, Test::Is).goto("outward"),
                inward().state(ESTABLISHED_RELATED).accept(),
                inward().led_elsewhere().accept(),
                inward().reject(),
            ],
        );
        self.write_outward(batch);
    }

    /// The order is the policy: what is denied stays denied whatever is allowed later, and neighbours are reached through
    /// `allowed` alone, and by a port of the host that leads to them where `through` has it: there the destination is the
    /// neighbour's already, and the original one says what the container asked for.
    fn write_outward(&self, batch: &mut Batch) {
        const NAME: &str = "outward";
        add(batch, NAME, [Rule::new().state(ESTABLISHED_RELATED).accept()]);
        add(batch, NAME, denied());
        add(
            batch,
            NAME,
            [
                Rule::new().v4().lookup(&[Field::Original4], DENIED.name).reject(),
                Rule::new().v6().lookup(&[Field::Original6], DENIED_6.name).reject(),
            ],
        );
        add(batch, NAME, resolvers());
        add(
            batch,
            NAME,
            [
                Rule::new().v4().lookup(&[Field::Destination4], ALLOWED.name).accept(),
                Rule::new().v6().lookup(&[Field::Destination6], ALLOWED_6.name).accept(),
            ],
        );
        let neighbour = || {
            let rule = self.when(Field::OutLink, Test::Is).when(Field::Protocol, Test::Is, &[TCP]);
            rule.led_elsewhere()
        };
        let four = [Field::Source4, Field::Original4, Field::OriginalPort];
        let six = [Field::Source6, Field::Original6, Field::OriginalPort];
        add(
            batch,
            NAME,
            [
                neighbour().v4().lookup(&four, THROUGH.name).accept(),
                neighbour().v6().lookup(&six, THROUGH_6.name).accept(),
                self.when(Field::OutLink, Test::Is).reject(),
                Rule::new().verdict_of(&[Field::InLink], EGRESS.name),
                Rule::new().reject(),
            ],
        );
    }

    /// Ports of the host that lead into containers, for packets from outside and from the host itself; and the host's
    /// address for what leaves it.
    fn write_nat(&self, batch: &mut Batch) {
        let lead = |batch: &mut Batch, chain: &str, four: Rule, six: Rule| {
            let four = four.to_host().when(Field::Protocol, Test::Is, &[TCP]).lead4(INWARD.name);
            let six = six.to_host().when(Field::Protocol, Test::Is, &[TCP]).lead6(INWARD_6.name);
            add(batch, chain, [four, six]);
        };
        batch.add_base_chain("prerouting", Kind::Nat, Hook::Prerouting, -100);
        lead(batch, "prerouting", Rule::new().v4(), Rule::new().v6());
        batch.add_base_chain("output", Kind::Nat, Hook::Output, -100);
        // What the host sends to its own loopback stays there: such a packet cannot leave.
        let own4 = Rule::new().v4().when(Field::Destination4, Test::Not, &[127]);
        let own6 =
            Rule::new().v6().when(Field::Destination6, Test::Not, &std::net::Ipv6Addr::LOCALHOST.octets());
        lead(batch, "output", own4, own6);
        batch.add_base_chain("postrouting", Kind::Nat, Hook::Postrouting, 100);
        let leaves = self.when(Field::InLink, Test::Is).merge(self.when(Field::OutLink, Test::Not));
        add(batch, "postrouting", [leaves.masquerade()]);
    }

    /// Packets that do not come from a container.
    fn others(&self) -> Rule {
        self.when(Field::InLink, Test::Not)
    }

    /// Whether a link is ours.
    fn when(&self, link: Field, test: Test) -> Rule {
        Rule::new().when(link, test, self.prefix.as_bytes())
    }
}

fn denied() -> [Rule; 2] {
    [
        Rule::new().v4().lookup(&[Field::Destination4], DENIED.name).reject(),
        Rule::new().v6().lookup(&[Field::Destination6], DENIED_6.name).reject(),
    ]
}

fn resolvers() -> [Rule; 2] {
    let four = [Field::Destination4, Field::Protocol, Field::Port];
    let six = [Field::Destination6, Field::Protocol, Field::Port];
    [
        Rule::new().v4().lookup(&four, RESOLVERS.name).accept(),
        Rule::new().v6().lookup(&six, RESOLVERS_6.name).accept(),
    ]
}

fn add<const N: usize>(batch: &mut Batch, chain: &str, rules: [Rule; N]) {
    for rule in rules {
        batch.add_rule(chain, &rule);
    }
}

//! The host's firewall: one nftables table per platform, whose rules are constant and look up sets and maps by link and
//! address. A container adds its elements and one chain with the destinations that it may reach; the cost of a packet
//! and of a change is the same with one container and with a thousand.

use super::{Ipv4Net, LinkMaker, Out, PoolNet, Subnet};
use crate::daemon::record::Port;
use crate::daemon::{Config, Error, lock};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Networks that no container ever reaches: link-local, where clouds keep their metadata services.
const NEVER: &str = "169.254.0.0/16";

/// The table of one platform. Changes go one after the other, each one transaction.
#[derive(Debug)]
pub(crate) struct Firewall {
    table: String,
    base: String,
    maker: LinkMaker,
    turn: Mutex<()>,
}

/// What the firewall knows of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member<'a> {
    /// Its internal name.
    pub(crate) id: &'a str,
    /// Its addresses.
    pub(crate) subnet: Subnet,
    /// Ports that lead to it.
    pub(crate) ports: &'a [Port],
    /// Destinations that it may reach.
    pub(crate) outs: &'a [Out],
}

impl Firewall {
    /// The table for a configuration; nothing is changed yet. `resolvers` are the name servers that containers use.
    pub(crate) fn new(config: &Config, pool: PoolNet, resolvers: &[Ipv4Addr], maker: LinkMaker) -> Self {
        let table = format!("cupola_{}", config.instance());
        let base = base(config, pool, resolvers, &table);
        Firewall { table, base, maker, turn: Mutex::new(()) }
    }

    /// Makes the table anew with exactly these containers, in place of what was there.
    pub(crate) fn rebuild(&self, members: &[Member<'_>]) -> Result<(), Error> {
        let table = &self.table;
        let mut script = format!("add table inet {table}\ndelete table inet {table}\n{}", self.base);
        for member in members {
            self.write_add(&mut script, *member);
        }
        self.commit(&script)
    }

    /// Adds a container.
    pub(crate) fn add(&self, member: Member<'_>) -> Result<(), Error> {
        let mut script = String::new();
        self.write_add(&mut script, member);
        self.commit(&script)
    }

    /// Removes a container; one that is not there is no error.
    pub(crate) fn remove(&self, member: Member<'_>) -> Result<(), Error> {
        // What is added first can be deleted whether it was there or not.
        let mut script = String::new();
        self.write_add(&mut script, member);
        for element in self.elements(member) {
            let _ = writeln!(script, "delete element inet {} {}", self.table, element.without_value());
        }
        let _ = writeln!(
            script,
            "flush chain inet {0} c-{1}\ndelete chain inet {0} c-{1}",
            self.table, member.id
        );
        self.commit(&script)
    }

    /// Leads a port to a container.
    pub(crate) fn add_port(&self, subnet: Subnet, port: Port) -> Result<(), Error> {
        self.commit(&format!("add element inet {} {}\n", self.table, inward(subnet, port).text()))
    }

    /// Lets a container reach a destination.
    pub(crate) fn add_out(&self, id: &str, subnet: Subnet, out: &Out) -> Result<(), Error> {
        let mut script = String::new();
        self.write_out(&mut script, id, out);
        if let Some(element) = through(subnet, out) {
            let _ = writeln!(script, "add element inet {} {}", self.table, element.text());
        }
        self.commit(&script)
    }

    /// Removes the whole table.
    pub(crate) fn delete(&self) -> Result<(), Error> {
        self.commit(&format!("add table inet {0}\ndelete table inet {0}\n", self.table))
    }

    fn write_add(&self, script: &mut String, member: Member<'_>) {
        let _ = writeln!(script, "add chain inet {} c-{}", self.table, member.id);
        for element in self.elements(member) {
            let _ = writeln!(script, "add element inet {} {}", self.table, element.text());
        }
        for out in member.outs {
            self.write_out(script, member.id, out);
        }
    }

    fn write_out(&self, script: &mut String, id: &str, out: &Out) {
        for rule in out.rules() {
            let _ = writeln!(script, "add rule inet {} c-{id} {rule}", self.table);
        }
    }

    fn elements(&self, member: Member<'_>) -> Vec<Element> {
        let (link, address) = (self.maker.name(member.subnet), member.subnet.container());
        let mut all = vec![
            Element { set: "links", key: format!("\"{link}\""), value: None },
            Element { set: "addresses", key: format!("\"{link}\" . {address}"), value: None },
            Element { set: "egress", key: address.to_string(), value: Some(format!("jump c-{}", member.id)) },
        ];
        all.extend(member.ports.iter().map(|port| inward(member.subnet, *port)));
        all.extend(member.outs.iter().filter_map(|out| through(member.subnet, out)));
        // Two rules may name one port, and what is deleted twice is an error.
        all.sort();
        all.dedup();
        all
    }

    fn commit(&self, script: &str) -> Result<(), Error> {
        let _turn = lock(&self.turn);
        let failed = |output: String| Error::Program { program: "nft", output };
        let start =
            |error| Error::io("start nft (Debian package nftables)", std::path::Path::new("nft"))(error);
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        // When it ends early, what it says about that is the better message.
        let written = nft.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
        let output = nft.wait_with_output().map_err(start)?;
        match (output.status.success(), written) {
            (true, Ok(())) => Ok(()),
            (true, Err(error)) => Err(failed(error.to_string())),
            (false, _) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Element {
    set: &'static str,
    key: String,
    value: Option<String>,
}

impl Element {
    fn text(&self) -> String {
        let value = self.value.as_ref().map_or(String::new(), |value| format!(" : {value}"));
        format!("{} {{ {}{value} }}", self.set, self.key)
    }

    fn without_value(&self) -> String {
        format!("{} {{ {} }}", self.set, self.key)
    }
}

fn inward(subnet: Subnet, port: Port) -> Element {
    let value = format!("{} . {}", subnet.container(), port.container);
    Element { set: "inward", key: port.host.to_string(), value: Some(value) }
}

/// What lets a container reach a port of the host that leads into a neighbour: only a rule that names this one address
/// and this one port does. A wider one never opens neighbours.
fn through(subnet: Subnet, out: &Out) -> Option<Element> {
    let (address, port) = out.endpoint()?;
    Some(Element { set: "through", key: format!("{} . {address} . {port}", subnet.container()), value: None })
}

/// The constant part of the table.
fn base(config: &Config, pool: PoolNet, resolvers: &[Ipv4Addr], table: &str) -> String {
    let network = &config.network;
    let elements = |all: Vec<String>| match all.is_empty() {
        true => String::new(),
        false => format!("elements = {{ {} }}", all.join(", ")),
    };
    // Written out again from their parsed form: nothing of the configuration's text gets into the script.
    let net = |text: &String| text.parse::<Ipv4Net>().ok().map(|net| net.to_string());
    let denied = network.deny_networks.iter().filter_map(net);
    let denied = elements(std::iter::once(NEVER.to_owned()).chain(denied).collect());
    let allowed = elements(network.allow_networks.iter().filter_map(net).collect());
    let resolvers = elements(resolvers.iter().map(Ipv4Addr::to_string).collect());
    let host = if network.allow_host_access { "accept" } else { "reject with icmpx type admin-prohibited" };
    let pool = pool.net();
    format!(
        r#"table inet {table} {{
  set links {{ type ifname; }}
  set addresses {{ type ifname . ipv4_addr; }}
  set denied {{ type ipv4_addr; flags interval; auto-merge; {denied} }}
  set allowed {{ type ipv4_addr; flags interval; auto-merge; {allowed} }}
  set resolvers {{ type ipv4_addr; {resolvers} }}
  set through {{ type ipv4_addr . ipv4_addr . inet_service; }}
  map egress {{ type ipv4_addr : verdict; }}
  map inward {{ type inet_service : ipv4_addr . inet_service; }}

  # Nobody speaks under another's address.
  chain spoof {{
    type filter hook prerouting priority raw; policy accept;
    iifname != @links accept
    meta nfproto ipv6 drop
    iifname . ip saddr != @addresses drop
  }}

  # Container to host.
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname != @links accept
    ct state established,related accept
    ip daddr @resolvers meta l4proto {{ tcp, udp }} th dport 53 accept
    {host}
  }}

  # Container to anywhere else. The order is the policy: what is denied stays denied whatever is allowed later, and
  # neighbours are reached through `allowed` alone, and by a port of the host that leads to them where `through` has it:
  # there the destination is the neighbour's already, and the original one says what the container asked for.
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname @links jump outward
  }}
  chain outward {{
    ct state established,related accept
    ip daddr @denied reject with icmpx type admin-prohibited
    ct original ip daddr @denied reject with icmpx type admin-prohibited
    ip daddr @resolvers meta l4proto {{ tcp, udp }} th dport 53 accept
    ip daddr @allowed accept
    oifname @links meta l4proto tcp ct status dnat ip saddr . ct original ip daddr . ct original proto-dst @through accept
    oifname @links reject with icmpx type admin-prohibited
    ip saddr vmap @egress
    reject with icmpx type admin-prohibited
  }}

  # Ports of the host that lead into containers, for packets from outside and from the host itself.
  chain prerouting {{
    type nat hook prerouting priority -100; policy accept;
    fib daddr type local dnat ip to tcp dport map @inward
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    fib daddr type local dnat ip to tcp dport map @inward
  }}
  chain postrouting {{
    type nat hook postrouting priority 100; policy accept;
    ip saddr {pool} oifname != @links masquerade
  }}
}}
"#
    )
}

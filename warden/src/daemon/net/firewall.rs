//! The host's firewall: one nf_tables table per platform. Its constant part is in `policy`; here is what each container
//! adds and takes away. Each change is one transaction.

use super::nft::{Batch, Refusal, Socket, Value};
use super::policy::{ADDRESSES, ADDRESSES_6, EGRESS, INWARD, INWARD_6, Policy, THROUGH, THROUGH_6};
use super::{LinkMaker, Out, PoolNet, Resolvers, Subnet};
use crate::daemon::record::Port;
use crate::daemon::{Config, Error, lock};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

/// The table of one platform. Changes go one after the other.
#[derive(Debug)]
pub(crate) struct Firewall {
    table: String,
    policy: Policy,
    maker: LinkMaker,
    state: Mutex<State>,
}

/// What the table should have, so that it can be made anew when somebody has emptied it.
#[derive(Debug, Default)]
struct State {
    socket: Option<Socket>,
    members: BTreeMap<Ipv4Addr, Entry>,
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

#[derive(Debug, Clone)]
struct Entry {
    id: String,
    subnet: Subnet,
    ports: Vec<Port>,
    outs: Vec<Out>,
}

impl Firewall {
    /// The table of a platform; nothing is changed yet.
    pub(crate) fn new(config: &Config, pool: PoolNet, resolvers: &Resolvers, maker: LinkMaker) -> Self {
        let policy = Policy::of(&config.network, pool, resolvers, &maker);
        Firewall { table: format!("cupola_{}", config.instance()), policy, maker, state: Mutex::default() }
    }

    /// Makes the table anew with exactly these containers, in place of what was there.
    pub(crate) fn rebuild(&self, members: &[Member<'_>]) -> Result<(), Error> {
        let mut state = lock(&self.state);
        state.members = members.iter().map(|member| (member.subnet.first(), Entry::of(*member))).collect();
        self.make(&mut state)
    }

    /// Adds a link that is of no container yet: everything is closed to it.
    pub(super) fn prepare(&self, subnet: Subnet) -> Result<(), Error> {
        self.add(Member { id: "", subnet, ports: &[], outs: &[] })
    }

    /// Adds a container, whose link may have been added before.
    pub(crate) fn add(&self, member: Member<'_>) -> Result<(), Error> {
        self.change(member.subnet, |batch, known| {
            let entry = Entry::of(member);
            match known {
                None => self.write_all(batch, &entry),
                Some(known) => {
                    let new = |port: &&Port| !known.ports.contains(port);
                    entry.ports.iter().filter(new).for_each(|port| add_port(batch, entry.subnet, *port));
                    self.write_outs(batch, &entry, known, &entry.outs);
                }
            }
            Some(entry)
        })
    }

    /// Removes a container or a link; one that is not there is no error.
    pub(crate) fn remove(&self, subnet: Subnet) -> Result<(), Error> {
        self.change(subnet, |batch, known| {
            let entry = known?;
            let link = self.maker.name(entry.subnet);
            batch.delete(EGRESS, &[Value::Link(&link)]);
            batch.delete_chain(&chain(entry.subnet));
            batch.delete(ADDRESSES, &[Value::Link(&link), Value::Address(entry.subnet.container().into())]);
            if let Some(address) = entry.subnet.container6() {
                batch.delete(ADDRESSES_6, &[Value::Link(&link), Value::Address(address.into())]);
            }
            entry.ports.iter().for_each(|port| delete_port(batch, entry.subnet, *port));
            for (set, key) in throughs(entry.subnet, &entry.outs) {
                batch.delete(set, &key);
            }
            None
        })
    }

    /// Leads a port to a container.
    pub(crate) fn add_port(&self, subnet: Subnet, port: Port) -> Result<(), Error> {
        self.change(subnet, |batch, known| {
            let mut entry = known?.clone();
            add_port(batch, subnet, port);
            entry.ports.push(port);
            Some(entry)
        })
    }

    /// Lets a container reach a destination.
    pub(crate) fn add_out(&self, subnet: Subnet, out: &Out) -> Result<(), Error> {
        self.change(subnet, |batch, known| {
            let mut entry = known?.clone();
            self.write_outs(batch, &entry, known?, std::slice::from_ref(out));
            entry.outs.push(out.clone());
            Some(entry)
        })
    }

    /// Makes the table anew if somebody has removed it: until then every container may do everything.
    pub(crate) fn guard(&self) -> Result<(), Error> {
        let mut state = lock(&self.state);
        match state.socket.as_ref().map(|socket| socket.has_table(&self.table)) {
            Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => {
                tracing::error!(table = self.table, "somebody has removed the firewall; making it anew");
                self.make(&mut state)
            }
            Some(Err(source)) => {
                state.socket = None;
                Err(Error::Firewall { object: "the table".to_owned(), source })
            }
            // Its first transaction has not been made.
            None => Ok(()),
        }
    }

    /// Removes the whole table.
    pub(crate) fn delete(&self) -> Result<(), Error> {
        let mut state = lock(&self.state);
        let mut batch = Batch::new(&self.table);
        batch.remove_table();
        commit(&mut state.socket, batch).map_err(named)?;
        *state = State::default();
        Ok(())
    }

    /// Makes the changes that `write` writes for what is known of a subnet, and keeps what it gives. Where the kernel's
    /// table turns out to be another than ours, it is made anew as it should be.
    fn change(
        &self,
        subnet: Subnet,
        write: impl FnOnce(&mut Batch, Option<&Entry>) -> Option<Entry>,
    ) -> Result<(), Error> {
        let mut state = lock(&self.state);
        let mut batch = Batch::new(&self.table);
        let known = state.members.remove(&subnet.first());
        let wanted = write(&mut batch, known.as_ref());
        let refused = commit(&mut state.socket, batch).err();
        state.members.extend(wanted.map(|entry| (subnet.first(), entry)));
        let Some(refusal) = refused else { return Ok(()) };
        let differs = matches!(refusal.source.raw_os_error(), Some(libc::ENOENT | libc::EEXIST));
        let result = match differs || !refusal.certain {
            true => {
                let error = named(refusal);
                tracing::error!(error = error.chain(), "somebody has changed the firewall; making it anew");
                self.make(&mut state)
            }
            false => Err(named(refusal)),
        };
        result.inspect_err(|_| {
            state.members.remove(&subnet.first());
            state.members.extend(known.map(|entry| (subnet.first(), entry)));
        })
    }

    /// Makes the table anew.
    fn make(&self, state: &mut State) -> Result<(), Error> {
        let mut batch = Batch::new(&self.table);
        self.policy.write(&mut batch);
        state.members.values().for_each(|entry| self.write_all(&mut batch, entry));
        commit(&mut state.socket, batch).map_err(named)
    }

    fn write_all(&self, batch: &mut Batch, entry: &Entry) {
        let (link, chain) = (self.maker.name(entry.subnet), chain(entry.subnet));
        batch.add_chain(&chain);
        batch.add(ADDRESSES, &[Value::Link(&link), Value::Address(entry.subnet.container().into())], &[]);
        if let Some(address) = entry.subnet.container6() {
            batch.add(ADDRESSES_6, &[Value::Link(&link), Value::Address(address.into())], &[]);
        }
        batch.add(EGRESS, &[Value::Link(&link)], &[Value::Jump(&chain)]);
        entry.ports.iter().for_each(|port| add_port(batch, entry.subnet, *port));
        let none = Entry { outs: Vec::new(), ..entry.clone() };
        self.write_outs(batch, entry, &none, &entry.outs);
    }

    /// Writes destinations, of which those of `known` are there.
    fn write_outs(&self, batch: &mut Batch, entry: &Entry, known: &Entry, outs: &[Out]) {
        let new: Vec<Out> = outs.iter().filter(|out| !known.outs.contains(out)).cloned().collect();
        for rule in new.iter().flat_map(|out| out.rules(&entry.id)) {
            batch.add_rule(&chain(entry.subnet), &rule);
        }
        let there = throughs(entry.subnet, &known.outs);
        for (set, key) in throughs(entry.subnet, &new) {
            // Two destinations may name one port.
            if !there.iter().any(|(_, known)| *known == key) {
                batch.add(set, &key, &[]);
            }
        }
    }
}

impl Entry {
    fn of(member: Member<'_>) -> Self {
        let (ports, outs) = (member.ports.to_vec(), member.outs.to_vec());
        Entry { id: member.id.to_owned(), subnet: member.subnet, ports, outs }
    }
}

/// A container's own chain. Like its link, it is named after its address.
fn chain(subnet: Subnet) -> String {
    format!("c-{:08x}", u32::from(subnet.first()))
}

fn add_port(batch: &mut Batch, subnet: Subnet, port: Port) {
    let to = |address: IpAddr| [Value::Address(address), Value::Port(port.container)];
    batch.add(INWARD, &[Value::Port(port.host)], &to(subnet.container().into()));
    if let Some(address) = subnet.container6() {
        batch.add(INWARD_6, &[Value::Port(port.host)], &to(address.into()));
    }
}

fn delete_port(batch: &mut Batch, subnet: Subnet, port: Port) {
    batch.delete(INWARD, &[Value::Port(port.host)]);
    if subnet.container6().is_some() {
        batch.delete(INWARD_6, &[Value::Port(port.host)]);
    }
}

/// What lets a container reach a port of the host that leads into a neighbour: only a rule that names this one address
/// and this one port does. A wider one never opens neighbours.
fn throughs(subnet: Subnet, outs: &[Out]) -> Vec<(super::nft::Set, [Value<'static>; 3])> {
    let mut all: Vec<(super::nft::Set, [Value<'static>; 3])> = Vec::new();
    for (address, port) in outs.iter().filter_map(Out::endpoint) {
        let (set, own) = match address {
            IpAddr::V4(_) => (THROUGH, Some(IpAddr::V4(subnet.container()))),
            IpAddr::V6(_) => (THROUGH_6, subnet.container6().map(IpAddr::V6)),
        };
        let Some(own) = own else { continue };
        let key = [Value::Address(own), Value::Address(address), Value::Port(port)];
        if !all.iter().any(|(_, known)| *known == key) {
            all.push((set, key));
        }
    }
    all
}

/// Sends a batch. The socket is opened when there is none, and given up when what it said is not certain.
fn commit(socket: &mut Option<Socket>, batch: Batch) -> Result<(), Refusal> {
    if batch.is_empty() {
        return Ok(());
    }
    let open = |source| Refusal { object: Some("its socket".to_owned()), source, certain: true };
    let used = match socket.take() {
        Some(used) => used,
        None => Socket::open().map_err(open)?,
    };
    let result = used.commit(batch);
    if result.as_ref().err().is_none_or(|refusal| refusal.object.is_some()) {
        *socket = Some(used);
    }
    result
}

fn named(refusal: Refusal) -> Error {
    let object = refusal.object.unwrap_or_else(|| "the whole change".to_owned());
    let source = match refusal.source.raw_os_error() {
        // What an absent module looks like.
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => {
            io::Error::other(format!(
                "{}; the kernel needs CONFIG_NF_TABLES_INET with nft_ct, nft_fib, nft_nat, nft_masq, nft_reject and nft_log",
                refusal.source
            ))
        }
        _ => refusal.source,
    };
    Error::Firewall { object, source }
}

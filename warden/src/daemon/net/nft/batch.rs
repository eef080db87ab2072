//! A transaction: changes of one table, of which the kernel makes all or none.

use super::super::netlink::{attribute, nested};
use super::super::subnet::Addresses;
use super::kernel::*;
use super::rule::{Rule, text};
use super::set::{Set, Value, element, range};
use std::fmt::Write as _;

/// Bytes of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

/// Changes of one table.
#[derive(Debug)]
pub(in super::super) struct Batch {
    table: String,
    pub(super) bytes: Vec<u8>,
    /// What each message is about, from the first after the beginning on.
    pub(super) objects: Vec<String>,
    /// Where the last message begins.
    last: usize,
    sets: u32,
}

/// Where a chain is called from: the kernel's `enum nf_inet_hooks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Hook {
    /// Before it is known where a packet goes.
    Prerouting = 0,
    /// On the way to the host itself.
    Input = 1,
    /// On the way through.
    Forward = 2,
    /// On the way from the host itself.
    Output = 3,
    /// At the very end.
    Postrouting = 4,
}

/// What a chain does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Kind {
    /// Lets through or not.
    Filter,
    /// Changes addresses.
    Nat,
}

impl Batch {
    /// No change yet.
    pub(in super::super) fn new(table: &str) -> Self {
        let mut batch =
            Batch { table: table.to_owned(), bytes: Vec::new(), objects: Vec::new(), last: 0, sets: 0 };
        batch.frame(BATCH_BEGIN, 0);
        batch
    }

    /// Whether there is no change in it.
    pub(in super::super) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Removes the table with everything in it, whether it is there or not.
    pub(in super::super) fn remove_table(&mut self) {
        // What is added first can be deleted.
        self.add_table();
        let name = text(&self.table);
        self.message(MSG_DELTABLE, 0, "the table".to_owned(), |out| attribute(out, TABLE_NAME, &name));
    }

    /// Adds the table.
    pub(in super::super) fn add_table(&mut self) {
        let name = text(&self.table);
        let object = "the table".to_owned();
        self.message(MSG_NEWTABLE, NLM_F_CREATE, object, |out| attribute(out, TABLE_NAME, &name));
    }

    /// Adds a chain that is called from a hook.
    pub(in super::super) fn add_base_chain(&mut self, name: &str, kind: Kind, hook: Hook, priority: i32) {
        self.chain(MSG_NEWCHAIN, NLM_F_CREATE, name, |out| {
            nested(out, CHAIN_HOOK, |out| {
                attribute(out, HOOK_NUMBER, &(hook as u32).to_be_bytes());
                attribute(out, HOOK_PRIORITY, &priority.to_be_bytes());
            });
            attribute(out, CHAIN_POLICY, &(ACCEPT as u32).to_be_bytes());
            attribute(out, CHAIN_TYPE, &text(if kind == Kind::Nat { "nat" } else { "filter" }));
        });
    }

    /// Adds a chain that rules and maps lead to.
    pub(in super::super) fn add_chain(&mut self, name: &str) {
        self.chain(MSG_NEWCHAIN, NLM_F_CREATE, name, |_| ());
    }

    /// Deletes a chain with its rules.
    pub(in super::super) fn delete_chain(&mut self, name: &str) {
        let table = text(&self.table);
        self.message(MSG_DELRULE, 0, format!("the rules of chain {name}"), |out| {
            attribute(out, RULE_TABLE, &table);
            attribute(out, RULE_CHAIN, &text(name));
        });
        self.chain(MSG_DELCHAIN, 0, name, |_| ());
    }

    /// Adds a rule at the end of a chain.
    pub(in super::super) fn add_rule(&mut self, chain: &str, rule: &Rule) {
        let table = text(&self.table);
        self.message(MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, format!("a rule of chain {chain}"), |out| {
            attribute(out, RULE_TABLE, &table);
            attribute(out, RULE_CHAIN, &text(chain));
            nested(out, RULE_EXPRESSIONS, |out| out.extend_from_slice(&rule.0));
        });
    }

    /// Adds a set or map.
    pub(in super::super) fn add_set(&mut self, set: Set) {
        let table = text(&self.table);
        self.sets += 1;
        let id = self.sets;
        self.message(MSG_NEWSET, NLM_F_CREATE, format!("set {}", set.name), |out| {
            attribute(out, SET_TABLE, &table);
            set.write(out, id);
        });
    }

    /// Adds an element, which must not be there.
    pub(in super::super) fn add(&mut self, set: Set, key: &[Value<'_>], value: &[Value<'_>]) {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.elements(MSG_NEWSETELEM, flags, set, describe(key), |list| element(list, key, value));
    }

    /// Deletes an element, which must be there.
    pub(in super::super) fn delete(&mut self, set: Set, key: &[Value<'_>]) {
        self.elements(MSG_DELSETELEM, 0, set, describe(key), |list| element(list, key, &[]));
    }

    /// Adds ranges, which must not overlap.
    pub(in super::super) fn add_ranges(&mut self, set: Set, ranges: &[Addresses]) {
        for each in ranges {
            self.elements(MSG_NEWSETELEM, NLM_F_CREATE, set, each.to_string(), |list| range(list, *each));
        }
    }

    /// Ends the batch: the bytes to send, and what each message is about.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<String>) {
        // The last change is acknowledged: then all of them have been.
        if let Some(flags) = self.bytes.get_mut(self.last + 6..).and_then(|rest| rest.first_chunk_mut()) {
            *flags = (u16::from_ne_bytes(*flags) | NLM_F_ACK).to_ne_bytes();
        }
        let number = self.objects.len() as u32 + 1;
        self.frame(BATCH_END, number);
        (self.bytes, self.objects)
    }

    fn chain(&mut self, kind: u16, flags: u16, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let table = text(&self.table);
        self.message(kind, flags, format!("chain {name}"), |out| {
            attribute(out, CHAIN_TABLE, &table);
            attribute(out, CHAIN_NAME, &text(name));
            write(out);
        });
    }

    fn elements(&mut self, kind: u16, flags: u16, set: Set, key: String, write: impl FnOnce(&mut Vec<u8>)) {
        let table = text(&self.table);
        self.message(kind, flags, format!("element {key} of set {}", set.name), |out| {
            attribute(out, ELEMENTS_TABLE, &table);
            attribute(out, ELEMENTS_SET, &text(set.name));
            nested(out, ELEMENTS_LIST, write);
        });
    }

    /// Appends a message. Its number is its place: 0 is the beginning.
    fn message(&mut self, kind: u16, flags: u16, object: String, write: impl FnOnce(&mut Vec<u8>)) {
        self.objects.push(object);
        let number = self.objects.len() as u32;
        let mut body = Vec::new();
        write(&mut body);
        self.last = self.bytes.len();
        // struct nfgenmsg: family, version, resource.
        let general = [NFPROTO_INET, 0, 0, 0];
        self.raw(SUBSYSTEM << 8 | kind, NLM_F_REQUEST | flags, number, &general, &body);
    }

    /// Appends where the transaction begins or ends.
    fn frame(&mut self, kind: u16, number: u32) {
        let [high, low] = SUBSYSTEM.to_be_bytes();
        self.raw(kind, NLM_F_REQUEST, number, &[libc::AF_UNSPEC as u8, 0, high, low], &[]);
    }

    fn raw(&mut self, kind: u16, flags: u16, number: u32, general: &[u8; 4], body: &[u8]) {
        let length = HEADER + general.len() + body.len();
        self.bytes.extend_from_slice(&(length as u32).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&number.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(general);
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// The question for a table of a name, which is answered and acknowledged.
pub(super) fn ask(table: &str) -> Vec<u8> {
    let mut batch = Batch::new(table);
    batch.bytes.clear();
    let name = text(table);
    batch.message(MSG_GETTABLE, NLM_F_ACK, String::new(), |out| attribute(out, TABLE_NAME, &name));
    batch.bytes
}

/// A key for an error's text.
fn describe(key: &[Value<'_>]) -> String {
    let mut text = String::new();
    for part in key {
        let dot = if text.is_empty() { "" } else { " . " };
        let _ = match part {
            Value::Link(name) | Value::Jump(name) => write!(text, "{dot}{name}"),
            Value::Address(address) => write!(text, "{dot}{address}"),
            Value::Port(port) => write!(text, "{dot}{port}"),
            Value::Protocol(number) => write!(text, "{dot}{number}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::netlink::attributes;
    use super::*;

    /// The messages of a batch: kind, flags, number, attributes.
    fn messages(mut bytes: &[u8]) -> Vec<(u16, u16, u32, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some(header) = bytes.first_chunk::<HEADER>() {
            let word = |at: usize| u32::from_ne_bytes(*header[at..].first_chunk().unwrap());
            let half = |at: usize| u16::from_ne_bytes(*header[at..].first_chunk().unwrap());
            let length = word(0) as usize;
            all.push((half(4), half(6), word(8), bytes[HEADER + 4..length].to_vec()));
            bytes = &bytes[length.next_multiple_of(4)..];
        }
        all
    }

    fn value<'a>(list: &'a [u8], path: &[u16]) -> &'a [u8] {
        path.iter().fold(list, |list, kind| {
            attributes(list).iter().find(|(known, _)| known == kind).expect("the attribute is there").1
        })
    }

    #[test]
    fn a_batch_is_framed_numbered_and_acknowledged_once() {
        let mut batch = Batch::new("t");
        assert!(batch.is_empty());
        batch.add_table();
        batch.add_chain("c");
        let (bytes, objects) = batch.finish();
        assert_eq!(objects, ["the table", "chain c"]);
        let all = messages(&bytes);
        let heads: Vec<_> = all.iter().map(|(kind, flags, number, _)| (*kind, *flags, *number)).collect();
        let new = |kind| SUBSYSTEM << 8 | kind;
        assert_eq!(
            heads,
            [
                (BATCH_BEGIN, NLM_F_REQUEST, 0),
                (new(MSG_NEWTABLE), NLM_F_REQUEST | NLM_F_CREATE, 1),
                (new(MSG_NEWCHAIN), NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK, 2),
                (BATCH_END, NLM_F_REQUEST, 3),
            ]
        );
        assert_eq!(value(&all[2].3, &[CHAIN_TABLE]), b"t\0");
        assert_eq!(value(&all[2].3, &[CHAIN_NAME]), b"c\0");
    }

    #[test]
    fn an_element_has_its_key_and_its_value() {
        const PORTS: Set = Set::map("ports", &[super::super::Key::Port], &[super::super::Key::V4]);
        let mut batch = Batch::new("t");
        batch.add(PORTS, &[Value::Port(80)], &[Value::Address([10, 0, 0, 1].into())]);
        let (bytes, objects) = batch.finish();
        assert_eq!(objects, ["element 80 of set ports"]);
        let body = &messages(&bytes)[1].3;
        let list = [ELEMENTS_LIST, LIST_ELEMENT];
        let at = |path: &[u16]| value(body, &[&list, path].concat()).to_vec();
        assert_eq!(at(&[ELEMENT_KEY, DATA_VALUE]), [0, 80]);
        assert_eq!(at(&[ELEMENT_DATA, DATA_VALUE]), [10, 0, 0, 1]);
    }
}

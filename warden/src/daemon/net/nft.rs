//! nf_tables by netlink: tables, chains, rules, sets and their elements, changed in transactions.
//!
//! A [`Batch`] is a list of changes to one table; the kernel makes all of them or none. A [`Rule`] is a list of the
//! kernel's expressions, which load, compare and look up by way of a few registers. What the numbers mean is in `kernel`.

mod batch;
mod kernel;
mod rule;
mod set;
mod socket;

pub(super) use batch::{Batch, Hook, Kind};
pub(super) use kernel::{ESTABLISHED_RELATED, NEW};
pub(super) use rule::{Field, Rule, Test};
pub(super) use set::{Key, Set, Value, merge};
pub(super) use socket::Refusal;
pub(super) use socket::Socket;

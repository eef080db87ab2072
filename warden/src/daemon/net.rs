//! A container's network: its namespace and link, and the host's firewall.

pub(crate) mod firewall;
pub(crate) mod link;
mod links;
mod netlink;
mod out;
mod subnet;

pub(crate) use link::LinkMaker;
pub(crate) use links::{Links, Ready, Wanted};
pub(crate) use out::Out;
pub(crate) use subnet::{Ipv4Net, PoolNet, Subnet};

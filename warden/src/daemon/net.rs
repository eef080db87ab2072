//! A container's network: its namespace and link, and the host's firewall.

pub(crate) mod firewall;
pub(crate) mod link;
mod links;
mod netlink;
mod nft;
mod out;
mod policy;
mod resolvers;
mod subnet;

pub(crate) use link::LinkMaker;
pub(crate) use links::{Links, Ready, Wanted};
pub(crate) use out::Out;
pub(crate) use resolvers::Resolvers;
pub(crate) use subnet::{Addresses, PoolNet, Subnet};

//! Typed publish, subscribe and request over NATS.
//!
//! The wire stops here: what is not the JSON of its type is logged and dropped, and no caller sees bytes,
//! subjects as text or the NATS client. A [`Bus`] is a cheap handle; it reconnects for ever, and
//! [`Bus::connected`] says how it stands, since acting on stale data is worse than not acting.
//! Where several components of a kind run and one must act, they share a [`Lease`].

mod bus;
mod error;
pub mod lease;
mod subscription;

pub use bus::{Bus, Config};
pub use error::Error;
pub use lease::{Keeper, Lease, LeaseConfig};
pub use subscription::{Incoming, Replies, Subscription};

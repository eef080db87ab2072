//! Building containers. The daemon keeps one spawner process (`warden-init spawner`): small, static, single-threaded,
//! run from a sealed copy in memory, with a mount namespace of its own, so that nothing it mounts is seen on the host.
//! It reads [`crate::wire::ContainerPlan`]s from its standard input, a `SOCK_SEQPACKET` socket, and leaves when that closes.

pub mod client;

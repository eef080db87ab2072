//! The warden through its socket, on a real kernel: what a client is promised. Every test has a daemon of its own. Needs
//! root, nftables, e2fsprogs and the programs of `make build`; the containers' root is the host's `/usr`, read-only.

#[path = "outside/copies.rs"]
mod copies;
#[path = "outside/interactive.rs"]
mod interactive;
#[path = "outside/isolation.rs"]
mod isolation;
#[path = "outside/jobs.rs"]
mod jobs;
#[path = "outside/lifecycle.rs"]
mod lifecycle;
#[path = "outside/limits.rs"]
mod limits;
#[path = "outside/limits_disk.rs"]
mod limits_disk;
#[path = "outside/limits_memory.rs"]
mod limits_memory;
#[path = "outside/network.rs"]
mod network;
#[path = "outside/peers.rs"]
mod peers;
#[path = "outside/recovery.rs"]
mod recovery;
#[path = "outside/scene.rs"]
mod scene;

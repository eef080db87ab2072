//! The spawner and the init on a real kernel, without the daemon: a container built, jobs run, output kept, and what
//! processes inside can and cannot do (`tests/inside/probes.py`). Needs root, python3 and the static `warden-init`.

#[path = "inside/container.rs"]
mod container;
#[path = "inside/escapes.rs"]
mod escapes;
#[path = "inside/isolation.rs"]
mod isolation;
#[path = "inside/jobs.rs"]
mod jobs;
#[path = "inside/layers.rs"]
mod layers;
#[path = "inside/transfer.rs"]
mod transfer;

//! The one program that runs as root beside the daemon: `warden-init spawner` builds containers, `warden-init init` is PID 1 in each.
fn main() {}

//! A test that needs root says so.

/// Panics, saying what to do, unless the process is root. A privileged test never skips itself: a skipped test
/// looks like a passed one.
pub fn require_root() {
    if !nix::unistd::Uid::effective().is_root() {
        panic!(
            "this needs root (it makes namespaces, mounts and cgroups): run it as root, or `make test-vm` as root"
        );
    }
}

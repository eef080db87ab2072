//! The inventory sees what a leaking warden would leave behind, each kind made here for real.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use testkit::{Inventory, NatsServer, Scope, TempDir, require_root};

/// Runs a command line that has to succeed, and returns what it wrote.
fn sh(line: &str) -> String {
    let output = Command::new("bash").args(["-ec", line]).output().expect("start bash");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8").trim().to_owned()
}

/// Does something and undoes it; the inventory must see exactly the first, and nothing after the second.
fn seen(scope: Scope, make: impl FnOnce(), unmake: impl FnOnce()) -> String {
    require_root();
    let before = Inventory::take(scope.clone());
    make();
    let difference = before.difference(&Inventory::take(scope)).join("\n");
    unmake();
    before.assert_no_difference();
    difference
}

/// A name that no other run of this test uses.
fn unique(prefix: &str) -> String {
    format!("{prefix}{}", std::process::id())
}

#[test]
fn links_are_seen() {
    let (a, b) = (unique("tka"), unique("tkb"));
    let difference = seen(
        Scope::default(),
        || drop(sh(&format!("ip link add {a} type veth peer name {b}"))),
        || drop(sh(&format!("ip link delete {a}"))),
    );
    assert!(difference.contains(&format!("+ link {a}\n+ link {b}")), "{difference}");
}

#[test]
fn named_network_namespaces_are_seen() {
    let name = unique("testkit");
    // ip makes the directory a mount point the first time, and leaves it one.
    let undo =
        if sh("mountpoint -q /run/netns && echo yes || true") == "yes" { "" } else { "; umount /run/netns" };
    let difference = seen(
        Scope::default(),
        || drop(sh(&format!("ip netns add {name}"))),
        || drop(sh(&format!("ip netns delete {name}{undo}"))),
    );
    assert!(difference.contains(&format!("+ named network namespace /run/netns/{name}")), "{difference}");
}

#[test]
fn tables_and_rules_are_seen() {
    let name = unique("testkit");
    let rules = format!("table inet {name} {{ chain c {{ ip saddr 192.0.2.1 drop; }}; }}");
    let difference = seen(
        Scope::default(),
        || drop(sh(&format!("nft '{rules}'"))),
        || drop(sh(&format!("nft delete table inet {name}"))),
    );
    assert!(
        difference.contains(&format!("+ nftables table inet {name} / chain c / ip saddr 192.0.2.1 drop")),
        "{difference}"
    );
}

/// A directory in which cgroups can be made: of the pure v2 hierarchy, or of v1's pids hierarchy.
fn cgroup_root() -> PathBuf {
    let v1 = Path::new("/sys/fs/cgroup/pids");
    if v1.exists() { v1.to_owned() } else { PathBuf::from("/sys/fs/cgroup") }
}

#[test]
fn cgroups_with_the_prefix_are_seen_and_others_are_not() {
    let ours = cgroup_root().join(unique("testkit-"));
    let foreign = cgroup_root().join(unique("other-"));
    let scope = Scope { cgroup_prefixes: vec!["testkit-".to_owned()], ..Scope::default() };
    let difference = seen(
        scope,
        || {
            fs::create_dir_all(ours.join("inner")).unwrap();
            fs::create_dir(&foreign).unwrap();
        },
        || {
            for path in [&ours.join("inner"), &ours, &foreign] {
                fs::remove_dir(path).unwrap();
            }
        },
    );
    assert!(
        difference.contains(&format!("+ cgroup {0}\n+ cgroup {0}/inner", ours.display())),
        "{difference}"
    );
    assert!(!difference.contains("other-"), "{difference}");
}

#[test]
fn loop_devices_and_mounts_are_seen() {
    let directory = TempDir::new().unwrap();
    let (image, point) = (directory.path().join("image"), directory.path().join("mnt"));
    fs::create_dir(&point).unwrap();
    let (image, point) = (image.display(), point.display());
    let difference = seen(
        Scope::default(),
        || drop(sh(&format!("truncate -s 8M {image}; mke2fs -q {image}; mount -o loop {image} {point}"))),
        || drop(sh(&format!("umount {point}"))),
    );
    assert!(difference.contains("+ loop device of"), "{difference}");
    assert!(difference.contains(&format!("+ mount {point}: ext")), "{difference}");
}

#[test]
fn processes_and_their_namespaces_are_seen() {
    let mut held = None;
    let scope = Scope { programs: vec!["sleep".to_owned()], ..Scope::default() };
    let words = format!("1000.{}", std::process::id());
    let held_by = std::cell::RefCell::new(&mut held);
    let difference = seen(
        scope,
        || {
            let child = Command::new("unshare").args(["-u", "sleep", &words]).spawn().unwrap();
            // Not before unshare has become the other program is it what is looked for.
            let program = format!("/proc/{}/exe", child.id());
            testkit::eventually_blocking(std::time::Duration::from_secs(10), || {
                let found = fs::read_link(&program).unwrap();
                if found.ends_with("sleep") { Ok(()) } else { Err(format!("{}", found.display())) }
            });
            **held_by.borrow_mut() = Some(child);
        },
        || {
            let mut child = held_by.borrow_mut().take().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
        },
    );
    assert!(difference.contains(&format!("sleep {words}")), "{difference}");
    assert!(difference.contains("+ namespace uts"), "{difference}");
}

#[test]
fn files_are_seen() {
    let directory = TempDir::new().unwrap();
    let scope = Scope { directories: vec![directory.path().to_owned()], ..Scope::default() };
    let file = directory.path().join("deep/er/file");
    let difference = seen(
        scope,
        || {
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "").unwrap();
        },
        || fs::remove_dir_all(directory.path().join("deep")).unwrap(),
    );
    assert!(difference.contains(&format!("+ file {}", file.display())), "{difference}");
}

#[test]
fn a_bus_can_be_had() {
    require_root();
    assert!(NatsServer::start().url().starts_with("nats://127.0.0.1:"));
}

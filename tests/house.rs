//! The house rules that a machine can check: who may use whom, where `unsafe` lives, who spells subjects.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Who may use whom, of our own crates: the table of docs/ARCHITECTURE.md. Components never use each other;
/// they meet on the bus, over HTTP, or on the warden socket.
const MAY_USE: &[(&str, &[&str])] = &[
    ("cupola-protocol", &[]),
    ("cupola-bus", &["cupola-protocol"]),
    ("cupola-status", &["cupola-protocol", "cupola-bus"]),
    ("warden", &["cupola-protocol"]),
    ("warden-client", &["cupola-protocol"]),
    ("rootfs", &[]),
    ("stager", &["cupola-protocol", "cupola-bus", "cupola-status", "warden-client", "rootfs"]),
    ("dea", &["cupola-protocol", "cupola-bus", "cupola-status", "warden-client", "rootfs"]),
    ("controller", &["cupola-protocol", "cupola-bus", "cupola-status"]),
    ("router", &["cupola-protocol", "cupola-bus", "cupola-status"]),
    ("health-manager", &["cupola-protocol", "cupola-bus", "cupola-status"]),
    ("services", &["cupola-protocol", "cupola-bus", "cupola-status", "warden-client", "rootfs"]),
    ("cli", &["cupola-protocol"]),
    ("inventory", &[]),
    ("testkit", &["cupola-protocol", "cupola-bus", "inventory", "warden-client"]),
    (
        "cupola",
        &[
            "cli",
            "controller",
            "cupola-bus",
            "cupola-protocol",
            "dea",
            "health-manager",
            "rootfs",
            "router",
            "services",
            "stager",
        ],
    ),
];

/// What the privileged daemon may link beyond its own code: short enough to be read.
const WARDEN_LINKS: usize = 24;
/// What runs inside a container.
const INIT_LINKS: &[&str] = &["libc", "nix", "tar"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("a list").clone()
}

/// Normal dependencies of a package: those of tests do not ship.
fn dependencies(package: &Value) -> Vec<&Value> {
    package["dependencies"].as_array().expect("a list").iter().filter(|d| d["kind"].is_null()).collect()
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let packages = packages();
    assert_eq!(
        packages.len(),
        allowed.len(),
        "a crate is missing in the table, or the table names one that is gone"
    );
    for package in &packages {
        let name = package["name"].as_str().expect("a name");
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        for dependency in dependencies(package) {
            let used = dependency["name"].as_str().expect("a name");
            if allowed.contains_key(used) {
                assert!(may.contains(&used), "{name} may not use {used}");
            }
        }
    }
}

#[test]
fn the_privileged_programs_link_little() {
    let packages = packages();
    let warden = packages.iter().find(|p| p["name"] == "warden").expect("there is a warden");
    let links = dependencies(warden);
    assert!(links.len() <= WARDEN_LINKS, "warden uses {} crates, and may use {WARDEN_LINKS}", links.len());
    let always: Vec<_> =
        links.iter().filter(|d| d["optional"] == false).map(|d| d["name"].as_str().unwrap()).collect();
    assert_eq!(always, INIT_LINKS, "what is not behind the feature `daemon` runs inside containers");
    for forbidden in ["async-nats", "hyper", "reqwest", "rustls", "axum", "openssl"] {
        assert!(
            links.iter().all(|d| d["name"] != forbidden),
            "warden may not speak to the network: {forbidden}"
        );
    }
}

/// Every Rust file of the workspace, by its path from the root.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((relative(&path), text));
            }
        }
    }
    assert!(found.len() > 50, "the search for sources is broken: only {} found", found.len());
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("inside of the workspace").to_string_lossy().into_owned()
}

/// Lines of a file that are code: comments may name what code may not.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn unsafe_lives_in_one_folder() {
    let keyword = concat!("un", "safe");
    for (path, text) in sources() {
        // The folder, and the file that opens it.
        if path.starts_with("warden/src/sys/") || path == "warden/src/sys.rs" {
            continue;
        }
        for line in code(&text) {
            let found =
                [" {", " fn", " impl", "{"].iter().any(|next| line.contains(&format!("{keyword}{next}")));
            assert!(!found, "{path} has {keyword} code: {line}");
            assert!(!line.contains(concat!("allow(un", "safe_code)")), "{path} allows {keyword} code");
        }
    }
}

#[test]
fn subjects_are_spelled_in_protocol_alone() {
    let prefixes = [
        "dea.",
        "staging.",
        "router.",
        "droplet.",
        "healthmanager.",
        "hm9000.",
        "vcap.component.",
        "cloudcontroller.",
        "AuaaS.",
        "RaaS.",
    ];
    let words = [
        "start",
        "stop",
        "advertise",
        "locate",
        "heartbeat",
        "update",
        "find.droplet",
        "status",
        "shutdown",
        "register",
        "unregister",
        "greet",
        "known",
        "exited",
        "updated",
        "discover",
        "announce",
        "bulk.",
    ];
    for (path, text) in sources() {
        if path.starts_with("protocol/") || path == "tests/house.rs" {
            continue;
        }
        // An error about the key `x` of the section [dea] reads "dea.x" too.
        for line in code(&text).filter(|line| !line.contains("#[error(")) {
            for prefix in prefixes {
                for word in words {
                    let literal = format!("\"{prefix}{word}");
                    assert!(
                        !line.contains(&literal),
                        "{path} spells a subject, which only protocol may: {line}"
                    );
                }
                assert!(
                    !line.contains(&format!("\"{prefix}{{")),
                    "{path} makes a subject, which only protocol may: {line}"
                );
            }
            assert!(
                !line.contains("\"logs.*\"") && !line.contains("\"logs.{"),
                "{path} spells a subject: {line}"
            );
        }
    }
}

#[test]
fn files_stay_short_enough_to_be_read() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 600, "{path} has {lines} lines: look for the second noun in it");
    }
}

#[test]
fn nothing_is_left_undone_in_silence() {
    // Written in pieces, so that this file does not find itself.
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("FIX", "ME"),
    ];
    for (path, text) in sources() {
        for mark in marks {
            assert!(!text.contains(mark), "{path} contains {mark}");
        }
    }
}

#[test]
fn shipped_configurations_are_understood() {
    let mut read = 0;
    let folders = ["docs/examples", "docs/examples/cluster"].map(|folder| root().join(folder));
    for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).expect("the folder exists")) {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|e| e == "toml") {
            let output = Command::new(env!("CARGO_BIN_EXE_cupola"))
                .args(["config", "--config"])
                .arg(&path)
                .output()
                .expect("cupola runs");
            assert!(
                output.status.success(),
                "{}: {}",
                path.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            read += 1;
        }
    }
    assert!(read > 4, "examples are missing: only {read} found");
}

#[test]
fn the_operators_guide_shows_every_file_that_the_cluster_is_made_of() {
    let guide = fs::read_to_string(root().join("docs/operations.md")).expect("docs/operations.md exists");
    for entry in fs::read_dir(root().join("docs/examples/cluster")).expect("the folder exists") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        assert!(
            guide.contains(&format!("(examples/cluster/{name})")),
            "docs/operations.md does not name {name}"
        );
    }
}

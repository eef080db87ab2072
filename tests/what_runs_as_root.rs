//! What runs as root is short enough to be read: docs/security.md prints it, and this test keeps that true.
//!
//! `UPDATE_GOLDEN=1` writes the figures anew.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The document, from the root of the workspace.
const DOCUMENT: &str = "docs/security.md";

/// Parts of the privileged programs, and where their sources are below `warden/src`.
const PARTS: [(&str, &[&str], &str); 7] = [
    ("daemon", &["daemon.rs", "daemon/"], "the socket, and everything of a container that is outside it"),
    ("spawner", &["spawner.rs", "spawner/"], "building a container"),
    ("init", &["init.rs", "init/"], "PID 1 of a container"),
    ("shared", &["wire.rs", "wire/", "channel.rs", "lib.rs"], "what these three say to each other"),
    ("seccomp", &["seccomp.rs", "seccomp/"], "the filter of system calls"),
    ("sys", &["sys.rs", "sys/"], "every `unsafe` block"),
    ("programs", &["bin/"], "`main` of both"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names of every crate that a program links, its own among them.
fn crates(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--package",
            "warden",
            "--edges",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}|{lib}"])
        .args(features)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo tree prints text");
    // Procedural macros run at build time and are not linked; cargo marks them.
    let linked = text.lines().filter(|line| !line.contains("(proc-macro)"));
    linked.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder of the workspace") {
            files(&entry.expect("an entry").path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
        found.push(path.to_owned());
    }
}

/// Lines of code: without blank lines, comments, and unit tests, which are the last thing in a file.
fn lines(text: &str) -> usize {
    let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    shipped.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

fn count(places: &[&str]) -> usize {
    let mut found = Vec::new();
    for place in places {
        files(&root().join("warden/src").join(place), &mut found);
    }
    assert!(!found.is_empty(), "{places:?} is nowhere");
    found.iter().map(|file| lines(&fs::read_to_string(file).expect("a source file"))).sum()
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What stands between the two marks of a name.
fn section<'a>(document: &'a str, name: &str) -> &'a str {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("\n<!-- end {name} -->"));
    let after = document.split_once(&begin).unwrap_or_else(|| panic!("{DOCUMENT} has no mark {begin:?}")).1;
    after.split_once(&end).unwrap_or_else(|| panic!("{DOCUMENT} has no mark {end:?}")).0
}

fn check(name: &str, actual: &str, same: impl Fn(&str) -> bool) {
    let path = root().join(DOCUMENT);
    let document = fs::read_to_string(&path).expect("docs/security.md is there");
    let written = section(&document, name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mark = format!("<!-- {name} -->\n");
        fs::write(&path, document.replace(&format!("{mark}{written}"), &format!("{mark}{actual}")))
            .expect("it can be written");
    } else {
        assert!(
            same(written),
            "{DOCUMENT} is out of date; with UPDATE_GOLDEN=1 it becomes:\n{actual}\n\nit says:\n{written}"
        );
    }
}

#[test]
fn the_document_has_the_crates_and_the_lines_of_what_runs_as_root() {
    let daemon = list(&crates(&[]));
    check("crates of warden", &daemon, |written| written == daemon);
    let init = list(&crates(&["--no-default-features"]));
    check("crates of warden-init", &init, |written| written == init);

    let counts: Vec<(&str, usize, &str)> =
        PARTS.iter().map(|(name, places, what)| (*name, count(places), *what)).collect();
    let all: usize = counts.iter().map(|(_, lines, _)| lines).sum();
    let mut table = "| part | lines | what |\n|---|---|---|\n".to_owned();
    for (name, lines, what) in &counts {
        table.push_str(&format!("| {name} | {lines} | {what} |\n"));
    }
    table.push_str(&format!("| **all** | **{all}** | |"));
    // To the line would be a nuisance at every change; what counts is that a reader is not misled.
    check("lines", &table, |written| {
        counts.iter().all(|(name, lines, _)| {
            let row = written.lines().find(|row| row.starts_with(&format!("| {name} |")));
            let said = row.and_then(|row| row.split('|').nth(2)?.trim().parse::<usize>().ok());
            said.is_some_and(|said| said.abs_diff(*lines) * 20 <= *lines)
        })
    });
}

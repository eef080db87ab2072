//! Command lines, and `docs/warden.md` against the commands and the configuration that there are.
//!
//! `UPDATE_GOLDEN=1 cargo nextest run -p warden --lib` rewrites its tables.

use super::{Command, socket};
use crate::daemon::Config;
use clap::{Parser, Subcommand};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn parse(line: &str) -> Result<Command, String> {
    let words = std::iter::once("warden").chain(line.split_whitespace());
    Line::try_parse_from(words).map(|line| line.command).map_err(|error| error.to_string())
}

#[test]
fn no_name_is_given_twice() {
    // Clap asserts that no name and no flag is there twice.
    Command::augment_subcommands(clap::Command::new("warden")).debug_assert();
}

#[test]
fn what_is_written_is_understood() {
    for line in [
        "create",
        "create web --rootfs /r --layer /a --layer /b --bind /x:/y:rw --property app=web --grace 60 --no-network",
        "create --memory 64M --cpus 0.5 --pids 100 --disk 1G --io 8:0,rbps=1M --bandwidth 1M:64K",
        "run web -- ls -l /",
        "run --rootfs / --read-only -- true",
        "run -ti web --root -e A=b -w /tmp -- sh",
        "run -d web -- sleep 100",
        "shell web",
        "shell web --user 5:5 -- /bin/zsh",
        "list --property app=web --json",
        "ls -q",
        "info web --json",
        "inspect web",
        "stats --once --json",
        "stats web api --interval 0.2",
        "stop web --kill",
        "stop a b --background",
        "destroy a b",
        "limit web",
        "limit web --memory 1G --json",
        "net-in web --host-port 8080 --container-port 80",
        "net-out web 10.0.0.0/8 --ports 1:1024 --protocol udp",
        "net-out web --port 53 --log",
        "copy-in web ./src/ /app",
        "copy-out web /app/ ./out --owner me:me",
        "signal web 3 TERM",
        "properties web --set a=b --remove c",
        "ping --wait 5",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    for (line, said) in [
        ("create --memory 64", "512M"),
        ("create --network 10.0.0.0/30 --no-network", "--no-network"),
        ("create --grace soon", "never"),
        ("run web ls", "ls"),
        ("run web", "COMMAND"),
        ("run -d -- ls", "HANDLE"),
        ("run web --root --user 1:1 -- ls", "--user"),
        ("list -q --json", "--json"),
        ("stop", "HANDLES"),
        ("stop a --kill --background", "--background"),
        ("net-out web", "NETWORK"),
        ("net-in web --host-port 0", "65535"),
        ("signal web 3 NOTHING", "NOTHING"),
        ("properties web --set a", "NAME=VALUE"),
        ("stats --interval 0", "--interval"),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.contains(said), "{line}: {error}");
    }
}

#[test]
fn the_socket_that_is_named_wins() {
    assert_eq!(socket(Some(Path::new("/a.sock"))), Path::new("/a.sock"));
}

/// Commands with what they do.
fn commands() -> String {
    let commands = Command::augment_subcommands(clap::Command::new("warden"));
    let mut text = "| command | what it does |\n|---|---|\n".to_owned();
    for command in commands.get_subcommands().filter(|command| command.get_name() != "help") {
        let about = command.get_about().expect("every command says what it does");
        writeln!(text, "| `{}` | {about} |", command.get_name()).unwrap();
    }
    text
}

/// A key of the configuration as its source has it: name, type, what is said of it.
type Key = (String, String, String);

/// The structures of the configuration's source, by name.
fn structures() -> BTreeMap<String, Vec<Key>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/daemon");
    let parts = fs::read_dir(directory.join("config")).into_iter().flatten().flatten();
    let files = parts.map(|entry| entry.path()).chain([directory.join("config.rs")]);
    let mut structures = BTreeMap::new();
    for file in files {
        let (mut name, mut said) = (None, Vec::new());
        for line in fs::read_to_string(file).unwrap().lines() {
            let line = line.trim();
            if let Some(text) = line.strip_prefix("/// ") {
                said.push(text.to_owned());
            } else if let Some(rest) = line.strip_prefix("pub struct ") {
                name = rest.split_whitespace().next().map(str::to_owned);
                said.clear();
            } else if line == "}" {
                name = None;
            } else if let (Some(name), Some((key, kind))) =
                (&name, line.strip_prefix("pub ").and_then(|rest| rest.split_once(": ")))
            {
                let kind = kind.trim_end_matches(',').to_owned();
                let keys: &mut Vec<Key> = structures.entry(name.clone()).or_default();
                keys.push((key.to_owned(), kind, said.join(" ")));
                said.clear();
            }
        }
    }
    structures
}

/// Every key with its default and what its source says of it.
fn keys() -> String {
    let mut text = "| key | default | what it is |\n|---|---|---|\n".to_owned();
    let defaults = serde_json::to_value(Config::default()).unwrap();
    add_keys(&mut text, &structures(), "Config", "", &defaults);
    text
}

fn add_keys(
    text: &mut String,
    structures: &BTreeMap<String, Vec<Key>>,
    structure: &str,
    prefix: &str,
    defaults: &Value,
) {
    let keys = &structures[structure];
    let named = defaults.as_object().expect("a structure is an object");
    let (mut known, mut there): (Vec<_>, Vec<_>) =
        (keys.iter().map(|key| &key.0).collect(), named.keys().collect());
    known.sort();
    there.sort();
    assert_eq!(known, there, "the source of {structure} is read as it is");
    for (key, kind, said) in keys {
        let (name, default) = (format!("{prefix}{key}"), &named[key]);
        if structures.contains_key(kind) && kind != "Range" {
            add_keys(text, structures, kind, &format!("{name}."), default);
            continue;
        }
        let default = match default {
            Value::Null => "–".to_owned(),
            other => format!("`{other}`"),
        };
        writeln!(text, "| `{name}` | {default} | {said} |").unwrap();
    }
}

/// Puts a table between its marks.
fn put(text: &str, mark: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->\n"));
    let (before, rest) = text.split_once(&begin).expect("the document has the mark");
    let (_, after) = rest.split_once(&end).expect("the document has the end of the mark");
    format!("{before}{begin}{table}{end}{after}")
}

#[test]
fn the_document_names_every_command_and_every_key() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/warden.md");
    let text = fs::read_to_string(&path).unwrap();
    let expected = put(&put(&text, "commands", &commands()), "keys", &keys());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text == expected, "docs/warden.md is another one: run this test with UPDATE_GOLDEN=1");
}

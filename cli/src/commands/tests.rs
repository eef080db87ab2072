//! `docs/cli.md` against the commands that there are.
//!
//! `UPDATE_GOLDEN=1 cargo nextest run -p cli` rewrites its tables.

use super::Command;
use clap::Subcommand;
use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

/// The commands of vmc 0.3 and 0.5, which people have in their fingers.
const VMC: [&str; 64] = [
    "add-user",
    "alias",
    "aliases",
    "apps",
    "bind-service",
    "clone-services",
    "crashes",
    "crashlogs",
    "create-org",
    "create-service",
    "create-space",
    "create-user",
    "delete",
    "delete-org",
    "delete-service",
    "delete-space",
    "delete-user",
    "domains",
    "env",
    "env-add",
    "env-del",
    "file",
    "files",
    "frameworks",
    "health",
    "help",
    "info",
    "instances",
    "login",
    "logout",
    "logs",
    "manifest",
    "map",
    "map-domain",
    "mem",
    "micro",
    "org",
    "orgs",
    "passwd",
    "push",
    "register",
    "rename",
    "rename-service",
    "restart",
    "routes",
    "runtimes",
    "scale",
    "service",
    "services",
    "set-env",
    "space",
    "spaces",
    "start",
    "stats",
    "stop",
    "tail",
    "target",
    "targets",
    "unbind-service",
    "unmap",
    "unset-env",
    "update",
    "user",
    "users",
];

fn commands() -> clap::Command {
    Command::augment_subcommands(clap::Command::new("cupola"))
}

fn names(commands: &clap::Command) -> String {
    let mut rows = BTreeMap::new();
    for command in commands.get_subcommands().filter(|command| command.get_name() != "help") {
        let aliases: Vec<String> = command.get_all_aliases().map(|alias| format!("`{alias}`")).collect();
        let about = command.get_about().expect("every command says what it does").to_string();
        rows.insert(
            command.get_name(),
            format!("| `{}` | {} | {about} |", command.get_name(), aliases.join(" ")),
        );
    }
    let mut text = "| command | also | what it does |\n|---|---|---|\n".to_owned();
    rows.values().for_each(|row| writeln!(text, "{row}").unwrap());
    text
}

/// What an old name is today; a dash when there is no such thing.
fn old_names(commands: &clap::Command) -> String {
    let mut text = "| vmc | cupola |\n|---|---|\n".to_owned();
    for old in VMC {
        let new = match commands.find_subcommand(old) {
            Some(command) => format!("`{}`", command.get_name()),
            None if old == "help" => "`help`".to_owned(),
            None => "–".to_owned(),
        };
        writeln!(text, "| `{old}` | {new} |").unwrap();
    }
    text
}

/// Puts a table between its marks.
fn put(text: &str, mark: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->\n"));
    let (before, rest) = text.split_once(&begin).expect("the document has the mark");
    let (_, after) = rest.split_once(&end).expect("the document has the end of the mark");
    format!("{before}{begin}{table}{end}{after}")
}

#[test]
fn the_document_names_every_command() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let text = fs::read_to_string(&path).unwrap();
    let commands = commands();
    let expected = put(&text, "commands", &names(&commands));
    let expected = put(&expected, "old names", &old_names(&commands));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, expected, "docs/cli.md is another one: run this test with UPDATE_GOLDEN=1");
}

#[test]
fn no_name_is_given_twice() {
    // Clap asserts that no name and no flag is there twice.
    commands().debug_assert();
}

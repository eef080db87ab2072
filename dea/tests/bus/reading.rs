//! What the agent's scripts say about files, said of the files that the fake warden has in memory.

use super::Container;
use std::{collections::BTreeSet, fmt::Write};

const NOT_FOUND: u32 = 42;

/// The output and status of a job that reads files; none when it is another job.
pub(super) fn run(container: &Container, env: &[String]) -> Option<(Vec<u8>, u32)> {
    let value = |name: &str| {
        env.iter()
            .find_map(|pair| pair.split_once('=').filter(|(found, _)| *found == name))
            .map(|(_, value)| value)
    };
    let number = |name: &str| value(name).map_or(0, |text| text.parse::<usize>().unwrap());
    if value("COUNT").is_some() {
        let mut out = String::new();
        let logs = container.files.iter().filter(|(path, _)| path.starts_with("logs/"));
        for (path, content) in logs.take(number("COUNT")) {
            write!(out, "1700000000.5 {} {path}\0", content.len()).unwrap();
        }
        return Some((out.into_bytes(), 0));
    }
    let path = value("FILE")?;
    assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "not inside: {path}");
    if let Some(content) = container.files.get(path) {
        let begin = number("OFFSET").min(content.len());
        let end = (begin + number("LENGTH")).min(content.len());
        let head = format!("file {}\n", content.len());
        return Some(([head.as_bytes(), &content[begin..end]].concat(), 0));
    }
    let below = if path.is_empty() { String::new() } else { format!("{path}/") };
    let mut entries = BTreeSet::new();
    for (file, content) in &container.files {
        if let Some(rest) = file.strip_prefix(&below) {
            entries.insert(match rest.split_once('/') {
                Some((directory, _)) => format!("d 4096 {directory}\0"),
                None => format!("f {} {rest}\0", content.len()),
            });
        }
    }
    match entries.is_empty() && !matches!(path, "" | "app" | "logs") {
        true => Some((Vec::new(), NOT_FOUND)),
        false => Some((format!("directory\n{}", entries.into_iter().collect::<String>()).into_bytes(), 0)),
    }
}

//! How things are shown: calm lines, aligned tables, JSON with sorted keys, no colours.

use super::status;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Prints a line. Ends the program quietly when nobody reads any more, as in `warden list | head`.
pub(crate) fn line(text: impl Display) {
    write(&format!("{text}\n"));
}

/// Prints text as it is.
pub(crate) fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() == ErrorKind::BrokenPipe
    {
        std::process::exit(status::NOBODY_READS.into());
    }
}

/// Prints a JSON document.
pub(crate) fn json(value: &serde_json::Value) {
    line(format!("{value:#}"));
}

/// Rows under a head, each column as wide as its widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("   ").trim_end())
    };
    let mut text = line(head.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

/// Bytes with a binary unit; `-` where the kernel does not tell.
pub(crate) fn bytes(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| cupola_protocol::size::Bytes(value).to_string())
}

/// A number; `-` where the kernel does not tell.
pub(crate) fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// What is used of what there is; the latter left out where there is no limit.
pub(crate) fn of(used: String, limit: Option<String>) -> String {
    limit.map_or(used.clone(), |limit| format!("{used}/{limit}"))
}

/// A span of time, in its two largest units.
pub(crate) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = UNITS.iter().position(|(length, _)| seconds >= *length).unwrap_or(UNITS.len() - 1);
    let mut text = String::new();
    let mut left = seconds;
    for (length, unit) in UNITS.iter().skip(first).take(2) {
        text.push_str(&format!("{}{unit}", left / length));
        left %= length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "active".to_owned()], vec!["länger".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["HANDLE", "STATE"], &rows), "HANDLE   STATE\na        active\nlänger   x\n");
        assert_eq!(table(&["HANDLE"], &[]), "HANDLE\n");
    }

    #[test]
    fn spans_have_two_units() {
        let shown = [0, 59, 60, 3_725, 90_000, 864_000].map(span);
        assert_eq!(shown, ["0s", "59s", "1m0s", "1h2m", "1d1h", "10d0h"]);
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(
            (bytes(None), bytes(Some(1 << 20)), number(Some(3))),
            ("-".into(), "1.0M".into(), "3".into())
        );
        assert_eq!(of("1".into(), Some("2".into())), "1/2");
        assert_eq!(of("1".into(), None), "1");
    }
}

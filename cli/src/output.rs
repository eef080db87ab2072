//! How things are shown: calm lines, aligned tables, no colours.

use std::{
    fmt::Display,
    io::{ErrorKind, IsTerminal, Write},
};

/// What a shell reports for a program that SIGPIPE (13) has ended: 128 + 13.
const NOBODY_READS: i32 = 141;

/// Prints a line. Ends the program quietly when nobody reads any more, as in `cupola logs app | head`.
pub(crate) fn line(text: impl Display) {
    write(&format!("{text}\n"));
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() == ErrorKind::BrokenPipe
    {
        std::process::exit(NOBODY_READS);
    }
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(bytes).and_then(|()| out.flush())
        && error.kind() == ErrorKind::BrokenPipe
    {
        std::process::exit(NOBODY_READS);
    }
}

/// Prints a line that says what is being done.
pub(crate) fn doing(text: &str) {
    line(text);
}

/// Says something beside the command's output.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints that it worked.
pub(crate) fn ok() {
    line("OK");
}

/// Prints rows under a head, each column as wide as its widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) {
    write(&render(head, rows));
}

fn render(head: &[&str], rows: &[Vec<String>]) -> String {
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

/// Whether progress bars make sense.
pub(crate) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "running".to_owned()], vec!["longer".to_owned(), "x".to_owned()]];
        assert_eq!(
            super::render(&["name", "state"], &rows),
            "name     state\na        running\nlonger   x\n"
        );
    }
}

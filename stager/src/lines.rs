//! Output into lines: pieces come as the program wrote them, lines go to the log.

use cupola_protocol::logs::MAX_LINE_BYTES;
use std::collections::VecDeque;

/// Lines that a failure carries.
const LAST_LINES: usize = 20;

/// The longest line that a failure carries, in characters.
const LAST_LINE_CHARACTERS: usize = 500;

/// Cuts one stream of bytes into lines. A line that is longer than a message may be comes in pieces, and bytes
/// that are not UTF-8 are replaced.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    rest: Vec<u8>,
}

impl Splitter {
    /// The lines that are complete with this piece.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut part = part;
            while !part.is_empty() {
                let (piece, others) = part.split_at(part.len().min(MAX_LINE_BYTES - self.rest.len()));
                self.rest.extend_from_slice(piece);
                if self.rest.last() == Some(&b'\n') || self.rest.len() == MAX_LINE_BYTES {
                    lines.extend(self.finish());
                }
                part = others;
            }
        }
        lines
    }

    /// What is left when the stream has ended.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.rest);
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        // Progress bars write over their line with carriage returns: the last state is what remains.
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let text = text.rsplit(|byte| *byte == b'\r').next().unwrap_or(text);
        (!bytes.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

/// The last lines of a program, for the message that says how it failed.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    pub(crate) fn push(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.lines.len() == LAST_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.chars().take(LAST_LINE_CHARACTERS).collect());
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_cut_whatever_the_pieces() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"one\ntw"), ["one"]);
        assert_eq!(splitter.push(b"o\r\n\nthree"), ["two", ""]);
        assert_eq!(splitter.finish().as_deref(), Some("three"));
        assert_eq!(splitter.finish(), None);
        assert_eq!(splitter.push(b"10%\r20%\r30%\n"), ["30%"]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut tail = Tail::default();
        for number in 0..100 {
            tail.push(&number.to_string());
            tail.push("  ");
        }
        let lines = tail.into_lines();
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (LAST_LINES, Some("99")));
    }

    proptest! {
        #[test]
        fn no_text_is_lost_and_no_line_is_too_long(
            pieces in prop::collection::vec(prop_oneof!["[a-z\n]{0,9}", Just("x".repeat(70_000))], 0..8),
        ) {
            let mut splitter = Splitter::default();
            let mut lines: Vec<String> = pieces.iter().flat_map(|piece| splitter.push(piece.as_bytes())).collect();
            lines.extend(splitter.finish());
            prop_assert!(lines.iter().all(|line| line.len() <= MAX_LINE_BYTES));
            prop_assert_eq!(lines.concat(), pieces.concat().replace('\n', ""));
        }
    }
}

//! Bytes into lines, and how many of them are passed on. Pure.

use cupola_protocol::logs::{MAX_LINE_BYTES, Stream};
use std::time::{Duration, Instant};

/// Puts the pieces of both outputs together to lines, and knows up to where everything was given out.
#[derive(Debug)]
pub(crate) struct Lines {
    out: Tail,
    err: Tail,
    /// Bytes of both outputs that were taken in.
    read: u64,
}

/// The beginning of a line whose end has not come.
#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    /// Where it began, in bytes of both outputs.
    began: u64,
}

impl Lines {
    /// Begins after this many bytes.
    pub(crate) fn after(offset: u64) -> Self {
        Self { out: Tail::default(), err: Tail::default(), read: offset }
    }

    /// Where to read on after a break.
    pub(crate) fn read(&self) -> u64 {
        self.read
    }

    /// Where to begin in another process: before the beginnings of lines that are held here. When both outputs
    /// are in the middle of a line, what one wrote meanwhile comes twice.
    pub(crate) fn given_out(&self) -> u64 {
        [&self.out, &self.err]
            .into_iter()
            .filter(|tail| !tail.bytes.is_empty())
            .map(|tail| tail.began)
            .fold(self.read, u64::min)
    }

    /// Takes a piece that ends at `offset`; gives the lines that are complete with it.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8], offset: u64) -> Vec<String> {
        let begin = offset.saturating_sub(bytes.len() as u64);
        self.read = offset;
        let tail = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        let mut lines = Vec::new();
        let mut taken = 0;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if tail.bytes.is_empty() {
                tail.began = begin + taken as u64;
            }
            taken += part.len();
            let (text, ended) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            tail.take(text, &mut lines);
            if ended {
                let line = std::mem::take(&mut tail.bytes);
                let line = line.strip_suffix(b"\r").unwrap_or(&line);
                lines.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        lines
    }

    /// The beginnings of lines that are held, as lines: nothing more will come.
    pub(crate) fn finish(&mut self) -> Vec<(Stream, String)> {
        let (out, err) = (std::mem::take(&mut self.out.bytes), std::mem::take(&mut self.err.bytes));
        [(Stream::Out, out), (Stream::Err, err)]
            .into_iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(stream, bytes)| (stream, String::from_utf8_lossy(&bytes).into_owned()))
            .collect()
    }
}

impl Tail {
    /// Appends a part of a line; what would make it too long is given out as a line of its own.
    fn take(&mut self, mut text: &[u8], lines: &mut Vec<String>) {
        while self.bytes.len() + text.len() > MAX_LINE_BYTES {
            let (now, later) = text.split_at(MAX_LINE_BYTES - self.bytes.len());
            self.bytes.extend_from_slice(now);
            text = later;
            let cut = last_boundary(&self.bytes);
            let rest = self.bytes.split_off(cut);
            let line = std::mem::replace(&mut self.bytes, rest);
            self.began += line.len() as u64;
            lines.push(String::from_utf8_lossy(&line).into_owned());
        }
        self.bytes.extend_from_slice(text);
    }
}

/// The last place where the bytes can be cut without cutting a character: UTF-8 has at most 4 bytes.
fn last_boundary(bytes: &[u8]) -> usize {
    let begins = |byte: u8| byte & 0b1100_0000 != 0b1000_0000;
    (1..=4)
        .filter_map(|back| bytes.len().checked_sub(back))
        .find(|at| begins(bytes[*at]))
        // A character that is whole stays.
        .map_or(bytes.len(), |at| if std::str::from_utf8(&bytes[at..]).is_ok() { bytes.len() } else { at })
        .max(1)
}

/// Lets so many lines and bytes pass in each second, and counts the others.
#[derive(Debug)]
pub(crate) struct Limiter {
    lines_per_second: u32,
    bytes_per_second: u64,
    window: Instant,
    lines: u32,
    bytes: u64,
    dropped: u64,
}

impl Limiter {
    pub(crate) fn new(lines_per_second: u32, bytes_per_second: u64, now: Instant) -> Self {
        Self { lines_per_second, bytes_per_second, window: now, lines: 0, bytes: 0, dropped: 0 }
    }

    /// Whether a line may pass. The first of a second always may.
    pub(crate) fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        if now.saturating_duration_since(self.window) >= Duration::from_secs(1) {
            self.window = now;
            self.lines = 0;
            self.bytes = 0;
        }
        let fits = self.lines < self.lines_per_second
            && (self.lines == 0 || self.bytes.saturating_add(bytes as u64) <= self.bytes_per_second);
        if fits {
            self.lines += 1;
            self.bytes = self.bytes.saturating_add(bytes as u64);
        } else {
            self.dropped += 1;
        }
        fits
    }

    /// Lines that were dropped since this was asked last, when their second is over.
    pub(crate) fn take_dropped(&mut self, now: Instant) -> Option<u64> {
        let over = now.saturating_duration_since(self.window) >= Duration::from_secs(1);
        (over && self.dropped > 0).then(|| std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_become_lines() {
        let mut lines = Lines::after(100);
        assert_eq!(lines.push(Stream::Out, b"one\ntw", 106), ["one"]);
        assert_eq!((lines.read(), lines.given_out()), (106, 104));
        assert_eq!(lines.push(Stream::Err, b"other\r\n", 113), ["other"]);
        assert_eq!(lines.given_out(), 104);
        assert_eq!(lines.push(Stream::Out, b"o\n\n", 116), ["two", ""]);
        assert_eq!(lines.given_out(), 116);
        lines.push(Stream::Err, b"end", 119);
        assert_eq!(lines.finish(), [(Stream::Err, "end".to_owned())]);
        assert_eq!(lines.given_out(), 119);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let mut lines = Lines::after(0);
        let text = "ä".repeat(MAX_LINE_BYTES);
        let mut given =
            lines.push(Stream::Out, format!("x{text}\n").as_bytes(), 2 * MAX_LINE_BYTES as u64 + 2);
        assert_eq!(given.len(), 3);
        assert!(given.iter().all(|line| line.len() <= MAX_LINE_BYTES && !line.contains('\u{fffd}')));
        given[0].remove(0);
        assert_eq!(given.concat(), text);
    }

    proptest! {
        /// However the bytes are cut into pieces, and wherever it is resumed, the lines are the same.
        #[test]
        fn pieces_do_not_matter(
            text in "[a-z\n]{0,400}",
            cuts in prop::collection::vec(0..400usize, 0..10),
            resume in 0..10usize,
        ) {
            let expected: Vec<String> = text.split_terminator('\n').map(str::to_owned).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut lines = Lines::after(0);
            let mut given = Vec::new();
            for (nth, piece) in cuts.windows(2).enumerate() {
                if nth == resume {
                    lines = Lines::after(lines.given_out());
                }
                let from = lines.read() as usize;
                if from < piece[1] {
                    given.extend(lines.push(Stream::Out, &text.as_bytes()[from..piece[1]], piece[1] as u64));
                }
            }
            given.extend(lines.finish().into_iter().map(|(_, line)| line));
            prop_assert_eq!(given, expected);
        }

        #[test]
        fn no_second_has_more_than_the_limit(steps in prop::collection::vec((0..400u64, 0..300usize), 1..300)) {
            let mut now = Instant::now();
            let mut limiter = Limiter::new(10, 1000, now);
            let (mut passed, mut dropped, mut told) = (0u64, 0u64, 0u64);
            let begun = now;
            for (wait, bytes) in steps {
                now += Duration::from_millis(wait);
                told += limiter.take_dropped(now).unwrap_or(0);
                if limiter.admit(bytes, now) { passed += 1 } else { dropped += 1 }
            }
            let seconds = now.duration_since(begun).as_secs() + 1;
            prop_assert!(passed <= seconds * 10);
            told += limiter.take_dropped(now + Duration::from_secs(1)).unwrap_or(0);
            prop_assert_eq!(told, dropped);
        }
    }
}

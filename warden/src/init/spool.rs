//! The files with a job's output: `out.<20 digits>`, each named by the offset of its first payload byte, so that a
//! reader can begin at any offset that is still kept. A file is a row of records: `u8` stream (1 or 2), little-endian
//! `u32` length, that many bytes. Where writing fails (the host's disk is full) the offset counts on and the next file
//! begins after the gap.

use crate::wire::{OutputMode, RECORD_HEADER};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::uio::pwritev;
use nix::unistd::{UnlinkatFlags, ftruncate, unlinkat};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::OwnedFd;

/// Payload bytes after which a new file begins.
const SEGMENT: u64 = 256 * 1024;
/// Smallest segment of a small ring.
const SMALLEST: u64 = 4 * 1024;

/// Whether a job may write on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// It has written more than its limit.
    TooMuch,
}

pub(super) struct Spool {
    directory: OwnedFd,
    mode: OutputMode,
    /// Payload bytes of both streams since the job began.
    offset: u64,
    /// First offsets of the files that are kept, oldest first.
    kept: VecDeque<u64>,
    current: Option<Segment>,
}

struct Segment {
    file: OwnedFd,
    /// Offset of its first payload byte.
    first: u64,
    /// Bytes of the file, headers included.
    length: i64,
}

impl Spool {
    pub(super) fn new(directory: OwnedFd, mode: OutputMode) -> Self {
        Spool { directory, mode, offset: 0, kept: VecDeque::new(), current: None }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes what the job wrote to a stream.
    pub(super) fn append(&mut self, stream: u8, data: &[u8]) -> Verdict {
        let (keep, verdict) = match self.mode {
            OutputMode::Discard => (0, Verdict::Fine),
            OutputMode::Ring { .. } => (data.len(), Verdict::Fine),
            OutputMode::Limit { bytes } => {
                let room = bytes.saturating_sub(self.offset).min(data.len() as u64) as usize;
                (room, if room < data.len() { Verdict::TooMuch } else { Verdict::Fine })
            }
        };
        if keep > 0 && self.write(stream, &data[..keep]).is_err() {
            // The next record begins a file of its own, behind the gap.
            self.current = None;
        }
        // Beyond its limit the job's output is dropped, and not counted: the offset stays where the files end.
        self.offset += if verdict == Verdict::TooMuch { keep } else { data.len() } as u64;
        if let OutputMode::Ring { bytes } = self.mode {
            self.drop_oldest(bytes);
        }
        verdict
    }

    fn write(&mut self, stream: u8, data: &[u8]) -> Result<(), Errno> {
        let full = match self.mode {
            OutputMode::Ring { bytes } => (bytes / 4).clamp(SMALLEST, SEGMENT),
            _ => SEGMENT,
        };
        if self.current.as_ref().is_some_and(|segment| self.offset - segment.first >= full) {
            self.current = None;
        }
        let segment = match &mut self.current {
            Some(segment) => segment,
            None => {
                let flags =
                    OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
                let file = openat(
                    &self.directory,
                    name(self.offset).as_str(),
                    flags,
                    Mode::from_bits_truncate(0o600),
                )?;
                self.kept.push_back(self.offset);
                self.current.insert(Segment { file, first: self.offset, length: 0 })
            }
        };
        let mut header = [stream, 0, 0, 0, 0];
        header[1..].copy_from_slice(&(data.len() as u32).to_le_bytes());
        let whole = RECORD_HEADER + data.len();
        match pwritev(&segment.file, &[IoSlice::new(&header), IoSlice::new(data)], segment.length) {
            Ok(count) if count == whole => {
                segment.length += whole as i64;
                Ok(())
            }
            other => {
                // No half record: a reader would wait for its rest.
                let _ = ftruncate(&segment.file, segment.length);
                Err(other.err().unwrap_or(Errno::ENOSPC))
            }
        }
    }

    /// Removes the oldest files, as long as the others still hold the budget.
    fn drop_oldest(&mut self, budget: u64) {
        while self.kept.len() > 1 && self.offset - self.kept[1] >= budget {
            let Some(oldest) = self.kept.pop_front() else { return };
            let _ = unlinkat(&self.directory, name(oldest).as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn name(offset: u64) -> String {
    format!("out.{offset:020}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs::File;
    use std::path::Path;

    fn spool(mode: OutputMode) -> (tempfile::TempDir, Spool) {
        let directory = tempfile::tempdir().unwrap();
        let fd = File::open(directory.path()).unwrap().into();
        (directory, Spool::new(fd, mode))
    }

    /// Reads the files back: first offset kept, then (stream, byte) one by one.
    fn read(directory: &Path) -> (u64, Vec<(u8, u8)>) {
        let mut names: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        let first = names.first().map_or(0, |name| name.to_str().unwrap()[4..].parse().unwrap());
        let mut out = Vec::new();
        for name in names {
            let begins: u64 = name.to_str().unwrap()[4..].parse().unwrap();
            assert_eq!(begins, first + out.len() as u64, "files join without a gap");
            let bytes = std::fs::read(directory.join(&name)).unwrap();
            let mut rest = &bytes[..];
            while let [stream, a, b, c, d, tail @ ..] = rest {
                let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                out.extend(tail[..length].iter().map(|byte| (*stream, *byte)));
                rest = &tail[length..];
            }
        }
        (first, out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_written_is_read(writes in prop::collection::vec((1u8..3, prop::collection::vec(any::<u8>(), 0..3000)), 0..40),
                                   budget in 1u64..60_000, ring in any::<bool>()) {
            let mode = if ring { OutputMode::Ring { bytes: budget } } else { OutputMode::Limit { bytes: budget } };
            let (directory, mut spool) = spool(mode);
            let mut all = Vec::new();
            for (stream, data) in &writes {
                let before = all.len() as u64;
                let verdict = spool.append(*stream, data);
                all.extend(data.iter().map(|byte| (*stream, *byte)));
                let over = !ring && all.len() as u64 > budget;
                prop_assert_eq!(verdict == Verdict::TooMuch, over);
                if over {
                    prop_assert!(before <= budget);
                    all.truncate(budget as usize);
                    break;
                }
            }
            prop_assert_eq!(spool.offset(), all.len() as u64);
            let (first, kept) = read(directory.path());
            prop_assert_eq!(&kept[..], &all[first as usize..]);
            if ring {
                prop_assert!(kept.len() as u64 >= budget.min(all.len() as u64), "the budget is kept");
                let most = budget + (budget / 4).clamp(SMALLEST, SEGMENT) + 2 * 3000;
                prop_assert!(kept.len() as u64 <= most, "{} of {}", kept.len(), budget);
            } else {
                prop_assert_eq!(first, 0);
            }
        }
    }

    #[test]
    fn discarded_output_is_counted() {
        let (directory, mut spool) = spool(OutputMode::Discard);
        assert_eq!(spool.append(1, b"abc"), Verdict::Fine);
        assert_eq!(spool.offset(), 3);
        assert_eq!(read(directory.path()).1, []);
    }
}

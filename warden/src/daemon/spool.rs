//! Reading what a job wrote: segments `out.<20 digits>` in its directory, named by the offset that they begin at, each
//! a sequence of records (stream number, length, payload). Offsets count payload bytes of both streams.

use crate::wire::RECORD_HEADER;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Longest record that is believed.
const LONGEST: u32 = 16 << 20;

/// Which stream, and what was written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// 1 is standard output, 2 standard error.
    pub(crate) stream: u8,
    pub(crate) bytes: Vec<u8>,
    /// Offset of the end of the piece.
    pub(crate) offset: u64,
}

/// A reader's place in a job's output.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    /// Bytes that the reader does not want.
    skip: u64,
    /// The open segment.
    segment: Option<Segment>,
    offset: u64,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    file: File,
    /// Byte position of the next record.
    position: u64,
}

impl Spool {
    /// A reader that leaves out the first `from` bytes.
    pub(crate) fn new(directory: PathBuf, from: u64) -> Self {
        Spool { directory, skip: from, segment: None, offset: 0 }
    }

    /// The next piece that has been written; `None` when there is none yet.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece>> {
        loop {
            if self.segment.is_none() && !self.open()? {
                return Ok(None);
            }
            match self.record()? {
                Some(piece) if piece.offset <= self.skip => (),
                Some(mut piece) => {
                    let begin = piece.offset - piece.bytes.len() as u64;
                    piece.bytes.drain(..self.skip.saturating_sub(begin) as usize);
                    return Ok(Some(piece));
                }
                // The segment is at its end: it is the last one, or there is a later one.
                None => match self.later()? {
                    Some(segment) => self.take(segment)?,
                    None => return Ok(None),
                },
            }
        }
    }

    /// Opens the segment that has the wanted offset, or else the oldest that is kept.
    fn open(&mut self) -> io::Result<bool> {
        let starts = self.starts()?;
        let at = starts.iter().rev().find(|start| **start <= self.skip).or(starts.first());
        match at {
            Some(start) => self.take(*start).map(|()| true),
            None => Ok(false),
        }
    }

    fn take(&mut self, start: u64) -> io::Result<()> {
        match File::open(self.directory.join(format!("out.{start:020}"))) {
            Ok(file) => {
                self.segment = Some(Segment { start, file, position: 0 });
                self.offset = start;
                Ok(())
            }
            // Removed as the oldest while we looked: look again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.segment = None;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn later(&self) -> io::Result<Option<u64>> {
        let current = self.segment.as_ref().map_or(0, |segment| segment.start);
        Ok(self.starts()?.into_iter().find(|start| *start > current))
    }

    /// First offsets of the segments that are kept, in order.
    fn starts(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut starts: Vec<u64> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("out.")?.parse().ok())
            .collect();
        starts.sort_unstable();
        Ok(starts)
    }

    /// The next whole record of the open segment.
    fn record(&mut self) -> io::Result<Option<Piece>> {
        let Some(segment) = &mut self.segment else { return Ok(None) };
        segment.file.seek(SeekFrom::Start(segment.position))?;
        let mut header = [0; RECORD_HEADER];
        if !read_whole(&mut segment.file, &mut header)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
        if !(1..=2).contains(&header[0]) || length > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a job's output file is damaged"));
        }
        let mut bytes = vec![0; length as usize];
        if !read_whole(&mut segment.file, &mut bytes)? {
            return Ok(None);
        }
        segment.position += (RECORD_HEADER + bytes.len()) as u64;
        self.offset += u64::from(length);
        Ok(Some(Piece { stream: header[0], bytes, offset: self.offset }))
    }
}

/// Fills the buffer; `false` when the file ends before.
fn read_whole(file: &mut File, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.map(|()| true),
    }
}

/// Both streams of a job that has ended.
pub(crate) fn read_all(directory: &Path) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut spool = Spool::new(directory.to_owned(), 0);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some(piece) = spool.next()? {
        match piece.stream {
            1 => out.extend_from_slice(&piece.bytes),
            _ => err.extend_from_slice(&piece.bytes),
        }
    }
    Ok((out, err))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn append(directory: &Path, start: u64, stream: u8, payload: &[u8]) {
        let path = directory.join(format!("out.{start:020}"));
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        let mut record = vec![stream];
        record.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        record.extend_from_slice(payload);
        file.write_all(&record).unwrap();
    }

    #[test]
    fn a_reader_follows_from_segment_to_segment() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(directory.path().to_owned(), 0);
        assert_eq!(spool.next().unwrap(), None);
        append(directory.path(), 0, 1, b"abc");
        append(directory.path(), 0, 2, b"de");
        assert_eq!(spool.next().unwrap().unwrap(), Piece { stream: 1, bytes: b"abc".into(), offset: 3 });
        assert_eq!(spool.next().unwrap().unwrap(), Piece { stream: 2, bytes: b"de".into(), offset: 5 });
        assert_eq!(spool.next().unwrap(), None);
        append(directory.path(), 5, 1, b"f");
        assert_eq!(spool.next().unwrap().unwrap().offset, 6);
        assert_eq!(read_all(directory.path()).unwrap(), (b"abcf".to_vec(), b"de".to_vec()));
    }

    #[test]
    fn what_is_no_longer_kept_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        append(directory.path(), 100, 1, b"abc");
        let mut spool = Spool::new(directory.path().to_owned(), 10);
        assert_eq!(spool.next().unwrap().unwrap(), Piece { stream: 1, bytes: b"abc".into(), offset: 103 });
    }

    #[test]
    fn a_record_that_is_being_written_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(format!("out.{:020}", 0)), [1, 3, 0, 0, 0, b'a']).unwrap();
        let mut spool = Spool::new(directory.path().to_owned(), 0);
        assert_eq!(spool.next().unwrap(), None);
        fs::write(directory.path().join(format!("out.{:020}", 0)), [1, 3, 0, 0, 0, b'a', b'b', b'c'])
            .unwrap();
        assert_eq!(spool.next().unwrap().unwrap().bytes, b"abc");
    }

    proptest! {
        #[test]
        fn reading_can_begin_anywhere(lengths in prop::collection::vec(1usize..9, 1..12), cut in 1usize..5, from in 0u64..60) {
            let directory = tempfile::tempdir().unwrap();
            let (mut all, mut start) = (Vec::new(), 0);
            for (n, length) in lengths.iter().enumerate() {
                if n % cut == 0 {
                    start = all.len() as u64;
                }
                let payload: Vec<u8> = (0..*length).map(|i| (all.len() + i) as u8).collect();
                append(directory.path(), start, 1 + (n % 2) as u8, &payload);
                all.extend_from_slice(&payload);
            }
            let mut spool = Spool::new(directory.path().to_owned(), from);
            let mut seen = Vec::new();
            while let Some(piece) = spool.next().unwrap() {
                seen.extend_from_slice(&piece.bytes);
                prop_assert_eq!(piece.offset, from.min(all.len() as u64) + seen.len() as u64);
            }
            prop_assert_eq!(&seen[..], &all[(from as usize).min(all.len())..]);
        }
    }
}

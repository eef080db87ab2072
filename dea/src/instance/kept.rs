//! The last output of each process, kept in memory: what can be read as `logs/stdout.log` and `logs/stderr.log`,
//! where apps that write to their outputs have nothing in `logs/`.

use cupola_protocol::{InstanceId, logs::Stream};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The last output of one instance.
#[derive(Debug)]
pub(crate) struct Kept {
    limit: usize,
    streams: Mutex<[Ring; 2]>,
}

#[derive(Debug, Default)]
struct Ring {
    bytes: VecDeque<u8>,
    /// All bytes that were ever written.
    total: u64,
}

/// A part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where what is kept begins.
    pub(crate) begin: u64,
    /// Where it ends.
    pub(crate) size: u64,
    /// From the offset that was asked for, or from `begin` when that is later.
    pub(crate) bytes: Vec<u8>,
}

impl Kept {
    fn new(limit: u64) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), streams: Mutex::default() }
    }

    fn streams(&self) -> MutexGuard<'_, [Ring; 2]> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More output.
    pub(crate) fn push(&self, stream: Stream, bytes: &[u8]) {
        let ring = &mut self.streams()[number(stream)];
        ring.total += bytes.len() as u64;
        ring.bytes.extend(&bytes[bytes.len().saturating_sub(self.limit)..]);
        let over = ring.bytes.len().saturating_sub(self.limit);
        ring.bytes.drain(..over);
    }

    /// A part of what is kept.
    pub(crate) fn read(&self, stream: Stream, offset: u64, length: u64) -> Piece {
        let ring = &self.streams()[number(stream)];
        let begin = ring.total - ring.bytes.len() as u64;
        let skip = usize::try_from(offset.saturating_sub(begin)).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = ring.bytes.iter().skip(skip).take(length).copied().collect();
        Piece { begin, size: ring.total, bytes }
    }
}

fn number(stream: Stream) -> usize {
    match stream {
        Stream::Out => 0,
        Stream::Err => 1,
    }
}

/// The outputs of all instances that this agent has.
#[derive(Debug)]
pub(crate) struct Outputs {
    limit: u64,
    all: Mutex<HashMap<InstanceId, Arc<Kept>>>,
}

impl Outputs {
    /// Keeps so many bytes of each stream.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, all: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<InstanceId, Arc<Kept>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are kept of each stream.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// The instance's output, from its beginning on.
    pub(crate) fn open(&self, instance: &InstanceId) -> Arc<Kept> {
        let kept = Arc::new(Kept::new(self.limit));
        self.all().insert(instance.clone(), kept.clone());
        kept
    }

    /// The instance's output, while this agent has the instance.
    pub(crate) fn of(&self, instance: &InstanceId) -> Option<Arc<Kept>> {
        self.all().get(instance).cloned()
    }

    /// The instance is over.
    pub(crate) fn close(&self, instance: &InstanceId) {
        self.all().remove(instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_each_stream_is_kept_and_offsets_count_from_its_beginning() {
        let kept = Kept::new(5);
        kept.push(Stream::Out, b"abc");
        kept.push(Stream::Err, b"x");
        let piece = |begin, size, bytes: &[u8]| Piece { begin, size, bytes: bytes.to_vec() };
        assert_eq!(kept.read(Stream::Out, 0, 10), piece(0, 3, b"abc"));
        kept.push(Stream::Out, b"defg");
        assert_eq!(kept.read(Stream::Out, 0, 10), piece(2, 7, b"cdefg"));
        assert_eq!(kept.read(Stream::Out, 4, 2), piece(2, 7, b"ef"));
        assert_eq!(kept.read(Stream::Out, 9, 2), piece(2, 7, b""));
        assert_eq!(kept.read(Stream::Err, 0, 10), piece(0, 1, b"x"));
        kept.push(Stream::Err, b"a long piece");
        assert_eq!(kept.read(Stream::Err, 0, 10), piece(8, 13, b"piece"));
    }
}

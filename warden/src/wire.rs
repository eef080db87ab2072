//! What the daemon, the spawner and a container's init say to each other, and how it is written in bytes.
//!
//! Little-endian, without tags or padding: both ends are always built from the same sources, because the daemon starts
//! the init it was installed with. A container outlives its daemon, though, so [`VERSION`] opens every connection to an
//! init: a daemon talks to the older ones down to [`OLDEST`] in their own words, and refuses others by name instead of
//! misreading.
//!
//! | item | bytes |
//! |---|---|
//! | `u8`, `u32`, `u64`, `i32` | little-endian |
//! | `bool` | one byte, 0 or 1 |
//! | bytes, text, path | `u32` length, then the bytes |
//! | list | `u32` count, then the items |
//! | enum | one `u8`, then the fields of the variant |

mod job;
mod message;
mod plan;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

pub use job::{
    Exit, JobEnd, JobSpec, JobState, JobUser, NamedUser, OutputMode, RECORD_HEADER, Rlimit, Stdio, Target,
    Window,
};
pub use message::{Event, InitReply, InitRequest, SpawnOutcome, SpawnReply, SpawnRequest};
pub use plan::{Bind, CgroupEntry, CgroupView, ContainerPlan, Layer, Upper, UserSpec};

/// The version of these messages; raised with every change of them. An init says its own in answer to `Hello`.
///
/// | version | what came with it |
/// |---|---|
/// | 1 | scripts, their output, signals, tar streams |
/// | 2 | terminals, input, given descriptors, users by name, `/bin/sh` in place of `/bin/bash` |
pub const VERSION: u32 = 2;
/// The oldest version of an init that a daemon still talks to; see [`InitRequest::run_1`].
pub const OLDEST: u32 = 1;

/// Bytes that are not what the type says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(
    /// What was being read.
    pub &'static str,
);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed message: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for std::io::Error {
    fn from(error: Malformed) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// A step that the kernel refused: which, on what, and the error number. It crosses process borders, hence no `io::Error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was tried, in words, e.g. `mount overlay`.
    pub step: String,
    /// The file or the name that it was tried on; empty where there is none.
    pub path: PathBuf,
    /// The error number (errno(3)).
    pub errno: i32,
}

impl Failure {
    /// A failure of `step` on `path` with an error of the system.
    pub fn new(step: impl Into<String>, path: impl Into<PathBuf>, errno: i32) -> Self {
        Failure { step: step.into(), path: path.into(), errno }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = std::io::Error::from_raw_os_error(self.errno);
        match self.path.as_os_str().is_empty() {
            true => write!(f, "{}: {cause}", self.step),
            false => write!(f, "{} ({}): {cause}", self.step, self.path.display()),
        }
    }
}

impl std::error::Error for Failure {}

/// A value that has bytes on the wire.
pub trait Wire: Sized {
    /// Appends the value's bytes.
    fn write(&self, out: &mut Writer);
    /// Reads a value back.
    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed>;

    /// The value's bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.write(&mut out);
        out.0
    }

    /// The value of exactly these bytes; left-over bytes are an error.
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let value = Self::read(&mut reader)?;
        match reader.0.is_empty() {
            true => Ok(value),
            false => Err(Malformed("bytes after the end")),
        }
    }
}

/// Collects the bytes of a message.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Appends a byte.
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// Appends a 32-bit number.
    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a 64-bit number.
    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends a length and the bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
    }

    /// Appends a path as bytes.
    pub fn path(&mut self, value: &Path) {
        self.bytes(value.as_os_str().as_bytes());
    }

    /// Appends a count and the items.
    pub fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.u32(items.len() as u32);
        for each in items {
            item(self, each);
        }
    }
}

/// Takes values off the front of a message.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(Malformed(what))?;
        self.0 = rest;
        Ok(head)
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1, "byte")?[0])
    }

    /// A byte that is 0 or 1.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed("neither true nor false")),
        }
    }

    /// A 32-bit number.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4, "32-bit number")?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A signed 32-bit number.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(self.u32()? as i32)
    }

    /// A 64-bit number.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        let (low, high) = (self.u32()?, self.u32()?);
        Ok(u64::from(low) | u64::from(high) << 32)
    }

    /// Bytes with their length before them.
    pub fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.u32()? as usize;
        Ok(self.take(length, "bytes")?.to_vec())
    }

    /// UTF-8 text.
    pub fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?).map_err(|_| Malformed("text that is not UTF-8"))
    }

    /// A path.
    pub fn path(&mut self) -> Result<PathBuf, Malformed> {
        Ok(PathBuf::from(OsString::from_vec(self.bytes()?)))
    }

    /// A list. Its count is not trusted: nothing is reserved for items that have not been read.
    pub fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

impl Wire for Failure {
    fn write(&self, out: &mut Writer) {
        out.bytes(self.step.as_bytes());
        out.path(&self.path);
        out.u32(self.errno as u32);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Failure { step: from.text()?, path: from.path()?, errno: from.i32()? })
    }
}

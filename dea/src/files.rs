//! The files of instances over HTTP: `/instance_paths/<instance>?path=P&timestamp=T&hmac=H`, the files API v2 of
//! dea_ng, whose directory server this is.
//!
//! - [`Config`]: the section `[dea.files]`
//! - `path`: which paths are in an instance's home (pure)
//! - `signature`: who has an address may read what it names, for a while (pure)
//! - `range`: the part of a file that a request asks for (pure)
//! - `container`: reading in a container, by jobs of its own user: what a link of the app leads to is looked up
//!   inside, where no file of the host is
//! - `kept`: reading what this agent keeps itself: the last output, and the files of crashed instances
//! - `place`: which of these has an instance's files
//! - `answers`: the requests
//! - `directory`: the server's address, its keys and its limits

mod answers;
mod config;
mod container;
mod directory;
mod kept;
mod path;
mod place;
mod range;
mod signature;

pub(crate) use answers::serve;
pub use config::Config;
pub(crate) use container::{Gathered, gather};
pub(crate) use directory::Directory;
pub(crate) use kept::OUTPUT_FILES;

use cupola_protocol::Bytes;

/// What is at a path, and the part of it that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// A file.
    File {
        /// Bytes at its beginning that are gone; 0 but for output, of which only the end is kept.
        begin: u64,
        /// Where it ends.
        size: u64,
        /// From the offset that was asked for, or from `begin` when that is later.
        bytes: Vec<u8>,
    },
    /// A directory.
    Directory {
        /// What is in it, by name.
        entries: Vec<Entry>,
        /// Whether it has more than is listed.
        cut: bool,
    },
}

/// One line of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: String,
    /// Its size; none for a directory.
    pub(crate) size: Option<Bytes>,
}

impl Entry {
    /// The line that clients have always seen.
    fn line(&self) -> String {
        match self.size {
            Some(size) => format!("{:<35} {:>10}\n", self.name, size.to_string()),
            None => format!("{:<35} {:>10}\n", format!("{}/", self.name), "-"),
        }
    }
}

/// Why something cannot be read. The words go to the developer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the address is not signed by this node agent")]
    NotSigned,
    #[error("the address has expired: ask for a new one")]
    Expired,
    #[error("there is no instance {0} on this node, and none that crashed lately")]
    NoInstance(String),
    #[error("there is no file or directory {0:?} in the instance")]
    NotFound(String),
    #[error("{0:?} leads out of the instance's home")]
    Outside(String),
    #[error("the app's user may not read {0:?}")]
    Denied(String),
    #[error("{0:?} is neither a file nor a directory")]
    NotAFile(String),
    #[error("the instance's files cannot be reached now: {0}")]
    Unreachable(String),
    #[error("too many files are being read on this node: try again later")]
    Busy,
    #[error("no such part of the file, which ends at byte {0}")]
    NoSuchPart(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_shown_as_it_always_was() {
        let file = Entry { name: "run.pid".to_owned(), size: Some(Bytes(1536)) };
        assert_eq!(file.line(), format!("run.pid{}1.5K\n", " ".repeat(35)));
        let directory = Entry { name: "app".to_owned(), size: None };
        assert_eq!(directory.line(), format!("app/{}-\n", " ".repeat(41)));
    }
}

//! The journal: a record per container, written before each step that it describes, so that a daemon that is killed at any
//! moment knows at its next start what there may be. Every name is derived from the id.
//!
//! A record is `journal/<id>.json`, and once the container runs also `depot/<id>/record.json`. Each is replaced as a whole
//! by renaming, so that a killed daemon leaves the old one or the new one. Nothing is synced to the disk: no container
//! outlives the kernel, and what the kernel has taken a killed daemon cannot lose. A host that crashes may leave records
//! cut off or empty; they are of another start of the host then, of which only files are left. See decision 0017.

use super::Error;
use super::record::Record;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Name of the second copy in a container's directory.
const COPY: &str = "record.json";
/// Where the kernel names this start of the host (random(4)).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The directories of records.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    depot: PathBuf,
    boot: String,
    /// Whether a daemon of this start of the host was here before, or that cannot be known.
    same_boot: bool,
}

/// What is written down of containers.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) records: Vec<Record>,
    pub(crate) damaged: Vec<Damaged>,
}

/// A container of which neither record can be read. What it has is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) id: String,
    /// First address of its network, as far as it can be made out.
    pub(crate) network: Option<Ipv4Addr>,
    /// First uid of its range, as far as it can be made out.
    pub(crate) uid_base: Option<u32>,
}

impl Journal {
    /// Uses a directory, which is made when missing; second copies are in the containers' directories in `depot`.
    pub(crate) fn open(directory: PathBuf, depot: PathBuf) -> Result<Self, Error> {
        let boot = fs::read_to_string(BOOT).map_err(Error::io("read the boot id", Path::new(BOOT)))?;
        Self::open_in(directory, depot, boot.trim().to_owned())
    }

    fn open_in(directory: PathBuf, depot: PathBuf, boot: String) -> Result<Self, Error> {
        fs::create_dir_all(&directory).map_err(Error::io("make the journal directory", &directory))?;
        let mark = directory.with_extension("boot");
        let same_boot = match fs::read_to_string(&mark) {
            Ok(text) if text.trim().len() == boot.len() => text.trim() == boot,
            // None, or cut off.
            _ => true,
        };
        replace(&mark, boot.as_bytes()).map_err(Error::io("write down the boot id", &mark))?;
        Ok(Journal { directory, depot, boot, same_boot })
    }

    /// The id of this start of the host.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// Whether a record is of this start of the host: else nothing of the container is left but files.
    pub(crate) fn is_current(&self, record: &Record) -> bool {
        match record.boot.is_empty() {
            true => self.same_boot,
            false => record.boot == self.boot,
        }
    }

    /// Writes the first record of a container that is about to be made.
    pub(crate) fn begin(&self, record: &Record) -> Result<(), Error> {
        let path = self.path(&record.id);
        replace(&path, &text(record)).map_err(Error::io("write the journal", &path))
    }

    /// Writes a record of a container that has its directory.
    pub(crate) fn write(&self, record: &Record) -> Result<(), Error> {
        let (path, copy, text) = (self.path(&record.id), self.copy(&record.id), text(record));
        replace(&path, &text).map_err(Error::io("write the journal", &path))?;
        replace(&copy, &text).map_err(Error::io("write the journal's second copy", &copy))
    }

    /// Removes a record: nothing of the container is left, its directory and the copy in it neither.
    pub(crate) fn remove(&self, id: &str) -> Result<(), Error> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io("remove the journal entry", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Every record. One that cannot be read is taken from its copy; what a killed daemon had half written is removed.
    pub(crate) fn read(&self) -> Result<Found, Error> {
        let mut found = Found::default();
        let mut ids = Vec::new();
        for entry in list(&self.directory)? {
            match (entry.extension().and_then(|extension| extension.to_str()), stem(&entry)) {
                (Some("json"), Some(id)) => ids.push(id),
                _ => drop(fs::remove_file(&entry)),
            }
        }
        // A directory with a copy whose record has been lost.
        for entry in list(&self.depot)? {
            match stem(&entry) {
                Some(id) if !ids.contains(&id) && self.copy(&id).exists() => ids.push(id),
                _ => (),
            }
        }
        for id in ids {
            match self.read_one(&id) {
                Some(record) => found.records.push(record),
                None if self.same_boot => found.damaged.push(self.salvage(&id)),
                None => {
                    // The host has been started anew since: its directory is swept like that of any unknown one.
                    tracing::warn!(id, "record of an earlier start of the host cannot be read; removing it");
                    drop(fs::remove_file(self.copy(&id)));
                    self.remove(&id)?;
                }
            }
        }
        Ok(found)
    }

    fn read_one(&self, id: &str) -> Option<Record> {
        let (path, copy) = (self.path(id), self.copy(id));
        let first = parse(&path, id);
        if let Ok(record) = first {
            return Some(record);
        }
        let second = parse(&copy, id);
        for (path, result) in [(&path, &first), (&copy, &second)] {
            if let Err(error) = result {
                let path = path.display();
                tracing::error!(id, %path, %error, "journal entry cannot be read");
            }
        }
        let record = second.ok()?;
        tracing::warn!(id, handle = record.handle, "journal entry restored from its copy");
        if let Err(error) = self.begin(&record) {
            tracing::error!(id, error = error.chain(), "journal entry not restored; its copy holds");
        }
        Some(record)
    }

    /// What can be made out of records that cannot be read.
    fn salvage(&self, id: &str) -> Damaged {
        let texts = [self.path(id), self.copy(id)].map(|path| fs::read(path).unwrap_or_default());
        let texts = texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let value = |key: &str| texts.iter().find_map(|text| value_of(text, key));
        Damaged {
            id: id.to_owned(),
            network: value("network").and_then(|text| text.trim_matches('"').parse().ok()),
            uid_base: value("uid_base").and_then(|text| text.parse().ok()),
        }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn copy(&self, id: &str) -> PathBuf {
        self.depot.join(id).join(COPY)
    }
}

fn text(record: &Record) -> Vec<u8> {
    let mut text = serde_json::to_vec(record).expect("a record has no keys but text");
    text.push(b'\n');
    text
}

/// The record in a file, which must be of the container that the file is named after.
fn parse(path: &Path, id: &str) -> io::Result<Record> {
    let record: Record = serde_json::from_slice(&fs::read(path)?)?;
    match record.id == id {
        true => Ok(record),
        false => Err(io::Error::new(ErrorKind::InvalidData, format!("it is of container {}", record.id))),
    }
}

/// The whole value of a key in text that may end anywhere.
fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = text.split_once(&format!("\"{key}\":"))?.1;
    rest.split_once([',', '}']).map(|(value, _)| value.trim())
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = || Error::io("list the journal", directory);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed())?,
    };
    entries.map(|entry| Ok(entry.map_err(failed())?.path())).collect()
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_str()?.to_owned())
}

/// Replaces a file by another of the same name: whoever reads sees the one or the other, whole. Where that fails, the old
/// one is still there.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut written = fs::File::create(&temporary).and_then(|mut file| file.write_all(contents));
    written = written.and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::record::Phase;

    fn record(id: &str) -> Record {
        Record {
            boot: "here".to_owned(),
            handle: format!("handle of {id}"),
            network: Some(Ipv4Addr::new(10, 0, 0, 4)),
            uid_base: 1_065_536,
            ..Record::blank(id.to_owned(), Phase::Active)
        }
    }

    /// A journal with two containers, both with copies.
    fn scene() -> (tempfile::TempDir, Journal) {
        let directory = tempfile::tempdir().unwrap();
        let (journal, depot) = (directory.path().join("journal"), directory.path().join("depot"));
        for id in ["aaaaaaaaaaa", "bbbbbbbbbbb"] {
            fs::create_dir_all(depot.join(id)).unwrap();
        }
        let journal = Journal::open_in(journal, depot, "here".to_owned()).unwrap();
        journal.write(&record("aaaaaaaaaaa")).unwrap();
        journal.write(&record("bbbbbbbbbbb")).unwrap();
        (directory, journal)
    }

    fn handles(found: &Found) -> Vec<&str> {
        let mut handles: Vec<_> = found.records.iter().map(|record| record.handle.as_str()).collect();
        handles.sort_unstable();
        handles
    }

    #[test]
    fn a_record_cut_at_any_byte_is_taken_from_its_copy() {
        let (_directory, journal) = scene();
        let path = journal.path("aaaaaaaaaaa");
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let found = journal.read().unwrap();
            assert_eq!(
                handles(&found),
                ["handle of aaaaaaaaaaa", "handle of bbbbbbbbbbb"],
                "cut at {length}"
            );
            assert_eq!(found.damaged, []);
            assert!(parse(&path, "aaaaaaaaaaa").is_ok(), "restored");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(handles(&journal.read().unwrap()).len(), 2, "lost as a whole");
    }

    #[test]
    fn when_both_are_cut_the_container_is_named_and_the_others_are_served() {
        let (_directory, journal) = scene();
        let (path, copy) = (journal.path("aaaaaaaaaaa"), journal.copy("aaaaaaaaaaa"));
        let whole = fs::read(&path).unwrap();
        let json = whole.len() - 1;
        for length in 0..json {
            fs::write(&path, &whole[..length]).unwrap();
            fs::write(&copy, &whole[..length]).unwrap();
            let found = journal.read().unwrap();
            assert_eq!(handles(&found), ["handle of bbbbbbbbbbb"], "cut at {length}");
            assert_eq!(found.damaged.len(), 1);
            assert_eq!(found.damaged[0].id, "aaaaaaaaaaa");
            assert!([None, Some(1_065_536)].contains(&found.damaged[0].uid_base), "never half a number");
        }
        fs::write(&path, &whole[..json - 1]).unwrap();
        let damaged = &journal.read().unwrap().damaged[0];
        assert_eq!(damaged.network, Some(Ipv4Addr::new(10, 0, 0, 4)));
        assert_eq!(damaged.uid_base, Some(1_065_536));
    }

    #[test]
    fn after_a_new_start_of_the_host_there_are_only_files() {
        let (directory, journal) = scene();
        fs::write(journal.path("aaaaaaaaaaa"), "{").unwrap();
        fs::write(journal.copy("aaaaaaaaaaa"), "").unwrap();
        let (a, b) = (directory.path().join("journal"), directory.path().join("depot"));
        let journal = Journal::open_in(a, b, "else".to_owned()).unwrap();
        let found = journal.read().unwrap();
        assert_eq!((handles(&found), found.damaged.as_slice()), (vec!["handle of bbbbbbbbbbb"], &[][..]));
        assert!(!journal.is_current(&found.records[0]));
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        replace(&path, b"old").unwrap();
        fs::create_dir(path.with_extension("new")).unwrap();
        assert!(replace(&path, b"new").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}

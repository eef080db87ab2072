//! What a node must know about an instance after any crash: one file each, written before each step that it describes.

use super::{Config, Error, Plan};
use crate::files;
use cupola_protocol::services::Engine;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Being made: nobody has been told of it, and a node that finds it so removes it.
    Creating,
    /// In use.
    Ready,
    /// Being removed: a node that finds it so goes on.
    Deleting,
}

/// What a node must know about an instance.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its name.
    pub(crate) name: String,
    pub(crate) engine: Engine,
    /// Its plan, as it was at the last start: what the configuration says of the plan of that name wins.
    pub(crate) plan: Plan,
    pub(crate) phase: Phase,
    /// Port of the host, for life.
    pub(crate) port: u16,
    /// Password of the node's own user in it.
    pub(crate) admin_password: String,
    /// Job of the server in the container, while there is one.
    pub(crate) job: Option<u32>,
    /// Users of its bindings.
    pub(crate) users: BTreeSet<String>,
}

impl Record {
    /// The plan that holds now. One that is no longer served holds on for the instances that have it.
    pub(crate) fn plan<'a>(&'a self, config: &'a Config) -> &'a Plan {
        config.plan(self.engine, &self.plan.name).unwrap_or(&self.plan)
    }
}

/// The directory of records.
#[derive(Debug, Clone)]
pub(crate) struct Records(PathBuf);

impl Records {
    /// Uses a directory, which is made when missing.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        files::make_directory(&directory).map_err(Error::file("make", &directory))?;
        Ok(Records(directory))
    }

    /// Every record.
    pub(crate) fn read(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(Error::file("list", &self.0))? {
            let path = entry.map_err(Error::file("list", &self.0))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read(&path).map_err(Error::file("read", &path))?;
                records.push(serde_json::from_slice(&text).map_err(|source| Error::Record { path, source })?);
            } else {
                // What a killed node had half written.
                fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            }
        }
        Ok(records)
    }

    /// Writes a record; when this returns it is on disk.
    pub(crate) fn write(&self, record: &Record) -> io::Result<()> {
        files::write_whole(&self.path(&record.name), &serde_json::to_vec(record)?)
    }

    /// Removes a record: nothing of the instance is left.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        files::remove(&self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(Path::new(name).with_extension("json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::open(directory.path().join("records")).unwrap();
        let record = Record {
            name: "d1".into(),
            engine: Engine::Postgresql,
            plan: Config::default().plans[0].clone(),
            phase: Phase::Ready,
            port: 30_000,
            admin_password: "p".into(),
            job: Some(7),
            users: BTreeSet::from(["u1".into()]),
        };
        records.write(&record).unwrap();
        fs::write(directory.path().join("records/.half"), "{").unwrap();
        let read = records.read().unwrap();
        assert_eq!((read.len(), read[0].name.as_str(), read[0].job), (1, "d1", Some(7)));
        records.remove("d1").unwrap();
        assert!(records.read().unwrap().is_empty());
        fs::write(directory.path().join("records/d2.json"), "{").unwrap();
        assert!(matches!(records.read(), Err(Error::Record { .. })), "damage is not passed over");
    }
}

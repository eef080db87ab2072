//! What survives a restart: the instances, in `<data>/dea/instances.json`, written whole at each change.

use crate::{Error, identity::write_whole, instance::Record};
use serde::{Deserialize, Serialize};
use std::{fs, io::ErrorKind, path::PathBuf};

/// The journal's file.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    path: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    instances: Vec<Record>,
}

impl Journal {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The instances that an earlier agent has left behind.
    pub(crate) fn read(&self) -> Result<Vec<Record>, Error> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::file("read", &self.path)(error)),
        };
        let content: Content = serde_json::from_slice(&text)
            .map_err(|source| Error::Journal { path: self.path.clone(), source })?;
        Ok(content.instances)
    }

    /// Writes all instances.
    pub(crate) fn write(&self, instances: Vec<Record>) -> Result<(), Error> {
        let text = serde_json::to_vec(&Content { instances })
            .map_err(|source| Error::Journal { path: self.path.clone(), source })?;
        write_whole(&self.path, &text)
    }
}

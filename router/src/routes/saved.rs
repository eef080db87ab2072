//! The table on disk, so that a router that restarts while the bus is away still routes.

use cupola_protocol::router::Register;
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

/// What `routes.json` holds.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Every address with its routes.
    pub(crate) endpoints: Vec<Register>,
    /// The routes that the controller last told.
    pub(crate) known: Vec<String>,
}

impl Saved {
    /// Reads the file; an absent one is an empty table. One that cannot be read is told and left aside: the bus
    /// will tell everything again.
    pub(crate) fn load(path: &Path) -> Self {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the saved routes");
                return Self::default();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "the saved routes are damaged and left aside");
            Self::default()
        })
    }

    /// Replaces the file.
    pub(crate) fn store(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(io::BufWriter::new(&mut file), self)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_damaged_files_are_empty_tables() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.json");
        assert_eq!(Saved::load(&path), Saved::default());
        let saved = Saved { endpoints: Vec::new(), known: vec!["a.com".to_owned()] };
        saved.store(&path).unwrap();
        assert_eq!(Saved::load(&path), saved);
        std::fs::write(&path, "{\"endpoints\":[").unwrap();
        assert_eq!(Saved::load(&path), Saved::default());
    }
}

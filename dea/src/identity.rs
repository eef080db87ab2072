//! Which agent this is: an id that is made at the first start and kept in the data directory.

use crate::Error;
use cupola_protocol::DeaId;
use std::{
    fs,
    io::{ErrorKind, Write},
    path::Path,
};

/// Reads the id, or makes one.
pub(crate) fn load(directory: &Path) -> Result<DeaId, Error> {
    let path = directory.join("id");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(DeaId::new(text.trim())),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Error::file("read", path)(error)),
    }
    let id = DeaId::generate();
    write_whole(&path, id.as_str().as_bytes())?;
    Ok(id)
}

/// Writes a state file: whole or not at all, and on disk before this returns.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(Path::new("."));
    // Made with mode 0600: state holds credentials of services.
    let mut file =
        tempfile::NamedTempFile::new_in(directory).map_err(Error::file("make a file in", directory))?;
    file.write_all(content).map_err(Error::file("write", path))?;
    file.as_file().sync_all().map_err(Error::file("write", path))?;
    file.persist(path).map_err(|error| Error::file("write", path)(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let first = load(directory.path()).unwrap();
        assert_eq!(load(directory.path()).unwrap(), first);
    }
}

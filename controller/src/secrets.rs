//! Secrets that are generated at the first start: those that every controller needs are rows, the first
//! administrator's password is a file of mode 0600.

use crate::{
    Error,
    store::{self, Pool},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// 256 random bits as text.
pub(crate) fn generate() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// The secret of a name, the same for every controller on this database. One that an earlier version kept in a file
/// is taken over, and the file removed.
pub(crate) async fn shared(pool: &Pool, name: &'static str, file: &Path) -> Result<String, Error> {
    let failed = |action| move |source| Error::File { action, path: file.to_owned(), source };
    let old = match fs::read_to_string(file) {
        Ok(text) => Some(text.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(source) => return Err(failed("read")(source)),
    };
    let candidate = old.clone().filter(|secret| !secret.is_empty()).unwrap_or_else(generate);
    let secret = store::settle(pool, name, &candidate)
        .await
        .map_err(|error| Error::Prepare { what: format!("agreeing on the secret {name}: {error}") })?;
    if old.is_some() {
        fs::remove_file(file).map_err(failed("remove"))?;
    }
    Ok(secret)
}

/// Writes a new secret beside its place, then moves it there: a reader never sees half of one.
pub(crate) fn write_new(path: &Path) -> Result<String, Error> {
    let secret = generate();
    let failed = |action| move |source| Error::File { action, path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // A file that a killed start left may have another mode.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("replace")(error)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(failed("write"))?;
    file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write"))?;
    fs::rename(&new, path).map_err(failed("write"))?;
    Ok(secret)
}

/// Makes a directory that only its owner can read.
pub(crate) fn private_dir(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| Error::File {
        action: "make the directory",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_secret_is_made_once_and_one_of_a_file_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let config = crate::Config { data_dir: dir.path().to_owned(), ..crate::Config::default() };
        let (pool, _) = store::open(&config).await.unwrap();
        let file = dir.path().join("a.key");
        let first = shared(&pool, "a", &file).await.unwrap();
        assert!(first.len() >= 43);
        assert_eq!(shared(&pool, "a", &file).await.unwrap(), first);
        let file = dir.path().join("b.key");
        let old = write_new(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(shared(&pool, "b", &file).await.unwrap(), old);
        assert!(!file.exists());
        assert_eq!(shared(&pool, "b", &file).await.unwrap(), old);
    }
}

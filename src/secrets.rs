//! Secrets are made at first start and kept in files that only their owner reads. None has a default.

use anyhow::{Context, Result};
use rand::RngExt;
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Letters and digits that cannot be taken for one another on paper.
const ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Characters of a generated secret: 57^32 is more than 2^186.
const LENGTH: usize = 32;

/// Reads the secret in `path`, or makes one there with mode 0600.
pub(crate) fn ensure(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(secret) => return Ok(secret.trim_end().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the secret {}", path.display()));
        }
    }
    let mut random = rand::rng();
    let secret: String =
        (0..LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .with_context(|| format!("cannot write the secret {}", path.display()))?;
    Ok(secret)
}

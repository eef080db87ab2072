//! An instance's volume: a directory of the node's own, seen read-write in the container, that outlives containers.
//! What the server makes in it belongs to the node's user on the host (`BindMount::volume`), so that the node can
//! measure and remove it without any privilege.

use crate::files;
use cupola_protocol::Bytes;
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Makes the volume. One that is there is kept.
pub(crate) async fn make(path: PathBuf) -> io::Result<()> {
    blocking(move || files::make_directory(&path)).await
}

/// Removes the volume with everything in it; one that is not there is no error.
pub(crate) async fn remove(path: PathBuf) -> io::Result<()> {
    blocking(move || match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
    .await
}

/// The disk that it takes.
pub(crate) async fn size(path: PathBuf) -> io::Result<Bytes> {
    blocking(move || measure(&path).map(Bytes)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Files that come and go while one looks are no error.
fn measure(directory: &Path) -> io::Result<u64> {
    let gone = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    let mut sum = 0;
    let entries = match fs::read_dir(directory) {
        Err(error) if gone(&error) => return Ok(0),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let figures = match entry.metadata() {
            Err(error) if gone(&error) => continue,
            other => other?,
        };
        // In units of 512 bytes, whatever the filesystem has (stat(2)).
        sum += figures.blocks() * 512;
        if figures.is_dir() {
            sum += measure(&entry.path())?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_volume_is_as_large_as_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let volume = directory.path().join("v");
        make(volume.clone()).await.unwrap();
        let empty = size(volume.clone()).await.unwrap();
        fs::create_dir(volume.join("d")).unwrap();
        fs::write(volume.join("d/f"), vec![1; 1 << 20]).unwrap();
        let full = size(volume.clone()).await.unwrap();
        assert!(full.0 - empty.0 >= 1 << 20, "{empty:?} {full:?}");
        remove(volume.clone()).await.unwrap();
        remove(volume.clone()).await.unwrap();
        assert_eq!(size(volume).await.unwrap(), Bytes(0));
    }
}

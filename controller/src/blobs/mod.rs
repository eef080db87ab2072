//! Packages, droplets, buildpack caches and remembered files, by key.
//!
//! | key | what |
//! |---|---|
//! | `packages/<guid>` | the zip of a package |
//! | `droplets/<sha256>` | the tar.gz of a droplet; several droplets may be the same bytes |
//! | `caches/<app guid>` | the buildpack cache of an app |
//! | `resources/<sha1[0..2]>/<sha1>` | a file that some package holds |
//!
//! They are in a directory of this machine, or in an S3-compatible store that several controllers reach. A row names
//! each blob; what no row names may be removed. Whoever adds or removes a blob that several rows may name holds
//! `Locks::blob` from the look at the rows until the blob is there or gone.

mod s3;

use crate::{Config, Error, secrets};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, local::LocalFileSystem, path::Path};
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(Path);

impl Key {
    pub(crate) fn package(guid: &str) -> Self {
        Self(Path::from_iter(["packages", guid]))
    }
    pub(crate) fn droplet(sha256: &str) -> Self {
        Self(Path::from_iter(["droplets", sha256]))
    }
    pub(crate) fn cache(app: &str) -> Self {
        Self(Path::from_iter(["caches", app]))
    }
    pub(crate) fn resource(sha1: &str) -> Self {
        Self(Path::from_iter(["resources", &sha1[..2.min(sha1.len())], sha1]))
    }

    /// The kind (`packages`, …) and the name.
    pub(crate) fn parts(&self) -> (String, String) {
        let mut parts = self.0.parts();
        let kind = parts.next().map(|part| part.as_ref().to_owned()).unwrap_or_default();
        let name = parts.next_back().map(|part| part.as_ref().to_owned()).unwrap_or_default();
        (kind, name)
    }
}

/// All blobs.
#[derive(Debug)]
pub(crate) struct Blobs {
    store: Arc<dyn ObjectStore>,
}

type Result<T> = std::result::Result<T, object_store::Error>;

impl Blobs {
    /// The blobs that the configuration names.
    pub(crate) async fn open(config: &Config) -> std::result::Result<Self, Error> {
        match &config.blobs {
            Some(url) => Ok(Self { store: s3::open(config, url).await? }),
            None => {
                let dir = config.data_dir.join("blobs");
                secrets::private_dir(&dir)?;
                Self::local(&dir).map_err(|source| Error::Blobs { place: dir.display().to_string(), source })
            }
        }
    }

    /// Blobs in a directory of this machine, which exists.
    fn local(dir: &std::path::Path) -> Result<Self> {
        let store = LocalFileSystem::new_with_prefix(dir)?.with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(store) })
    }

    /// Stores a file; it is there whole or not at all.
    pub(crate) async fn put(&self, key: &Key, file: &std::path::Path) -> Result<()> {
        let generic = |source| object_store::Error::Generic { store: "file", source: Box::new(source) };
        let mut file = tokio::fs::File::open(file).await.map_err(generic)?;
        let mut write = WriteMultipart::new(self.store.put_multipart(&key.0).await?);
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => {
                    write.write(&buffer[..read]);
                    write.wait_for_capacity(2).await?;
                }
                Err(source) => {
                    write.abort().await?;
                    return Err(generic(source));
                }
            }
        }
        write.finish().await.map(drop)
    }

    /// The size and the bytes of a blob; none when there is none.
    pub(crate) async fn get(
        &self,
        key: &Key,
    ) -> Result<Option<(u64, impl Stream<Item = Result<Bytes>> + Send + 'static)>> {
        match self.store.get(&key.0).await {
            Ok(found) => Ok(Some((found.meta.size, found.into_stream()))),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn exists(&self, key: &Key) -> Result<bool> {
        match self.store.head(&key.0).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a blob; one that is not there is no error.
    pub(crate) async fn remove(&self, key: &Key) -> Result<()> {
        match self.store.delete(&key.0).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All keys.
    pub(crate) async fn keys(&self) -> Result<Vec<Key>> {
        self.store.list(None).map_ok(|meta| Key(meta.location)).boxed().try_collect().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_removed_blob_leaves_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, vec![7; 3 << 20]).unwrap();
        let root = dir.path().join("blobs");
        std::fs::create_dir(&root).unwrap();
        let blobs = Blobs::local(&root).unwrap();
        let key = Key::resource("abcdef");
        blobs.put(&key, &file).await.unwrap();
        assert!(blobs.exists(&key).await.unwrap());
        let (size, stream) = blobs.get(&key).await.unwrap().unwrap();
        let bytes: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert_eq!((size, bytes.concat().len()), (3 << 20, 3 << 20));
        assert_eq!(blobs.keys().await.unwrap(), std::slice::from_ref(&key));
        assert_eq!(key.parts(), ("resources".to_owned(), "abcdef".to_owned()));
        blobs.remove(&key).await.unwrap();
        blobs.remove(&key).await.unwrap();
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
    }
}

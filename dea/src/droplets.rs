//! Droplets that were fetched, by digest: `<data>/dea/droplets/<kind>-<hex>/droplet.tgz`.
//!
//! A droplet that is there is whole: it was checked before it got its name. Several instances that need the
//! same one wait for one fetch. What an instance holds is never collected.

use crate::figures::Downloads;
use cupola_protocol::{Bytes, dea::Start};
use futures::StreamExt;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};
use tempfile::NamedTempFile;

/// Name of the file in a droplet's directory.
pub(crate) const DROPLET_FILE: &str = "droplet.tgz";

/// A fetch that fails for reasons that may pass is tried so often.
const TRIES: u32 = 3;

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The droplets of this node.
#[derive(Debug)]
pub(crate) struct Droplets {
    directory: PathBuf,
    client: reqwest::Client,
    max_bytes: u64,
    /// One lock for each digest that is being fetched or was.
    fetches: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    leases: Mutex<HashMap<String, Weak<()>>>,
    counted: Option<Downloads>,
}

/// A droplet that is there, and stays while this lives.
#[derive(Debug, Clone)]
pub(crate) struct Droplet {
    directory: PathBuf,
    _lease: Arc<()>,
}

impl Droplet {
    /// The directory that holds it, as [`DROPLET_FILE`].
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Why a droplet could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the start message names no usable digest: {0:?}")]
    NoDigest(String),
    #[error("the blob store could not be asked")]
    Request(#[source] reqwest::Error),
    #[error("the blob store answered {0}")]
    Status(reqwest::StatusCode),
    #[error("it has more than {0}, the most that this node takes (dea.droplet_max_mb)")]
    TooLarge(Bytes),
    #[error("its digest is {actual}, and should be {expected}")]
    Mismatch { expected: String, actual: String },
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl FetchError {
    fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Request(_) => true,
            Self::Status(status) => status.is_server_error(),
            _ => false,
        }
    }
}

/// Which digest, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Digest {
    Sha1(String),
    Sha256(String),
}

impl Digest {
    /// SHA-256 wins. Nothing but hex of the right length passes: it becomes a file name.
    fn of(message: &Start) -> Result<Self, FetchError> {
        let is_hex =
            |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match &message.sha256 {
            Some(sha256) if is_hex(sha256, 64) => Ok(Self::Sha256(sha256.to_ascii_lowercase())),
            Some(sha256) => Err(FetchError::NoDigest(sha256.clone())),
            None if is_hex(&message.sha1, 40) => Ok(Self::Sha1(message.sha1.to_ascii_lowercase())),
            None => Err(FetchError::NoDigest(message.sha1.clone())),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Sha1(hex) => format!("sha1-{hex}"),
            Self::Sha256(hex) => format!("sha256-{hex}"),
        }
    }

    fn hasher(&self) -> Hasher {
        match self {
            Self::Sha1(_) => Hasher::Sha1(Sha1::new()),
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
        }
    }
}

enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Sha1(hasher) => format!("sha1-{}", hex::encode(hasher.finalize())),
            Self::Sha256(hasher) => format!("sha256-{}", hex::encode(hasher.finalize())),
        }
    }
}

/// Checks that a message names a droplet that could be fetched.
pub(crate) fn check(message: &Start) -> Result<(), FetchError> {
    Digest::of(message).map(drop)
}

impl Droplets {
    /// The store in this directory, which exists. What a fetch has left there half done is removed.
    pub(crate) fn open(directory: PathBuf, client: reqwest::Client, max: Bytes) -> std::io::Result<Self> {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                remove(&entry.path())?;
            }
        }
        let (fetches, leases) = (Mutex::default(), Mutex::default());
        Ok(Self { directory, client, max_bytes: max.0, fetches, leases, counted: None })
    }

    /// The same, and fetches are counted.
    pub(crate) fn counted(self, downloads: Downloads) -> Self {
        Self { counted: Some(downloads), ..self }
    }

    /// The droplet of a start message, fetched if it is not there.
    pub(crate) async fn fetch(&self, message: &Start) -> Result<Droplet, FetchError> {
        let digest = Digest::of(message)?;
        let name = digest.name();
        let droplet = self.hold(&name);
        let file = droplet.directory.join(DROPLET_FILE);
        let fetch = lock(&self.fetches).entry(name.clone()).or_default().clone();
        // The others wait here; when the first has failed the next one tries.
        let turn = fetch.lock().await;
        let result = if file.exists() {
            // The time of use, which collection looks at.
            let _ = fs::File::open(&file).and_then(|file| file.set_modified(SystemTime::now()));
            Ok(())
        } else {
            let fetched = self.fetch_with_retries(&digest, &message.executable_uri, &file).await;
            if let Some(counted) = &self.counted {
                if fetched.is_ok() { &counted.done } else { &counted.failed }.increment(1);
            }
            fetched
        };
        drop(turn);
        let mut fetches = lock(&self.fetches);
        if Arc::strong_count(&fetch) <= 2 {
            fetches.remove(&name);
        }
        drop(fetches);
        result.map(|()| droplet)
    }

    fn hold(&self, name: &str) -> Droplet {
        let mut leases = lock(&self.leases);
        let lease = leases.get(name).and_then(Weak::upgrade).unwrap_or_default();
        leases.insert(name.to_owned(), Arc::downgrade(&lease));
        Droplet { directory: self.directory.join(name), _lease: lease }
    }

    async fn fetch_with_retries(&self, digest: &Digest, url: &str, file: &Path) -> Result<(), FetchError> {
        let mut tries = 1;
        loop {
            match self.fetch_once(digest, url, file).await {
                Err(error) if error.may_pass() && tries < TRIES => {
                    tracing::info!(error = &error as &dyn std::error::Error, "fetching a droplet again");
                }
                result => return result,
            }
            tries += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn fetch_once(&self, digest: &Digest, url: &str, file: &Path) -> Result<(), FetchError> {
        // The address carries its authority: it stays out of errors.
        let failed = |error: reqwest::Error| FetchError::Request(error.without_url());
        let answer = self.client.get(url).send().await.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(FetchError::Status(answer.status()));
        }
        let too_large = || FetchError::TooLarge(Bytes(self.max_bytes));
        if answer.content_length().is_some_and(|length| length > self.max_bytes) {
            return Err(too_large());
        }
        let mut whole = tempfile::Builder::new()
            .prefix(".fetch-")
            .tempfile_in(&self.directory)
            .map_err(FetchError::file("make a file in", &self.directory))?;
        let mut hasher = digest.hasher();
        let mut taken = 0u64;
        let mut body = answer.bytes_stream();
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(failed)?;
            taken += piece.len() as u64;
            if taken > self.max_bytes {
                return Err(too_large());
            }
            hasher.update(&piece);
            whole.write_all(&piece).map_err(FetchError::file("write", whole.path()))?;
        }
        let (expected, actual) = (digest.name(), hasher.name());
        if expected != actual {
            return Err(FetchError::Mismatch { expected, actual });
        }
        self.keep(whole, file)
    }

    /// Gives a checked droplet its name. It must be readable for the users of containers.
    fn keep(&self, whole: NamedTempFile, file: &Path) -> Result<(), FetchError> {
        let directory = file.parent().unwrap_or(&self.directory);
        fs::create_dir_all(directory).map_err(FetchError::file("make", directory))?;
        let readable = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        readable(directory, 0o755).map_err(FetchError::file("open up", directory))?;
        readable(whole.path(), 0o644).map_err(FetchError::file("open up", whole.path()))?;
        whole.persist(file).map_err(|error| FetchError::file("write", file)(error.error))?;
        Ok(())
    }

    /// Deletes what nothing holds: what was not used for `unused`, and the oldest beyond `budget`.
    pub(crate) fn collect(&self, budget: Bytes, unused: Duration, now: SystemTime) -> std::io::Result<u32> {
        let mut idle = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let figures = match fs::metadata(entry.path().join(DROPLET_FILE)) {
                Ok(figures) => figures,
                // A directory whose file is on its way, or a file that is being fetched.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            idle.push((figures.modified()?, figures.len(), name));
        }
        let mut total: u64 = idle.iter().map(|(_, bytes, _)| bytes).sum();
        idle.sort();
        let mut deleted = 0;
        for (used, bytes, name) in idle {
            let old = now.duration_since(used).is_ok_and(|age| age > unused);
            if !old && total <= budget.0 {
                continue;
            }
            let trash = self.directory.join(format!(".trash-{name}"));
            {
                // Under the lock, so that nobody takes hold of it between the look and the move.
                let mut leases = lock(&self.leases);
                if leases.get(&name).is_some_and(|lease| lease.strong_count() > 0) {
                    continue;
                }
                leases.remove(&name);
                fs::rename(self.directory.join(&name), &trash)?;
            }
            remove(&trash)?;
            total -= bytes;
            deleted += 1;
        }
        Ok(deleted)
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// A panic while such a lock was held has left nothing half done: each holds one map.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

//! What a login leaves on disk: the API's address, the tokens, and the targeted organization and space.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

/// The API's address when nobody named one: where `cupola up` serves it.
pub(crate) const DEFAULT_API: &str = "http://127.0.0.1:8081";

/// APIs that are remembered.
const MOST_KNOWN: usize = 20;

/// The file's content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Session {
    /// Address of the API.
    pub api: Option<String>,
    /// User name, for people.
    pub user: Option<String>,
    /// Access token.
    pub access_token: Option<String>,
    /// Refresh token.
    pub refresh_token: Option<String>,
    /// Targeted organization.
    pub organization: Option<Target>,
    /// Targeted space.
    pub space: Option<Target>,
    /// Addresses of APIs that somebody has logged in to from here, the last one first.
    pub known: Vec<String>,
}

/// A targeted thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// Its guid.
    pub guid: String,
    /// Its name.
    pub name: String,
}

impl Session {
    /// Reads the file; an empty session when there is none.
    pub(crate) fn load() -> Result<Self, Error> {
        let path = path();
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::File {
                action: "read the session",
                path,
                source: std::io::Error::new(ErrorKind::InvalidData, error),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::File { action: "read the session", path, source }),
        }
    }

    /// Writes the file, readable by its owner alone, whole or not at all.
    pub(crate) fn save(&self) -> Result<(), Error> {
        let path = path();
        let write = || -> std::io::Result<()> {
            if let Some(folder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let new = path.with_extension(format!("{}.new", std::process::id()));
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| Error::File { action: "write the session", path: path.clone(), source })
    }

    /// Notes that its API was logged in to.
    pub(crate) fn know(&mut self) {
        if let Some(api) = self.api.clone() {
            self.known.retain(|known| *known != api);
            self.known.insert(0, api);
            self.known.truncate(MOST_KNOWN);
        }
    }

    /// A session of nobody, that knows the same APIs.
    pub(crate) fn forgotten(&self, api: Option<String>) -> Self {
        Self { api, known: self.known.clone(), ..Self::default() }
    }

    /// The API's address: the environment's, else the session's, else where `cupola up` serves it.
    pub(crate) fn api_address(&self) -> String {
        std::env::var("CUPOLA_API")
            .ok()
            .or_else(|| self.api.clone())
            .unwrap_or_else(|| DEFAULT_API.to_owned())
    }

    /// Whether this login is one at the API with this address.
    pub(crate) fn is_of(&self, address: &str) -> bool {
        let own = self.api.as_deref().unwrap_or(DEFAULT_API);
        own.trim_end_matches('/') == address.trim_end_matches('/')
    }

    /// The targeted space.
    pub(crate) fn space(&self) -> Result<&Target, Error> {
        if self.access_token.is_none() {
            return Err(Error::NotLoggedIn);
        }
        self.space.as_ref().ok_or(Error::NoTarget)
    }
}

/// `$CUPOLA_HOME/config.json`, else `~/.cupola/config.json`.
fn path() -> PathBuf {
    let folder = std::env::var_os("CUPOLA_HOME").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into())).join(".cupola")
    });
    folder.join("config.json")
}

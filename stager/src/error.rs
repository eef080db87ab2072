//! Why a stager cannot work. Why one staging failed is a [`Failure`](crate::failure::Failure).

use std::{io, path::PathBuf};

/// Why a stager cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configured value cannot work.
    #[error("stager.{key} {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        reason: &'static str,
    },
    /// A configured buildpack is not there.
    #[error("the buildpack {name:?} is not in {folder}: put it there, or take it out of stager.buildpacks")]
    BuildpackMissing {
        /// Its name.
        name: String,
        /// The directory of buildpacks.
        folder: PathBuf,
    },
    /// The stacks cannot be read.
    #[error("cannot read the stacks")]
    Stacks {
        /// Why.
        #[source]
        source: rootfs::Error,
    },
    /// The bus failed.
    #[error("the stager's conversation on the bus failed")]
    Bus {
        /// Why.
        #[source]
        source: cupola_bus::Error,
    },
    /// The status page cannot be served.
    #[error("the stager cannot show its status")]
    Status {
        /// Why.
        #[source]
        source: cupola_status::Error,
    },
    /// The bus has closed its connection for good.
    #[error("the bus has closed its connection")]
    BusClosed,
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client")]
    Http {
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The system refused something.
    #[error("failed to {action} {path}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: an [`Error::Io`] about this action on this path.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }
}

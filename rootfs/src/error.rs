//! Everything that can go wrong with stacks.

use std::{io, path::PathBuf};

/// Why an operation on stacks failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Building needs root: packages are installed with their owners and modes.
    #[error("building a stack needs root: run this command with sudo")]
    NotRoot,
    /// A program that builds stacks is missing.
    #[error("the program {program} is missing: run `apt-get install mmdebstrap erofs-utils`")]
    ProgramMissing {
        /// Its name.
        program: &'static str,
    },
    /// There is no such recipe.
    #[error("there is no recipe {name:?}: the recipes are {known}")]
    UnknownRecipe {
        /// What was asked for.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// There is no such stack.
    #[error(
        "there is no stack {name:?} in {store}: build it with `cupola stack build`, see `cupola stack list`"
    )]
    UnknownStack {
        /// What was asked for.
        name: String,
        /// The store that was searched.
        store: PathBuf,
    },
    /// A name that could not be a file name.
    #[error(
        "{name:?} is not a name for a stack: use up to 63 of a-z, 0-9, dot, dash and underscore, beginning with a letter"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A recipe does not parse.
    #[error("recipe {name} does not parse")]
    Recipe {
        /// The recipe.
        name: String,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The host has no usable package source.
    #[error(
        "the host's package sources name no Debian archive for {suite}: add one to /etc/apt/sources.list, or name a file of sources"
    )]
    NoSources {
        /// The Debian release that the recipe asks for.
        suite: String,
    },
    /// Not enough space for the result, or for the tree.
    #[error(
        "{path} has {available_mib} MiB free, and the stack needs {needed_mib} MiB: free some space or use another data directory"
    )]
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// What is free.
        available_mib: u64,
        /// What is needed.
        needed_mib: u64,
    },
    /// A program of the build failed.
    #[error("building stack {stack} failed while it did {phase:?} ({status}); the last lines were:\n{lines}")]
    Build {
        /// The stack.
        stack: String,
        /// The phase, in words.
        phase: &'static str,
        /// The exit status of the build.
        status: std::process::ExitStatus,
        /// What was printed last.
        lines: String,
    },
    /// An image is not what its receipt says.
    #[error(
        "stack {name} is damaged: {path} {damage}; delete it with `cupola stack delete {name}` and build it again"
    )]
    Damaged {
        /// The stack.
        name: String,
        /// Its image.
        path: PathBuf,
        /// What is wrong.
        damage: String,
    },
    /// A receipt does not parse.
    #[error("{path} is not a receipt of a stack")]
    Receipt {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
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

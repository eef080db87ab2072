//! What can go wrong for a developer, each with what to do.

use cupola_protocol::size::InvalidSize;
use std::{error::Error as _, io, path::PathBuf};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers at the API's address.
    #[error(
        "the API at {api} does not answer: is the platform up (`cupola up`), and is the address right (`cupola api URL`)?"
    )]
    Unreachable {
        /// Its address.
        api: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The API refused a request.
    #[error("{detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// The API answered something that is not its JSON.
    #[error(
        "the API at {url} answered {status} with something else than its JSON: is this the address of a Cupola API?"
    )]
    NotAnApi {
        /// What was asked.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// No session.
    #[error("not logged in: run `cupola login`")]
    NotLoggedIn,
    /// The session is over.
    #[error("the login has expired: run `cupola login` again")]
    Expired,
    /// The credentials are wrong.
    #[error("the user name or the password is wrong")]
    WrongCredentials,
    /// A password can only be asked for at a terminal.
    #[error("there is no terminal to ask for the {what}: give it with {flag}")]
    NoTerminal {
        /// What is missing.
        what: &'static str,
        /// How it can be given.
        flag: &'static str,
    },
    /// No space is targeted.
    #[error("no space is targeted: run `cupola target -o ORG -s SPACE`")]
    NoTarget,
    /// A thing that the API does not have.
    #[error("there is no {kind} {name:?} here; `{list}` lists what there is")]
    Unknown {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The command that lists such things.
        list: &'static str,
    },
    /// A file or folder cannot be used.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing to push.
    #[error("{path} is empty (or everything in it is ignored): there is nothing to push")]
    EmptyApp {
        /// The folder.
        path: PathBuf,
    },
    /// An entry that would leave the app.
    #[error("{path}: {entry:?} {why}; remove it, or name it in .cupolaignore")]
    LeadsOut {
        /// The folder or archive.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// In which way.
        why: &'static str,
    },
    /// An archive that cannot be read.
    #[error("{path} is not a zip archive that can be read")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: zip::result::ZipError,
    },
    /// The manifest cannot be used.
    #[error("the manifest {path} cannot be used: {why}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A size cannot be read.
    #[error("{flag}: {source}")]
    Size {
        /// The flag.
        flag: &'static str,
        /// Why.
        source: InvalidSize,
    },
    /// An argument makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Staging failed.
    #[error("staging failed: {detail}")]
    Staging {
        /// What the platform said.
        detail: String,
    },
    /// No instance came up.
    #[error("the app does not run: {detail}")]
    NotRunning {
        /// What the platform said.
        detail: String,
    },
    /// A job of the platform failed.
    #[error("{what} failed: {detail}")]
    Job {
        /// What was asked.
        what: String,
        /// What the platform said.
        detail: String,
    },
    /// Something took longer than it may.
    #[error("{what} is not done after {seconds} s; `cupola logs {app} --recent` may tell why")]
    TooLong {
        /// What was waited for.
        what: &'static str,
        /// How long.
        seconds: u64,
        /// The app.
        app: String,
    },
}

impl Error {
    /// Whether the same may work in a moment: nobody was there to answer, or what answers lacked something.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !source.is_timeout() || source.is_connect(),
            Self::Refused { status, .. } | Self::NotAnApi { status, .. } => matches!(status, 502..=504),
            _ => false,
        }
    }
}

/// The message with its causes, each once.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    // What a size error says is in its message already.
    if matches!(error, Error::Size { .. }) {
        return text;
    }
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

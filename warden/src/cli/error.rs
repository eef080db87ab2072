//! Why a command failed, and the exit status that says so.

use std::error::Error as _;
use std::io;

/// Exit statuses of the operator's commands. A command that ran a job has the job's own: `warden run` and
/// `warden shell`, 255 where a signal ended it.
pub mod status {
    /// All was done.
    pub const SUCCESS: u8 = 0;
    /// The command was not carried out, or not wholly.
    pub const FAILED: u8 = 125;
    /// The program is there and cannot be executed, as shells say it.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// There is no such program, as shells say it.
    pub const NOT_FOUND: u8 = 127;
    /// What a shell reports for a program that SIGPIPE (13) has ended: nobody reads the output any more.
    pub const NOBODY_READS: u8 = 141;
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon refused, failed, or could not be asked.
    #[error("cannot {action}")]
    Warden {
        /// What was tried, and on what.
        action: String,
        /// The reason.
        #[source]
        source: Box<warden_client::Error>,
    },
    /// The system refused something to this command itself.
    #[error("cannot {action}")]
    System {
        /// What was tried, and on what.
        action: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The arguments cannot be what is wanted.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// A refusal of the system.
    pub(crate) fn system(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Error::System { action: action.into(), source: source.into() }
    }

    /// The exit status that tells of it.
    pub fn status(&self) -> u8 {
        match self {
            Error::Warden { source, .. } => match execution_failure(&source.to_string()) {
                Some(libc::ENOENT) => status::NOT_FOUND,
                Some(_) => status::NOT_EXECUTABLE,
                None => status::FAILED,
            },
            _ => status::FAILED,
        }
    }

    /// The error with its causes, and what to do about it where that is known.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        if let Error::Warden { source, .. } = self
            && source.is_unknown_handle()
        {
            text.push_str("; `warden list` shows the containers that there are");
        }
        text
    }
}

/// The error number with which a job's program could not be executed, if that is what the daemon says.
fn execution_failure(message: &str) -> Option<i32> {
    let (_, cause) = message.split_once("cannot start the job: execute")?;
    let (_, number) = cause.rsplit_once("(os error ")?;
    number.strip_suffix(')')?.parse().ok()
}

/// Names what was tried, when the daemon does not do it.
pub(crate) trait Doing<T> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, warden_client::Error> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Warden { action: action(), source: Box::new(source) })
    }
}

/// A job's exit status as this program's own.
pub(crate) fn job_status(exit_status: u32) -> u8 {
    u8::try_from(exit_status).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use warden_client::message::Type;

    fn refused(message: &str) -> Error {
        let refused = warden_client::Error::Refused { request: Type::Spawn, message: message.to_owned() };
        Err::<(), _>(refused).doing(|| "run \"x\" in web".to_owned()).unwrap_err()
    }

    #[test]
    fn a_program_that_is_not_there_is_told_from_one_that_cannot_be_executed() {
        let start = |step: &str, errno| {
            let failure = crate::wire::Failure::new(step, "/bin/x", errno);
            refused(&format!("cannot start the job: {failure}")).status()
        };
        assert_eq!(start("execute", libc::ENOENT), status::NOT_FOUND);
        assert_eq!(start("execute", libc::EACCES), status::NOT_EXECUTABLE);
        assert_eq!(start("enter the working directory", libc::ENOENT), status::FAILED);
        assert_eq!(refused("unknown handle: web").status(), status::FAILED);
    }

    #[test]
    fn an_error_says_what_was_tried_why_and_what_to_do() {
        assert_eq!(
            refused("unknown handle: web").chain(),
            "cannot run \"x\" in web: unknown handle: web; `warden list` shows the containers that there are"
        );
    }
}

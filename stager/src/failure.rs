//! Why one staging failed, in words for the developer who waits for it.

use cupola_protocol::{Bytes, Mebibytes, staging::ErrorInfo};
use std::time::Duration;

/// Where a staging stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Download,
    Unpack,
    Create,
    Detect,
    Compile,
    Release,
    Pack,
    Upload,
}

impl Phase {
    /// The phase as it stands in [`ErrorInfo::phase`].
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Unpack => "unpack",
            Self::Create => "create",
            Self::Detect => "detect",
            Self::Compile => "compile",
            Self::Release => "release",
            Self::Pack => "pack",
            Self::Upload => "upload",
        }
    }
}

/// Why a staging failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "the stager has {available} of {what} left and this staging needs {needed}: try again when another staging has ended, or give the stager more (stager.{key})"
    )]
    NoRoom { what: &'static str, key: &'static str, needed: Mebibytes, available: Mebibytes },
    #[error("this staging is already running")]
    AlreadyRunning,
    #[error("the stager is being shut down: push again when it is back")]
    ShuttingDown,
    #[error("Error staging: task stopped")]
    Stopped,
    #[error("staging took longer than {} s and was given up while it did {}: make it quicker, or allow more time (stager.max_duration_seconds)", limit.as_secs(), phase.as_str())]
    TimeExpired { limit: Duration, phase: Phase },
    #[error("{0}")]
    StackMissing(String),
    #[error("{0}")]
    PackageInvalid(String),
    #[error(
        "the package is larger than {limit}: leave out what is not needed (.cfignore), or allow more (stager.max_package_mb)"
    )]
    PackageTooLarge { limit: Mebibytes },
    #[error("cannot {action}: {reason}")]
    Transfer { phase: Phase, action: &'static str, reason: String },
    #[error("{0}")]
    BuildpackUnknown(String),
    #[error(
        "no buildpack recognises this app; asked were {asked}. Add what one of them looks for (package.json, requirements.txt, index.html or Staticfile, Procfile), or name one with -b"
    )]
    NoAppDetected { asked: String },
    #[error("the buildpack {buildpack} failed at {} with exit status {status}: see its last lines", phase.as_str())]
    Buildpack { phase: Phase, buildpack: String, status: i32, last_lines: Vec<String> },
    #[error(
        "the buildpack {buildpack} ran out of memory at {}: it used up all of the {limit} that the staging container may use. Push with more memory (-m), or allow stagings more (stager.staging_memory_mb)",
        phase.as_str()
    )]
    OutOfMemory { phase: Phase, buildpack: String, limit: Mebibytes, last_lines: Vec<String> },
    #[error("the disk of the staging container ({limit}) was full at {}: push with more disk (-k), or allow stagings more (stager.staging_disk_mb)", phase.as_str())]
    DiskFull { phase: Phase, limit: Mebibytes, last_lines: Vec<String> },
    #[error("bin/release of the buildpack {buildpack} did not print the YAML that it should: {reason}")]
    ReleaseInvalid { buildpack: String, reason: String },
    #[error("no start command: add a Procfile with a line `web: <command>`, or push with -c <command>")]
    NoStartCommand,
    #[error(
        "the droplet takes {size} when it is unpacked, more than the app's disk quota of {limit}: push with more disk (-k), or leave out what is not needed"
    )]
    DropletTooLarge { size: Bytes, limit: Mebibytes },
    #[error("the stager failed at {}: {reason}", phase.as_str())]
    Internal { phase: Phase, reason: String },
}

impl Failure {
    /// For `map_err`: something of the platform's own failed, with all its causes in one line.
    pub(crate) fn internal<E: std::error::Error>(phase: Phase) -> impl FnOnce(E) -> Failure {
        move |error| Failure::Internal { phase, reason: with_causes(&error) }
    }

    /// The failure as it goes on the bus. The names of kinds are the historic ones where there is one.
    pub(crate) fn info(&self) -> ErrorInfo {
        let kind = match self {
            Self::NoRoom { .. } => "InsufficientResources",
            Self::Stopped => "StagingStopped",
            Self::TimeExpired { .. } => "StagingTimeExpired",
            Self::StackMissing(_) => "StackNotFound",
            Self::PackageInvalid(_) | Self::PackageTooLarge { .. } => "AppBitsInvalid",
            Self::BuildpackUnknown(_) => "BuildpackNotFound",
            Self::NoAppDetected { .. } => "NoAppDetectedError",
            Self::Buildpack { phase: Phase::Release, .. } | Self::ReleaseInvalid { .. } => {
                "BuildpackReleaseFailed"
            }
            Self::Buildpack { phase: Phase::Detect, .. } => "BuildpackDetectFailed",
            Self::Buildpack { .. } => "BuildpackCompileFailed",
            Self::OutOfMemory { .. } => "StagingOutOfMemory",
            Self::DiskFull { .. } => "StagingOutOfDisk",
            Self::NoStartCommand => "StartCommandMissing",
            Self::DropletTooLarge { .. } => "DropletTooLarge",
            Self::AlreadyRunning | Self::ShuttingDown | Self::Transfer { .. } | Self::Internal { .. } => {
                "StagingError"
            }
        };
        ErrorInfo {
            kind: kind.to_owned(),
            message: self.to_string(),
            phase: self.phase().map(|phase| phase.as_str().to_owned()),
            exit_status: match self {
                Self::Buildpack { status, .. } => Some(*status),
                _ => None,
            },
            last_lines: match self {
                Self::Buildpack { last_lines, .. }
                | Self::OutOfMemory { last_lines, .. }
                | Self::DiskFull { last_lines, .. } => last_lines.clone(),
                _ => Vec::new(),
            },
        }
    }

    fn phase(&self) -> Option<Phase> {
        match self {
            Self::TimeExpired { phase, .. }
            | Self::Transfer { phase, .. }
            | Self::Buildpack { phase, .. }
            | Self::OutOfMemory { phase, .. }
            | Self::DiskFull { phase, .. }
            | Self::Internal { phase, .. } => Some(*phase),
            Self::PackageInvalid(_) => Some(Phase::Unpack),
            Self::PackageTooLarge { .. } => Some(Phase::Download),
            Self::StackMissing(_) => Some(Phase::Create),
            Self::BuildpackUnknown(_) | Self::NoAppDetected { .. } => Some(Phase::Detect),
            Self::ReleaseInvalid { .. } | Self::NoStartCommand => Some(Phase::Release),
            Self::DropletTooLarge { .. } => Some(Phase::Pack),
            Self::NoRoom { .. } | Self::AlreadyRunning | Self::ShuttingDown | Self::Stopped => None,
        }
    }
}

/// An error and everything that caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_buildpack_is_told_with_phase_status_and_last_lines() {
        let failure = Failure::Buildpack {
            phase: Phase::Compile,
            buildpack: "python".into(),
            status: 1,
            last_lines: vec!["No matching distribution".into()],
        };
        let info = failure.info();
        assert_eq!((info.kind.as_str(), info.phase.as_deref()), ("BuildpackCompileFailed", Some("compile")));
        assert_eq!((info.exit_status, info.last_lines.len()), (Some(1), 1));
    }

    #[test]
    fn out_of_memory_names_limit_and_remedy() {
        let failure = Failure::OutOfMemory {
            phase: Phase::Compile,
            buildpack: "nodejs".into(),
            limit: Mebibytes(1024),
            last_lines: vec![],
        };
        let text = failure.to_string();
        for part in ["nodejs", "1G", "-m", "staging_memory_mb"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
    }
}

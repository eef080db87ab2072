//! Log lines of apps on the bus: `logs.<app>`.

use crate::{message::Subject, *};
use serde::{Deserialize, Serialize};

/// Subject of one app's lines.
pub fn subject(app: &AppId) -> Subject {
    Subject::new(format!("logs.{app}"))
}

/// Subject of every app's lines, for subscribers.
pub fn all() -> Subject {
    Subject::new("logs.*")
}

/// Which output a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Who wrote a line, in the words of Cloud Foundry's `source_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Source {
    /// The app's process.
    #[serde(rename = "APP/PROC/WEB")]
    App,
    /// The stager.
    #[serde(rename = "STG")]
    Staging,
    /// The controller.
    #[serde(rename = "API")]
    Api,
    /// The router.
    #[serde(rename = "RTR")]
    Router,
    /// The node agent, about the instance.
    #[serde(rename = "CELL")]
    Cell,
}

impl Source {
    /// The word as it is shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "APP/PROC/WEB",
            Self::Staging => "STG",
            Self::Api => "API",
            Self::Router => "RTR",
            Self::Cell => "CELL",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// The app.
    pub app: AppId,
    /// Instance index, as text; `0` for sources that have none.
    pub instance_id: String,
    /// Who wrote it.
    pub source_type: Source,
    /// Which output.
    pub stream: Stream,
    /// When, in nanoseconds since 1970.
    pub timestamp: i64,
    /// The line, without its end.
    pub message: String,
}

/// A line longer than this many bytes is sent in pieces: a bus message must stay far below NATS' 1 MiB.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

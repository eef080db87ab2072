//! Refusals.

use serde::{Deserialize, Serialize};

/// Body of an answer that is no success. Lenient: a broker may send any of it, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A single word for programs; see [`Code`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// After a failed update or deletion: whether the instance can still be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_usable: Option<bool>,
    /// After a failed update: whether it may be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_repeatable: Option<bool>,
}

impl Refusal {
    /// A refusal for people alone.
    pub fn described(description: impl Into<String>) -> Self {
        Refusal { description: Some(description.into()), ..Self::default() }
    }

    /// A refusal that programs know as well.
    pub fn coded(code: Code, description: impl Into<String>) -> Self {
        Refusal { error: Some(code.as_str().to_owned()), ..Self::described(description) }
    }

    /// The code, if it is one that has a meaning.
    pub fn code(&self) -> Option<Code> {
        self.error.as_deref().and_then(Code::read)
    }
}

/// The codes that have a meaning; each comes with 422.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The plan works in the background alone: the request must say `accepts_incomplete=true`.
    AsyncRequired,
    /// Something else goes on with this instance.
    ConcurrencyError,
    /// Only apps can be bound.
    RequiresApp,
    /// The version in the request is not that of the catalog.
    MaintenanceInfoConflict,
}

impl Code {
    /// All of them.
    const ALL: [Code; 4] =
        [Code::AsyncRequired, Code::ConcurrencyError, Code::RequiresApp, Code::MaintenanceInfoConflict];

    /// As it stands in `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::AsyncRequired => "AsyncRequired",
            Code::ConcurrencyError => "ConcurrencyError",
            Code::RequiresApp => "RequiresApp",
            Code::MaintenanceInfoConflict => "MaintenanceInfoConflict",
        }
    }

    /// The code of this name.
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == name)
    }
}

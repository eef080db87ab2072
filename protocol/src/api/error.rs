//! How a request is refused.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What was wrong; at least one.
    pub errors: Vec<ErrorItem>,
}

/// One thing that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorItem {
    /// Number, as the list of errors of CF API v2 and v3 has it: 10010 is "not found".
    pub code: u32,
    /// Its name: `CF-ResourceNotFound`.
    pub title: String,
    /// What was wrong, and what to do, for people.
    pub detail: String,
}

impl fmt::Display for ErrorBody {
    /// The details, one sentence after the other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&error.detail)?;
        }
        Ok(())
    }
}

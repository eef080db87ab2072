//! What a message on the bus is.

use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// A NATS subject. Made only in this crate: the functions of the message modules and [`Event::SUBJECT`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(String);

impl Subject {
    pub(crate) fn new(subject: impl Into<String>) -> Self {
        Self(subject.into())
    }

    /// The subject of an event type.
    pub fn of<E: Event>() -> Self {
        Self::new(E::SUBJECT)
    }

    /// An address for answers, which the NATS client made; it is named for errors only.
    pub fn inbox(inbox: &str) -> Self {
        Self::new(inbox)
    }

    /// The subject as NATS spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Anything that travels on the bus as JSON.
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {}
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Message for T {}

/// A message with one fixed subject.
pub trait Event: Message {
    /// The subject that carries this message and no other.
    const SUBJECT: &'static str;
}

/// A message that is answered, once or several times.
pub trait Request: Message {
    /// What comes back.
    type Reply: Message;
}

/// A message without content. The historic publishers sent an empty string or `{}`; both are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Empty {}

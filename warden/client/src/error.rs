//! Why a call failed.

use cupola_protocol::warden::{Type, frame::FrameError};
use std::{io, path::PathBuf};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers on the socket.
    #[error("cannot connect to the warden at {socket}: is it running, and may this user open the socket?")]
    Connect {
        /// The socket's path.
        socket: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The connection broke in the middle of a call: the daemon ended or was restarted. The request may or may
    /// not have been carried out.
    #[error("the connection to the warden broke during {request:?}")]
    Broken {
        /// The request that was under way.
        request: Type,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The server has refused the request or failed at it; the text is for people.
    #[error("{message}")]
    Refused {
        /// The request.
        request: Type,
        /// The server's words.
        message: String,
    },
    /// The server sent bytes that are no frame.
    #[error("the warden's answer to {request:?} cannot be read")]
    Frame {
        /// The request that was under way.
        request: Type,
        /// The reason.
        #[source]
        source: FrameError,
    },
    /// The server sent a frame with a content that is not the response.
    #[error("the warden's answer to {request:?} has another content than expected")]
    Content {
        /// The request that was under way.
        request: Type,
        /// The reason.
        #[source]
        source: prost::DecodeError,
    },
    /// The server answered another request than ours.
    #[error("the warden answered {request:?} with a message of type {answer}")]
    Unexpected {
        /// The request that was under way.
        request: Type,
        /// The type number of the answer.
        answer: i32,
    },
}

impl Error {
    /// Whether the server knows no container of that handle: for a destroy, that is as good as done.
    pub fn is_unknown_handle(&self) -> bool {
        matches!(self, Error::Refused { message, .. } if message.starts_with("unknown handle"))
    }

    /// Whether the server could not be reached or went away, so that the call may succeed later.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Error::Connect { .. } | Error::Broken { .. })
    }
}

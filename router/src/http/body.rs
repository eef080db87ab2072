//! Bodies, whichever way they are delimited.

use super::chunked;
use bytes::{Bytes, BytesMut};

/// How a message says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No body.
    None,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The body ends with the connection; answers only.
    UntilClose,
}

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadBody {
    #[error("the size of a chunk is not a hexadecimal number")]
    ChunkSize,
    #[error("the line of a chunk's size is longer than {} bytes", chunked::MAX_SIZE_LINE)]
    ChunkLine,
    #[error("a chunk does not end with CR LF")]
    ChunkEnd,
    #[error("a trailer line is not a header line")]
    Trailer,
    #[error("the trailers are longer than {} bytes", chunked::MAX_TRAILERS)]
    TrailersTooLong,
}

/// What a decoder makes of the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Bytes of the body.
    Data(Bytes),
    /// More bytes are needed.
    More,
    /// The body is complete.
    End,
}

/// Takes a body off a stream of bytes.
#[derive(Debug)]
pub(crate) enum Decoder {
    Length(u64),
    Chunked(chunked::Decoder),
    UntilClose,
}

impl Decoder {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(chunked::Decoder::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Takes the next piece off `buffer`; what follows the body stays in it.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, BadBody> {
        match self {
            Self::Length(0) => Ok(Piece::End),
            Self::Length(_) | Self::UntilClose if buffer.is_empty() => Ok(Piece::More),
            Self::Length(left) => {
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= now as u64;
                Ok(Piece::Data(buffer.split_to(now).freeze()))
            }
            Self::UntilClose => Ok(Piece::Data(buffer.split().freeze())),
            Self::Chunked(decoder) => decoder.next(buffer),
        }
    }

    /// Whether the end of the stream is the end of this body.
    pub(crate) fn ends_with_stream(&self) -> bool {
        matches!(self, Self::UntilClose)
    }
}

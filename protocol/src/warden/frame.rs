//! Frames: the decimal byte length in ASCII, CR LF, that many bytes of an encoded [`Envelope`], CR LF.

use super::Envelope;
use bytes::{Buf, BufMut, BytesMut};
use prost::Message;

/// The largest envelope that is accepted, in bytes. Scripts are the largest thing that is sent.
pub const MAX_FRAME: usize = 16 << 20;

/// Digits of the largest length that is read at all.
const MAX_DIGITS: usize = 10;

/// Bytes that are no frame. The connection is of no further use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length line is missing or not a decimal number.
    #[error("a frame must begin with its length in decimal digits and CR LF")]
    Length,
    /// The frame is longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is longer than the limit of {MAX_FRAME}")]
    TooLong(usize),
    /// No CR LF follows the announced number of bytes.
    #[error("a frame must end with CR LF")]
    End,
    /// The bytes between are not an envelope.
    #[error("a frame's content is not an encoded message")]
    Content(#[source] prost::DecodeError),
}

/// Appends one frame to `buffer`.
pub fn encode(envelope: &Envelope, buffer: &mut BytesMut) {
    let length = envelope.encoded_len();
    let digits = length.to_string();
    buffer.reserve(digits.len() + length + 4);
    buffer.put_slice(digits.as_bytes());
    buffer.put_slice(b"\r\n");
    buffer.put(envelope.encode_to_vec().as_slice());
    buffer.put_slice(b"\r\n");
}

/// Takes one whole frame from the front of `buffer`; `None` when more bytes are needed, and then `buffer` is
/// left as it was.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Envelope>, FrameError> {
    let digits = buffer.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > MAX_DIGITS || (digits == 0 && !buffer.is_empty()) {
        return Err(FrameError::Length);
    }
    let after = &buffer[digits..];
    if !b"\r\n".starts_with(&after[..after.len().min(2)]) {
        return Err(FrameError::Length);
    }
    if after.len() < 2 {
        return Ok(None);
    }
    // Ten digits fit a u64, and a usize on the 64-bit machines that we run on.
    let length = buffer[..digits].iter().fold(0usize, |sum, digit| sum * 10 + usize::from(digit - b'0'));
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    let whole = digits + 2 + length + 2;
    if buffer.len() < whole {
        return Ok(None);
    }
    let mut frame = buffer.split_to(whole);
    if !frame.ends_with(b"\r\n") {
        return Err(FrameError::End);
    }
    frame.advance(digits + 2);
    frame.truncate(length);
    Envelope::decode(frame.freeze()).map(Some).map_err(FrameError::Content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warden::{EchoRequest, Type};
    use proptest::prelude::*;

    fn envelope(text: &str) -> Envelope {
        Envelope::new(Type::Echo, &EchoRequest { message: text.to_owned() })
    }

    #[test]
    fn a_frame_is_length_line_content_line() {
        let mut buffer = BytesMut::new();
        encode(&envelope("hi"), &mut buffer);
        assert_eq!(&buffer[..], b"8\r\n\x08\x5d\x12\x04\x0a\x02hi\r\n");
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let refused = |bytes: &[u8]| decode(&mut BytesMut::from(bytes)).unwrap_err();
        assert_eq!(refused(b"\r\n"), FrameError::Length);
        assert_eq!(refused(b"-1\r\n"), FrameError::Length);
        assert_eq!(refused(b"8\n"), FrameError::Length);
        assert_eq!(refused(b"99999999999"), FrameError::Length);
        assert_eq!(refused(b"99999999\r\n"), FrameError::TooLong(99_999_999));
        assert_eq!(refused(b"2\r\n\x08\x5dxx"), FrameError::End);
        assert!(matches!(refused(b"1\r\n\x08\r\n"), FrameError::Content(_)));
    }

    proptest! {
        #[test]
        fn frames_survive_any_chunking(texts in prop::collection::vec(".{0,40}", 1..8), cut in 1usize..40) {
            let mut bytes = BytesMut::new();
            for text in &texts {
                encode(&envelope(text), &mut bytes);
            }
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for chunk in bytes.chunks(cut) {
                buffer.extend_from_slice(chunk);
                while let Some(envelope) = decode(&mut buffer).unwrap() {
                    seen.push(EchoRequest::decode(envelope.payload).unwrap().message);
                }
            }
            prop_assert_eq!(seen, texts);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&mut BytesMut::from(&bytes[..]));
        }
    }
}

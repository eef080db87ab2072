//! The chunked transfer coding (RFC 9112 §7.1), taken apart: extensions and trailers are dropped, and what is
//! forwarded is chunked anew.

use super::body::{BadBody, Piece};
use bytes::{Buf, BytesMut};

/// Bytes of the line that holds a chunk's size, its extensions included.
pub(crate) const MAX_SIZE_LINE: usize = 256;
/// Bytes of all trailers.
pub(crate) const MAX_TRAILERS: usize = 16 * 1024;
/// Hexadecimal digits of a size: what fits 64 bits.
const MAX_DIGITS: usize = 16;

/// Where in the coding we are.
///
/// ```text
/// Size ── size line, n > 0 ──▶ Data(n) ──▶ DataEnd ──▶ Size
///   └──── size line, 0 ──▶ Trailers ── empty line ──▶ Done
/// ```
#[derive(Debug, Default)]
pub(crate) enum Decoder {
    #[default]
    Size,
    Data(u64),
    DataEnd,
    Trailers {
        seen: usize,
    },
    Done,
}

impl Decoder {
    /// Takes the next piece off `buffer`.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, BadBody> {
        loop {
            match self {
                Self::Size => {
                    let Some(length) = line(buffer, MAX_SIZE_LINE, BadBody::ChunkSize, BadBody::ChunkLine)?
                    else {
                        return Ok(Piece::More);
                    };
                    let size = size(&buffer[..length])?;
                    buffer.advance(length + 2);
                    *self = if size == 0 { Self::Trailers { seen: 0 } } else { Self::Data(size) };
                }
                Self::Data(_) if buffer.is_empty() => return Ok(Piece::More),
                Self::Data(left) => {
                    let now = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    *left -= now as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Piece::Data(buffer.split_to(now).freeze()));
                }
                Self::DataEnd => match &buffer[..] {
                    [b'\r', b'\n', ..] => {
                        buffer.advance(2);
                        *self = Self::Size;
                    }
                    [] | [b'\r'] => return Ok(Piece::More),
                    _ => return Err(BadBody::ChunkEnd),
                },
                Self::Trailers { seen } => {
                    let room = MAX_TRAILERS.saturating_sub(*seen);
                    let Some(length) = line(buffer, room, BadBody::Trailer, BadBody::TrailersTooLong)? else {
                        return Ok(Piece::More);
                    };
                    let trailer = &buffer[..length];
                    let named = trailer.iter().position(|byte| *byte == b':').is_some_and(|colon| {
                        colon > 0 && trailer[..colon].iter().all(|byte| byte.is_ascii_graphic())
                    });
                    if length > 0 && !named {
                        return Err(BadBody::Trailer);
                    }
                    *seen += length + 2;
                    buffer.advance(length + 2);
                    if *seen > MAX_TRAILERS {
                        return Err(BadBody::TrailersTooLong);
                    }
                    if length == 0 {
                        *self = Self::Done;
                    }
                }
                Self::Done => return Ok(Piece::End),
            }
        }
    }
}

/// The length of the first line without its CR LF; `None` when more bytes are needed.
fn line(buffer: &[u8], limit: usize, bad: BadBody, long: BadBody) -> Result<Option<usize>, BadBody> {
    for (at, byte) in buffer.iter().enumerate().take(limit + 1) {
        match byte {
            b'\r' => match buffer.get(at + 1) {
                None => return Ok(None),
                Some(b'\n') => return Ok(Some(at)),
                Some(_) => return Err(bad),
            },
            b'\n' | 0 => return Err(bad),
            _ => {}
        }
    }
    if buffer.len() > limit { Err(long) } else { Ok(None) }
}

/// Reads `1F4;name=value`.
fn size(line: &[u8]) -> Result<u64, BadBody> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let extension_follows = matches!(line.get(digits), None | Some(b';'));
    if digits == 0 || digits > MAX_DIGITS || !extension_follows {
        return Err(BadBody::ChunkSize);
    }
    let digits = std::str::from_utf8(&line[..digits]).map_err(|_| BadBody::ChunkSize)?;
    u64::from_str_radix(digits, 16).map_err(|_| BadBody::ChunkSize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A body and what is left over; none when there was too little.
    type Decoded = Option<(Vec<u8>, Vec<u8>)>;

    /// Decodes in steps of `step` bytes.
    fn decode(bytes: &[u8], step: usize) -> Result<Decoded, BadBody> {
        let mut decoder = Decoder::default();
        let mut buffer = BytesMut::new();
        let mut body = Vec::new();
        let mut input = bytes.chunks(step);
        loop {
            match decoder.next(&mut buffer)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::End => {
                    let mut rest = buffer.to_vec();
                    input.for_each(|more| rest.extend_from_slice(more));
                    return Ok(Some((body, rest)));
                }
                Piece::More => match input.next() {
                    Some(more) => buffer.extend_from_slice(more),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn chunks_are_joined_and_what_follows_is_kept() {
        let coded = b"5\r\nhello\r\n6;name=\"v\"\r\n world\r\n0\r\nSum: 1\r\n\r\nGET";
        for step in 1..coded.len() {
            assert_eq!(decode(coded, step), Ok(Some((b"hello world".to_vec(), b"GET".to_vec()))));
        }
        assert_eq!(decode(b"5\r\nhello\r\n0\r\n", 3), Ok(None));
    }

    #[test]
    fn what_others_could_read_differently_is_refused() {
        let cases: [(&[u8], BadBody); 14] = [
            (b"0x5\r\nhello\r\n0\r\n\r\n", BadBody::ChunkSize),
            (b"-1\r\n", BadBody::ChunkSize),
            (b"+5\r\nhello\r\n", BadBody::ChunkSize),
            (b" 5\r\nhello\r\n", BadBody::ChunkSize),
            (b"5 \r\nhello\r\n", BadBody::ChunkSize),
            (b"\r\nhello\r\n", BadBody::ChunkSize),
            (b"5\nhello\r\n0\r\n\r\n", BadBody::ChunkSize),
            (b"5;a\nhello\r\n0\r\n\r\n", BadBody::ChunkSize),
            (b"10000000000000000\r\n", BadBody::ChunkSize),
            (b"5\r\nhelloXX0\r\n\r\n", BadBody::ChunkEnd),
            (b"5\r\nhello\n0\r\n\r\n", BadBody::ChunkEnd),
            (b"0\r\n folded\r\n\r\n", BadBody::Trailer),
            (b"0\r\nname : v\r\n\r\n", BadBody::Trailer),
            (b"0\r\n\n", BadBody::Trailer),
        ];
        for (coded, bad) in cases {
            assert_eq!(decode(coded, 1), Err(bad), "{:?}", String::from_utf8_lossy(coded));
        }
        let long = format!("5;{}\r\n", "x".repeat(MAX_SIZE_LINE));
        assert_eq!(decode(long.as_bytes(), 7), Err(BadBody::ChunkLine));
        let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(MAX_TRAILERS / 6 + 1));
        assert_eq!(decode(trailers.as_bytes(), 64), Err(BadBody::TrailersTooLong));
    }

    proptest! {
        #[test]
        fn any_body_in_any_chunks_comes_back(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..20),
            rest in proptest::collection::vec(any::<u8>(), 0..20),
            step in 1usize..400,
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\n");
            coded.extend_from_slice(&rest);
            prop_assert_eq!(decode(&coded, step), Ok(Some((chunks.concat(), rest))));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), step in 1usize..50) {
            let _ = decode(&bytes, step);
        }
    }
}

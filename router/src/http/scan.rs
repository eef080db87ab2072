//! Where a head ends.
//!
//! httparse takes a bare LF for the end of a line, as many servers do; one that does not would see another
//! message. So every line is looked at here before httparse sees it.

use super::request::BadHead;

/// Looks for the empty line that ends a head.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    at: usize,
    line: usize,
}

impl Scan {
    /// The length of the head with its empty line, or `None` when more bytes are needed. Goes on where the
    /// last call ended: `buffer` must only have grown since.
    pub(crate) fn end(&mut self, buffer: &[u8]) -> Result<Option<usize>, BadHead> {
        while let Some(&byte) = buffer.get(self.at) {
            match byte {
                b'\r' => match buffer.get(self.at + 1) {
                    None => return Ok(None),
                    Some(b'\n') => {
                        let empty = self.at == self.line;
                        self.at += 2;
                        self.line = self.at;
                        if empty {
                            return Ok(Some(self.at));
                        }
                    }
                    Some(_) => return Err(BadHead::LineEnd),
                },
                b'\n' => return Err(BadHead::LineEnd),
                0 => return Err(BadHead::Nul),
                _ => self.at += 1,
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(bytes: &[u8]) -> Result<Option<usize>, BadHead> {
        let whole = Scan::default().end(bytes);
        // Byte by byte must say the same as all at once.
        let mut scan = Scan::default();
        let mut piecewise = Ok(None);
        for length in 0..=bytes.len() {
            piecewise = scan.end(&bytes[..length]);
            if !matches!(piecewise, Ok(None)) {
                break;
            }
        }
        assert_eq!(whole, piecewise, "{:?}", String::from_utf8_lossy(bytes));
        whole
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest"), Ok(Some(27)));
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n\r"), Ok(None));
        assert_eq!(end(b""), Ok(None));
    }

    #[test]
    fn other_line_ends_are_refused() {
        assert_eq!(end(b"GET / HTTP/1.1\nHost: a\n\n"), Err(BadHead::LineEnd));
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n\n"), Err(BadHead::LineEnd));
        assert_eq!(end(b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n"), Err(BadHead::LineEnd));
        assert_eq!(end(b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n"), Err(BadHead::LineEnd));
        assert_eq!(end(b"GET / HTTP/1.1\r\nA: \0\r\n\r\n"), Err(BadHead::Nul));
    }
}

//! The header lines of one head.

use bytes::Bytes;

/// Where a name and its value lie in the head.
#[derive(Debug, Clone, Copy)]
struct Place {
    name: (usize, usize),
    value: (usize, usize),
}

/// Header lines in their order; names and values as they were sent.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    raw: Bytes,
    places: Vec<Place>,
}

impl Fields {
    /// Takes what httparse found in `raw`: its names and values are slices of it.
    pub(crate) fn new(raw: Bytes, headers: &[httparse::Header<'_>]) -> Self {
        let base = raw.as_ptr() as usize;
        let place = |bytes: &[u8]| (bytes.as_ptr() as usize - base, bytes.len());
        let places = headers
            .iter()
            .map(|header| Place {
                name: place(header.name.as_bytes()),
                // An empty value need not point into the head.
                value: if header.value.is_empty() { (0, 0) } else { place(header.value) },
            })
            .collect();
        Self { raw, places }
    }

    fn slice(&self, (at, length): (usize, usize)) -> &[u8] {
        &self.raw[at..at + length]
    }

    /// All lines as (name, value).
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places.iter().map(|place| (self.slice(place.name), self.slice(place.value)))
    }

    /// The values of every line of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first line of this name.
    pub(crate) fn first<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Whether one of the comma-separated words of this name's lines is `token`.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(tokens).any(|word| word.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether a `Connection` line makes this header one that is not forwarded.
    pub(crate) fn nominated(&self, name: &[u8]) -> bool {
        self.all("connection").flat_map(tokens).any(|word| word.eq_ignore_ascii_case(name))
    }
}

/// The comma-separated words of a value.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|word| !word.is_empty())
}

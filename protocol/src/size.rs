//! Sizes as types: the wire uses megabytes for limits and bytes for figures, and mixing them up was a
//! historic bug.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A number of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A number of mebibytes (2^20 bytes): what the historic messages call "MB".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mebibytes(pub u64);

impl Mebibytes {
    /// The same size in bytes; saturates instead of overflowing.
    pub fn bytes(self) -> Bytes {
        Bytes(self.0.saturating_mul(1 << 20))
    }
}

impl Bytes {
    /// Whole mebibytes, rounded down.
    pub fn mebibytes(self) -> Mebibytes {
        Mebibytes(self.0 >> 20)
    }
}

impl fmt::Display for Mebibytes {
    /// `256M`, or `2G` where it is whole gibibytes: the form that manifests use.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1024 && self.0.is_multiple_of(1024) {
            write!(f, "{}G", self.0 / 1024)
        } else {
            write!(f, "{}M", self.0)
        }
    }
}

impl fmt::Display for Bytes {
    /// With a binary unit and one decimal: `1.5M`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];
        for (unit, factor) in UNITS {
            if self.0 >= factor {
                return write!(f, "{:.1}{unit}", self.0 as f64 / factor as f64);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A size that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size: write a number with a unit, such as 512M or 2G")]
pub struct InvalidSize(pub String);

impl FromStr for Mebibytes {
    type Err = InvalidSize;

    /// Reads `64M`, `64MB`, `1G`, `1GB`, any case, as manifests write them. A number without a unit is
    /// refused: nobody can tell what was meant.
    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let invalid = || InvalidSize(text.to_owned());
        let upper = text.trim().to_ascii_uppercase();
        let digits = upper.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor = match &upper[digits.len()..] {
            "M" | "MB" | "MIB" => 1,
            "G" | "GB" | "GIB" => 1024,
            "T" | "TB" | "TIB" => 1024 * 1024,
            _ => return Err(invalid()),
        };
        let number: u64 = digits.parse().map_err(|_| invalid())?;
        number.checked_mul(factor).map(Mebibytes).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_manifests_write_them() {
        for (text, expected) in [("64M", 64), ("64mb", 64), ("1G", 1024), (" 2GB ", 2048), ("1T", 1 << 20)] {
            assert_eq!(text.parse(), Ok(Mebibytes(expected)), "{text}");
        }
        for text in ["", "64", "M", "-1M", "1.5G", "64K", "99999999999999999999G", "18446744073709551615T"] {
            assert!(text.parse::<Mebibytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_as_they_are_read() {
        for size in [Mebibytes(1), Mebibytes(1024), Mebibytes(1536)] {
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!(Bytes(1536 * 1024).to_string(), "1.5M");
        assert_eq!(Bytes(12).to_string(), "12B");
    }
}

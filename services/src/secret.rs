//! Generated names and passwords.

use rand::RngExt;
use sha2::{Digest, Sha256};

/// Letters and digits alone: they need no quoting in any language that they end up in.
const ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Characters of a password: 57^32 is more than 2^186.
const LENGTH: usize = 32;

/// Most characters of a name: PostgreSQL cuts longer ones off.
const LONGEST_NAME: usize = 63;

/// A new password.
pub(crate) fn password() -> String {
    let mut random = rand::rng();
    (0..LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// So many hex digits that stand for these parts and, as good as certainly, for no others.
pub(crate) fn digest(parts: &[&str], digits: usize) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut text = hex::encode(hash.finalize());
    text.truncate(digits);
    text
}

/// Whether this may be the name of an instance or a user: a lower case letter, then lower case letters and digits.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= LONGEST_NAME
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Whether this may be a password of a binding: letters and digits, 16 to 128.
pub(crate) fn is_password(text: &str) -> bool {
    (16..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_and_are_passwords() {
        let (one, two) = (password(), password());
        assert_ne!(one, two);
        assert!(is_password(&one) && is_password(&two));
    }

    #[test]
    fn what_would_need_quoting_is_no_name() {
        for name in ["d1", "u0af", "a"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "1d", "D", "a-b", "a b", "a'b", "a\"", "ä", &"a".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(!is_password("short") && !is_password("with a space in it and long"));
    }

    #[test]
    fn a_digest_tells_where_parts_end() {
        assert_ne!(digest(&["ab", "c"], 26), digest(&["a", "bc"], 26));
        assert_eq!(digest(&["a"], 26).len(), 26);
    }
}

//! Signed addresses: HMAC-SHA512 over the address' path and its sorted query. The key is made anew at each start
//! of the agent, and never leaves it.

use super::Refusal;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use url::form_urlencoded::Serializer;

/// Bytes of the key: the block of SHA-512 is 128, more would be hashed down.
const KEY_BYTES: usize = 64;

/// Signs, and checks what it has signed.
pub(super) struct Signer {
    key: [u8; KEY_BYTES],
    seconds: u64,
}

impl std::fmt::Debug for Signer {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("seconds", &self.seconds).finish_non_exhaustive()
    }
}

impl Signer {
    /// With a new key; what it signs is good for so many seconds.
    pub(super) fn new(seconds: u64) -> Self {
        Self { key: rand::random(), seconds }
    }

    /// Path and query of an address, signed at `now` (seconds since 1970).
    pub(super) fn sign(&self, url_path: &str, path: &str, now: u64) -> String {
        let query = query(path, now);
        let hmac = hex::encode(self.mac(url_path, &query).finalize().into_bytes());
        format!("{url_path}?{query}&hmac={hmac}")
    }

    /// Whether an address may be used at `now`. Only path, `path` and `timestamp` are signed: who has the address
    /// may add how it is to be read.
    pub(super) fn check(
        &self,
        url_path: &str,
        (path, timestamp, hmac): (&str, &str, &str),
        now: u64,
    ) -> Result<(), Refusal> {
        let made = timestamp.parse().map_err(|_| Refusal::NotSigned)?;
        let hmac = hex::decode(hmac).map_err(|_| Refusal::NotSigned)?;
        // In constant time.
        self.mac(url_path, &query(path, made)).verify_slice(&hmac).map_err(|_| Refusal::NotSigned)?;
        if now.saturating_sub(made) > self.seconds { Err(Refusal::Expired) } else { Ok(()) }
    }

    fn mac(&self, url_path: &str, query: &str) -> Hmac<Sha512> {
        let mut mac = Hmac::<Sha512>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(format!("{url_path}?{query}").as_bytes());
        mac
    }
}

/// Sorted by name, and written in one way only.
fn query(path: &str, timestamp: u64) -> String {
    Serializer::new(String::new())
        .append_pair("path", path)
        .append_pair("timestamp", &timestamp.to_string())
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn parts(address: &str) -> (String, BTreeMap<String, String>) {
        let (path, query) = address.split_once('?').unwrap();
        (path.to_owned(), url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    #[test]
    fn an_address_is_good_for_one_path_of_one_instance_and_a_while() {
        let signer = Signer::new(60);
        let (url_path, pairs) = parts(&signer.sign("/instance_paths/i", "logs/a b&c=d.log", 1000));
        let check = |signer: &Signer, url_path: &str, path: &str, timestamp: &str, now| {
            signer.check(url_path, (path, timestamp, &pairs["hmac"]), now)
        };
        let (path, timestamp) = (pairs["path"].as_str(), pairs["timestamp"].as_str());
        assert_eq!((path, timestamp), ("logs/a b&c=d.log", "1000"));
        assert_eq!(check(&signer, &url_path, path, timestamp, 1060), Ok(()));
        assert_eq!(check(&signer, &url_path, path, timestamp, 1061), Err(Refusal::Expired));
        for (url_path, path, timestamp) in [
            ("/instance_paths/j", path, timestamp),
            (url_path.as_str(), "logs", timestamp),
            (url_path.as_str(), path, "1001"),
            (url_path.as_str(), path, "soon"),
        ] {
            assert_eq!(check(&signer, url_path, path, timestamp, 1000), Err(Refusal::NotSigned));
        }
        assert_eq!(check(&Signer::new(60), &url_path, path, timestamp, 1000), Err(Refusal::NotSigned));
        for hmac in ["", "zz", "00"] {
            assert_eq!(signer.check(&url_path, (path, timestamp, hmac), 1000), Err(Refusal::NotSigned));
        }
    }
}

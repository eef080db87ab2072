//! Signed addresses: who has one may do one thing, for a while. Nodes and stagers get them in messages and need
//! no credentials of their own.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use time::OffsetDateTime;

/// Makes and checks signed addresses: HMAC-SHA256 over method, path and expiry.
pub(crate) struct Signer {
    sign: EncodingKey,
    verify: DecodingKey,
    seconds: u64,
}

impl std::fmt::Debug for Signer {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("seconds", &self.seconds).finish_non_exhaustive()
    }
}

impl Signer {
    pub(crate) fn new(secret: &str, seconds: u64) -> Self {
        Self {
            sign: EncodingKey::from_secret(secret.as_bytes()),
            verify: DecodingKey::from_secret(secret.as_bytes()),
            seconds,
        }
    }

    /// An address under `base` that is good for this method and path, until it expires.
    pub(crate) fn url(&self, base: &str, method: &str, path: &str) -> String {
        let expires = OffsetDateTime::now_utc().unix_timestamp().saturating_add_unsigned(self.seconds);
        let signature = self.signature(method, path, expires);
        format!("{base}{path}?expires={expires}&signature={signature}")
    }

    /// Whether a request may be served.
    pub(crate) fn check(&self, method: &str, path: &str, expires: i64, signature: &str) -> bool {
        // What does not decode is not handed to the verifier.
        URL_SAFE_NO_PAD.decode(signature).is_ok()
            && expires >= OffsetDateTime::now_utc().unix_timestamp()
            && crypto::verify(
                signature,
                message(method, path, expires).as_bytes(),
                &self.verify,
                Algorithm::HS256,
            )
            .unwrap_or(false)
    }

    fn signature(&self, method: &str, path: &str, expires: i64) -> String {
        crypto::sign(message(method, path, expires).as_bytes(), &self.sign, Algorithm::HS256)
            .expect("HMAC takes keys and messages of any length")
    }
}

fn message(method: &str, path: &str, expires: i64) -> String {
    format!("{method}\n{path}\n{expires}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (String, i64, String) {
        let (path, query) = url.split_once('?').unwrap();
        let (expires, signature) = query.split_once('&').unwrap();
        let expires = expires.strip_prefix("expires=").unwrap().parse().unwrap();
        (path.to_owned(), expires, signature.strip_prefix("signature=").unwrap().to_owned())
    }

    #[test]
    fn an_address_is_good_for_one_method_one_path_and_a_while() {
        let signer = Signer::new("secret", 60);
        let (path, expires, signature) = parts(&signer.url("", "GET", "/internal/x"));
        assert!(signer.check("GET", &path, expires, &signature));
        assert!(!signer.check("POST", &path, expires, &signature));
        assert!(!signer.check("GET", "/internal/y", expires, &signature));
        assert!(!signer.check("GET", &path, expires + 1, &signature));
        assert!(!signer.check("GET", &path, expires, "AAAA"));
        assert!(!signer.check("GET", &path, expires, "not base64!"));
        assert!(!Signer::new("other", 60).check("GET", &path, expires, &signature));
        let past = OffsetDateTime::now_utc().unix_timestamp() - 1;
        let signature = signer.signature("GET", &path, past);
        assert!(!signer.check("GET", &path, past, &signature));
    }
}

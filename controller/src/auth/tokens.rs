//! Access tokens: JWT, HS256, signed with the platform's own secret. Refresh tokens: random, only their digest is
//! kept, and removing it revokes them.

use crate::store::UserRow;
use cupola_protocol::api::{CLI_CLIENT, Claims};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// For whom tokens are.
const AUDIENCE: &str = "cloud_controller";

/// Makes and reads access tokens.
pub(crate) struct Tokens {
    encode: EncodingKey,
    decode: DecodingKey,
    validation: Validation,
    issuer: String,
    seconds: u64,
}

impl std::fmt::Debug for Tokens {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(secret: &str, domain: &str, seconds: u64) -> Self {
        let issuer = format!("http://uaa.{domain}/oauth/token");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[&issuer]);
        validation.leeway = 0;
        Self {
            encode: EncodingKey::from_secret(secret.as_bytes()),
            decode: DecodingKey::from_secret(secret.as_bytes()),
            validation,
            issuer,
            seconds,
        }
    }

    /// Seconds for which a token is good.
    pub(crate) fn seconds(&self) -> u64 {
        self.seconds
    }

    /// A new access token and what it says.
    pub(crate) fn grant(
        &self,
        user: &UserRow,
        grant: &str,
    ) -> Result<(String, Claims), jsonwebtoken::errors::Error> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let mut scope = vec!["openid", "cloud_controller.read", "cloud_controller.write"];
        if let Some(role) = user.platform_role() {
            scope.push(role.name());
        }
        let claims = Claims {
            jti: crate::store::new_guid(),
            sub: user.guid.clone(),
            user_id: user.guid.clone(),
            user_name: user.name.clone(),
            email: user.name.clone(),
            origin: "uaa".to_owned(),
            client_id: CLI_CLIENT.to_owned(),
            cid: CLI_CLIENT.to_owned(),
            grant_type: grant.to_owned(),
            scope: scope.into_iter().map(str::to_owned).collect(),
            iss: self.issuer.clone(),
            aud: vec![CLI_CLIENT.to_owned(), AUDIENCE.to_owned()],
            rev_sig: revocable(&user.password_hash),
            iat: now,
            exp: now.saturating_add_unsigned(self.seconds),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encode)?;
        Ok((token, claims))
    }

    /// What a token says, when it is ours and has not expired.
    pub(crate) fn read(&self, token: &str) -> Option<Claims> {
        jsonwebtoken::decode(token, &self.decode, &self.validation).ok().map(|data| data.claims)
    }
}

/// What ties an access token to the password that it was granted for: another one ends it.
pub(crate) fn revocable(password_hash: &str) -> String {
    hex::encode(&Sha256::digest(password_hash)[..8])
}

/// What is kept of a refresh token.
pub(crate) fn digest(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserRow {
        UserRow {
            guid: "u".into(),
            name: "admin".into(),
            password_hash: String::new(),
            admin: false,
            admin_read_only: false,
            known: true,
            created_at: String::new(),
            updated_at: String::new(),
        }
    }

    #[test]
    fn a_token_is_read_back_by_its_maker_only_and_only_in_time() {
        let tokens = Tokens::new("secret", "x.test", 60);
        let (token, claims) = tokens.grant(&user(), "password").unwrap();
        assert_eq!(tokens.read(&token), Some(claims.clone()));
        assert!(!claims.scope.contains(&"cloud_controller.admin".to_owned()));
        assert_eq!(Tokens::new("other", "x.test", 60).read(&token), None);
        assert_eq!(Tokens::new("secret", "y.test", 60).read(&token), None);
        assert_eq!(tokens.read(""), None);
        let late = Claims { exp: claims.iat - 1, ..claims };
        let late = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &late, &tokens.encode).unwrap();
        assert_eq!(tokens.read(&late), None);
        // "alg: none" is not a signature.
        let mut parts = token.split('.');
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts.nth(1).unwrap());
        assert_eq!(tokens.read(&unsigned), None);
    }
}

//! Logging in: `POST /oauth/token`, `GET /login`.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// Client id of command line clients; its secret is empty.
pub const CLI_CLIENT: &str = "cf";

/// Form body of `POST /oauth/token`, with Basic authorization `cf:`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "grant_type", rename_all = "snake_case")]
pub enum TokenRequest {
    /// With user name and password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// With the refresh token of an earlier answer.
    RefreshToken {
        /// That token.
        refresh_token: String,
    },
}

impl fmt::Debug for TokenRequest {
    /// Without secrets: this lands in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => {
                f.debug_struct("Password").field("username", username).finish_non_exhaustive()
            }
            Self::RefreshToken { .. } => f.debug_struct("RefreshToken").finish_non_exhaustive(),
        }
    }
}

/// Answer of `POST /oauth/token`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What goes into `Authorization: bearer …`: a signed JWT with [`Claims`].
    pub access_token: String,
    /// Always `bearer`.
    pub token_type: String,
    /// What gets the next access token; none for some servers' clients.
    #[serde(default)]
    pub refresh_token: String,
    /// Seconds until the access token expires.
    pub expires_in: u64,
    /// What the token allows, separated by blanks.
    #[serde(default)]
    pub scope: String,
    /// Id of the token.
    #[serde(default)]
    pub jti: String,
}

impl fmt::Debug for Token {
    /// Without secrets: this lands in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("jti", &self.jti).field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// What an access token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Id of the token.
    pub jti: String,
    /// The user's guid.
    pub sub: String,
    /// The user's guid again, where UAA's clients look for it.
    pub user_id: String,
    /// The user's name.
    pub user_name: String,
    /// The user's address; the name when there is none.
    #[serde(default)]
    pub email: String,
    /// Who keeps the user: `uaa`.
    #[serde(default)]
    pub origin: String,
    /// The client.
    pub client_id: String,
    /// The client again.
    pub cid: String,
    /// How it was granted: `password`.
    #[serde(default)]
    pub grant_type: String,
    /// What it allows.
    pub scope: Vec<String>,
    /// Who issued it.
    pub iss: String,
    /// For whom.
    pub aud: Vec<String>,
    /// Changes when the user's password does, and ends the token.
    #[serde(default)]
    pub rev_sig: String,
    /// Issued at, in seconds since 1970.
    pub iat: i64,
    /// Expires at, in seconds since 1970.
    pub exp: i64,
}

/// Why no token was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenError {
    /// Word of OAuth 2: `unauthorized`, `invalid_grant`, `invalid_token`, …
    pub error: String,
    /// For people.
    pub error_description: String,
}

/// `GET /login`: what to ask a person for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginInfo {
    /// By field, its type (`text`, `password`) and its words.
    pub prompts: BTreeMap<String, (String, String)>,
    /// Addresses by name.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Version and the like.
    #[serde(default)]
    pub app: BTreeMap<String, String>,
}

//! Logging in: `GET /login`, `POST /oauth/token`, `GET /token_keys`.

use super::{endpoints::Endpoints, input::Base};
use crate::{
    access::{Access, Action},
    auth::{User, digest, verify_password},
    context::{Context, Shared},
    secrets,
    store::{self, UserRow},
};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use cupola_protocol::api::{CLI_CLIENT, LoginInfo, Token, TokenError, TokenRequest};
use std::{collections::BTreeMap, time::Duration};
use time::OffsetDateTime;
use url::form_urlencoded;

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/login", Access::Public, login)
        .post("/oauth/token", Access::Public, token)
        // The tokens of our clients are signed with a secret of ours: there is no key to publish.
        .get("/token_keys", Access::Public, || async { Json(serde_json::json!({"keys": []})) })
        .delete("/oauth/token/revoke/user/{guid}", Access::Handler, revoke)
        .get("/oauth/token/revoke/user/{guid}", Access::Handler, revoke)
}

async fn login(State(context): State<Shared>, base: Base) -> Json<LoginInfo> {
    let prompt = |kind: &str, words: &str| (kind.to_owned(), words.to_owned());
    Json(LoginInfo {
        prompts: BTreeMap::from([
            ("username".to_owned(), prompt("text", "User name")),
            ("password".to_owned(), prompt("password", "Password")),
        ]),
        links: BTreeMap::from([("login".to_owned(), base.url("")), ("uaa".to_owned(), base.url(""))]),
        app: BTreeMap::from([
            ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("name".to_owned(), context.config.domain.clone()),
        ]),
    })
}

/// A refusal in OAuth's own form (RFC 6749 §5.2).
fn refuse(status: StatusCode, error: &str, description: &str) -> Response {
    let body = TokenError { error: error.to_owned(), error_description: description.to_owned() };
    (status, Json(body)).into_response()
}

async fn token(State(context): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    if client(&headers, &form) != Some((CLI_CLIENT.to_owned(), String::new())) {
        return refuse(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "Bad credentials of the client: it is cf, with an empty secret",
        );
    }
    let field = |name: &str| form.get(name).cloned();
    let request = match (
        field("grant_type").as_deref(),
        field("username"),
        field("password"),
        field("refresh_token"),
    ) {
        (Some("password"), Some(username), Some(password), _) => {
            TokenRequest::Password { username, password }
        }
        (Some("refresh_token"), _, _, Some(refresh_token)) => TokenRequest::RefreshToken { refresh_token },
        (Some("password" | "refresh_token"), ..) => {
            return refuse(StatusCode::BAD_REQUEST, "invalid_request", "The grant lacks a field");
        }
        (kind, ..) => {
            let words = format!("Grant type {kind:?} is not supported: use password or refresh_token");
            return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", &words);
        }
    };
    match grant(&context, request).await {
        Ok(Some(token)) => ([(header::CACHE_CONTROL, "no-store")], Json(token)).into_response(),
        Ok(None) => refuse(StatusCode::UNAUTHORIZED, "unauthorized", "Bad credentials"),
        Err(error) => {
            tracing::error!(error, "cannot grant a token");
            refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "Tokens cannot be granted now: try again later",
            )
        }
    }
}

/// The client's id and secret, from the header or the form.
fn client(headers: &HeaderMap, form: &BTreeMap<String, String>) -> Option<(String, String)> {
    let Some(header) = headers.get(header::AUTHORIZATION) else {
        return Some((
            form.get("client_id")?.clone(),
            form.get("client_secret").cloned().unwrap_or_default(),
        ));
    };
    let (kind, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !kind.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

async fn grant(context: &Context, request: TokenRequest) -> Result<Option<Token>, String> {
    let failed = |error: sqlx::Error| error.to_string();
    let (user, refresh, kind) = match request {
        TokenRequest::Password { username, password } => {
            let user = store::user_named(&context.pool, &username).await.map_err(failed)?;
            let hash = user.as_ref().map(|user| user.password_hash.clone());
            let _permit = context.checking.acquire().await.map_err(|error| error.to_string())?;
            let good = tokio::task::spawn_blocking(move || verify_password(&password, hash.as_deref()))
                .await
                .map_err(|error| error.to_string())?;
            match user {
                Some(user) if good && user.known => (user, None, "password"),
                _ => {
                    tracing::warn!(user = username, "refused a login");
                    return Ok(None);
                }
            }
        }
        TokenRequest::RefreshToken { refresh_token } => {
            match store::refresh_token_user(&context.pool, &digest(&refresh_token)).await.map_err(failed)? {
                Some(user) => (user, Some(refresh_token), "refresh_token"),
                None => return Ok(None),
            }
        }
    };
    // A refresh token stays good until it expires: clients that run side by side share one.
    let refresh = match refresh {
        Some(token) => token,
        None => new_refresh_token(context, &user).await.map_err(failed)?,
    };
    let (access_token, claims) = context.tokens.grant(&user, kind).map_err(|error| error.to_string())?;
    Ok(Some(Token {
        access_token,
        token_type: "bearer".to_owned(),
        refresh_token: refresh,
        expires_in: context.tokens.seconds(),
        scope: claims.scope.join(" "),
        jti: claims.jti,
    }))
}

async fn new_refresh_token(context: &Context, user: &UserRow) -> store::Result<String> {
    let token = secrets::generate();
    let expires = OffsetDateTime::now_utc() + Duration::from_secs(context.config.refresh_token_seconds);
    store::insert_refresh_token(&context.pool, &digest(&token), &user.guid, &store::stamp(expires)).await?;
    Ok(token)
}

/// Revokes all refresh tokens of a user, as UAA does at this address: one's own, or an administrator anyone's.
async fn revoke(
    State(context): State<Shared>,
    user: User,
    axum::extract::Path(guid): axum::extract::Path<String>,
) -> Result<Json<serde_json::Value>, super::ApiError> {
    if user.guid() != guid {
        user.may_on_platform(Action::Administer)?;
    }
    store::revoke_refresh_tokens(&context.pool, &guid).await?;
    Ok(Json(serde_json::json!({"status": "ok", "message": "all refresh tokens of the user are revoked"})))
}

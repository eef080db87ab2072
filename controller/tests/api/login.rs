//! Tokens, and who may do what.

use crate::platform::{Platform, mode};
use cupola_protocol::api::Token;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn grant(platform: &Platform, form: &[(&str, &str)], client: &str) -> (StatusCode, Value) {
    let url = format!("{}/oauth/token", platform.base);
    let answer = platform.client.post(url).basic_auth(client, Some("")).form(form).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

#[tokio::test]
async fn the_first_administrator_has_a_password_of_his_own_in_a_private_file() {
    let mut platform = Platform::start().await;
    assert_eq!(mode(&platform.config.data_dir.join("admin-password")), 0o600);
    if platform.postgres.is_none() {
        assert_eq!(mode(&platform.config.data_dir.join("controller.db")), 0o600);
    }
    assert!(platform.password().len() >= 43);
    let prompts = platform.get("/login").await;
    assert_eq!(prompts["prompts"]["password"][0], "password");
    for (form, client) in [
        ([("grant_type", "password"), ("username", "admin"), ("password", "admin")], "cf"),
        ([("grant_type", "password"), ("username", "nobody"), ("password", "x")], "cf"),
        ([("grant_type", "password"), ("username", "admin"), ("password", &platform.password())], "other"),
    ] {
        let (status, answer) = grant(&platform, &form, client).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer["error"], "unauthorized");
    }
    // A second start makes no second password.
    let password = platform.password();
    platform.restart().await;
    assert_eq!(platform.password(), password);
    // Tokens outlive the process that signed them.
    platform.get("/v3/apps").await;
}

#[tokio::test]
async fn a_refresh_token_is_good_until_it_is_revoked() {
    let platform = Platform::start().await;
    let Token { access_token, refresh_token, token_type, .. } = platform.login().await;
    assert_eq!(token_type, "bearer");
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
    let (status, answer) = grant(&platform, &form, "cf").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_ne!(answer["access_token"], access_token.as_str());
    let users = platform.get("/v3/users").await;
    let user = users["resources"][0]["guid"].as_str().unwrap();
    platform.get(&format!("/oauth/token/revoke/user/{user}")).await;
    let (status, _) = grant(&platform, &form, "cf").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = grant(&platform, &[("grant_type", "client_credentials")], "cf").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn without_a_good_token_nothing_is_told() {
    let mut platform = Platform::with(|config| config.access_token_seconds = 1).await;
    for path in ["/v3/apps", "/v3/organizations", "/v3/packages/x", "/api/v1/read/x", "/v3/jobs/x"] {
        let answer = platform.client.get(format!("{}{path}", platform.base)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 401, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["errors"][0]["code"], 10002);
    }
    // An expired token is one that is not good.
    let deadline = std::time::Instant::now() + crate::platform::PATIENCE;
    while platform.send(Method::GET, "/v3/apps", Value::Null).await.0 != StatusCode::UNAUTHORIZED {
        assert!(std::time::Instant::now() < deadline, "the token never expires");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    platform.token = "not.a.token".to_owned();
    let detail = platform.refused(Method::GET, "/v3/apps", Value::Null, 401).await;
    assert!(detail.contains("log in"), "{detail}");
}

#[tokio::test]
async fn only_administrators_make_organizations() {
    let mut platform = Platform::start().await;
    let organization = platform.post("/v3/organizations", json!({"name": "second"})).await;
    let side = json!({"organization": {"data": {"guid": organization["guid"]}}});
    let space = platform.post("/v3/spaces", json!({"name": "s", "relationships": side})).await;
    let role = json!({"type": "space_developer", "relationships": {
        "user": {"data": {"username": "admin"}}, "space": {"data": {"guid": space["guid"]}}}});
    let detail = platform.refused(Method::POST, "/v3/roles", role.clone(), 422).await;
    assert!(detail.contains("space's organization"), "{detail}");
    let member = json!({"type": "organization_user", "relationships": {
        "user": {"data": {"username": "admin"}}, "organization": {"data": {"guid": organization["guid"]}}}});
    let member = platform.post("/v3/roles", member).await;
    platform.post("/v3/roles", role.clone()).await;
    assert!(platform.refused(Method::POST, "/v3/roles", role, 422).await.contains("already has"));
    let member = format!("/v3/roles/{}", member["guid"].as_str().unwrap());
    assert!(platform.refused(Method::DELETE, &member, Value::Null, 422).await.contains("take those first"));
    let path = format!("/v3/organizations/{}", organization["guid"].as_str().unwrap());
    // What is in it goes with it.
    platform.delete(&path).await;
    platform
        .refused(Method::GET, &format!("/v3/spaces/{}", space["guid"].as_str().unwrap()), Value::Null, 404)
        .await;
    assert_eq!(platform.rows("roles").await, 0);

    sqlx::query("UPDATE users SET admin = 0").execute(&mut platform.database().await).await.unwrap();
    platform.token = platform.login().await.access_token;
    platform.get("/v3/organizations").await;
    let detail = platform.refused(Method::POST, "/v3/organizations", json!({"name": "third"}), 403).await;
    assert!(detail.contains("administrator"), "{detail}");
}

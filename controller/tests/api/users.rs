//! Users, their passwords, their roles: what changes counts from the next request on.

use crate::platform::{Platform, text};
use reqwest::Method;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";

async fn organization(platform: &Platform) -> String {
    platform.named("/v3/organizations", &platform.config.organization).await
}

/// The requests of `cf create-user`, `cf set-org-role`, `cf set-space-role`, `cf org-users`, `cf delete-user`.
#[tokio::test]
async fn users_are_made_and_removed_as_the_cf_cli_does() {
    let platform = Platform::start().await;
    let p = &platform;
    let ann = p.make_user("ann", PASSWORD, json!([])).await;
    let detail = p.refused(Method::POST, "/v3/users", json!({"guid": ann}), 422).await;
    assert!(detail.contains("already exists"), "{detail}");
    let wish = json!({"userName": "ann", "password": PASSWORD});
    let (status, answer) = p.send(Method::POST, "/Users", wish).await;
    assert_eq!(status.as_u16(), 409);
    assert_eq!(answer["error"], "scim_resource_already_exists", "{answer}");
    let found = p.get("/Users?filter=userName%20Eq%20%22ann%22").await;
    assert_eq!((&found["totalResults"], &found["resources"][0]["id"]), (&json!(1), &json!(ann)));
    assert_eq!(p.get("/Users?filter=userName%20Eq%20%22bob%22").await["totalResults"], 0);
    p.refused(Method::GET, "/Users?filter=name%20co%20x", Value::Null, 400).await;

    let (organization, space) = (organization(p).await, p.space().await);
    let member = json!({"type": "organization_user", "relationships": {
        "user": {"data": {"username": "ann", "origin": "uaa"}},
        "organization": {"data": {"guid": organization}}}});
    p.post("/v3/roles", member.clone()).await;
    assert!(p.refused(Method::POST, "/v3/roles", member, 422).await.contains("already has"));
    let role = p.give_role("space_developer", &ann, &space).await;
    let with_users = p.get(&format!("/v3/roles?organization_guids={organization}&include=user")).await;
    assert_eq!(with_users["included"]["users"][0]["username"], "ann", "{with_users}");
    for (kind, part) in [("space_king", "space_developer"), ("organization_manager", "No user exists")] {
        let wish = json!({"type": kind, "relationships": {
            "user": {"data": {"username": "bob"}}, "organization": {"data": {"guid": organization}}}});
        assert!(p.refused(Method::POST, "/v3/roles", wish, 422).await.contains(part));
    }

    let tokens = p.login_as("ann", PASSWORD).await.unwrap();
    let ask =
        async |path: &str| p.send_as(Some(&tokens.access_token), &Method::GET, path, &Value::Null).await;
    assert_eq!(ask(&format!("/v3/spaces/{space}")).await.0.as_u16(), 200);
    // A role that is taken is gone at once, without another token.
    p.delete(&format!("/v3/roles/{role}")).await;
    assert_eq!(ask(&format!("/v3/spaces/{space}")).await.0.as_u16(), 404);
    assert_eq!(ask(&format!("/v3/organizations/{organization}")).await.0.as_u16(), 200);

    // Once the controller has forgotten her, neither token nor password is good; then UAA forgets her too.
    p.delete(&format!("/v3/users/{ann}")).await;
    let (status, answer) = ask("/v3/organizations").await;
    assert_eq!(status.as_u16(), 401, "{answer}");
    assert!(answer.contains("\"code\":1000"), "{answer}");
    assert!(p.login_as("ann", PASSWORD).await.is_none());
    p.refused(Method::GET, &format!("/v3/users/{ann}"), Value::Null, 404).await;
    p.ok(Method::DELETE, &format!("/Users/{ann}"), Value::Null).await;
    p.refused(Method::DELETE, &format!("/Users/{ann}"), Value::Null, 404).await;
    assert_eq!(ask("/v3/organizations").await.0.as_u16(), 401);
    // The name is free again.
    p.make_user("ann", PASSWORD, json!([])).await;
}

#[tokio::test]
async fn a_new_password_ends_every_token_of_the_old_one() {
    let mut platform = Platform::start().await;
    let p = &platform;
    let ann = p.make_user("ann", PASSWORD, json!([])).await;
    let before = p.login_as("ann", PASSWORD).await.unwrap();
    let path = format!("/Users/{ann}/password");
    let change = async |old: &str, new: &str| {
        let wish = json!({"oldPassword": old, "password": new});
        let (status, answer) = p.send_as(Some(&before.access_token), &Method::PUT, &path, &wish).await;
        (status.as_u16(), answer)
    };
    for (old, new, status, part) in [
        ("wrong", "another long one", 401, "Old password is incorrect"),
        (PASSWORD, "short", 422, "at least 8 characters"),
        (PASSWORD, PASSWORD, 422, "cannot be the same"),
        (PASSWORD, &"x".repeat(2000), 422, "no more than"),
    ] {
        let (found, answer) = change(old, new).await;
        assert_eq!(found, status, "{answer}");
        assert!(answer.contains(part), "{answer}");
    }
    assert_eq!(change(PASSWORD, "another long one").await.0, 200);
    let (status, answer) = change("another long one", PASSWORD).await;
    assert_eq!(status, 401, "the token was granted for the old password: {answer}");
    assert!(answer.contains("invalid_token"), "UAA's clients refresh on this word: {answer}");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", before.refresh_token.as_str())];
    assert!(p.grant(&refresh).await.is_none(), "a refresh token outlived its password");
    assert!(p.login_as("ann", PASSWORD).await.is_none());
    let after = p.login_as("ann", "another long one").await.unwrap();
    // An administrator needs no old password; users may not change each other's.
    let admin = p.get("/Users?filter=userName%20eq%20%22admin%22").await;
    let admin = text(&admin["resources"][0], "id");
    let wish = json!({"password": "taken over by ann"});
    let other = format!("/Users/{admin}/password");
    assert_eq!(p.send_as(Some(&after.access_token), &Method::PUT, &other, &wish).await.0.as_u16(), 403);
    p.ok(Method::PUT, &path, json!({"password": "given by the admin"})).await;
    assert!(p.login_as("ann", "given by the admin").await.is_some());
    // The administrator's own needs the old one.
    p.refused(Method::PUT, &other, json!({"password": "no old one here"}), 401).await;
    let wish = json!({"oldPassword": p.password(), "password": "chosen by the admin"});
    p.ok(Method::PUT, &other, wish).await;
    platform.token = platform.login_as("admin", "chosen by the admin").await.unwrap().access_token;
    platform.get("/v3/apps").await;
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let platform = Platform::start().await;
    let p = &platform;
    let found = p.get("/Users?filter=userName%20eq%20%22admin%22").await;
    let admin = text(&found["resources"][0], "id");
    for path in [format!("/v3/users/{admin}"), format!("/Users/{admin}")] {
        assert!(p.refused(Method::DELETE, &path, Value::Null, 422).await.contains("last administrator"));
    }
    let wish = json!({"userName": "x", "password": PASSWORD, "groups": [{"display": "wheel"}]});
    assert!(p.refused(Method::POST, "/Users", wish, 422).await.contains("wheel"));
    p.make_user("second", PASSWORD, json!([{"display": "cloud_controller.admin"}])).await;
    // Who removes himself cannot ask for the job any more.
    let (status, answer) = p.send(Method::DELETE, &format!("/v3/users/{admin}"), Value::Null).await;
    assert_eq!(status.as_u16(), 202, "{answer}");
    let second = p.login_as("second", PASSWORD).await.unwrap().access_token;
    let answer = p.send_as(Some(&second), &Method::POST, "/v3/organizations", &json!({"name": "x"})).await;
    assert_eq!(answer.0.as_u16(), 201, "{answer:?}");
}

/// Tokens that were altered, that another secret signed, or that name somebody else.
#[tokio::test]
async fn an_altered_token_is_no_token() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let platform = Platform::start().await;
    let p = &platform;
    p.make_user("ann", PASSWORD, json!([])).await;
    let token = p.login_as("ann", PASSWORD).await.unwrap().access_token;
    let [head, claims, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().expect("a token has three parts");
    let mut said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    said["scope"] = json!(["cloud_controller.admin"]);
    let raised = URL_SAFE_NO_PAD.encode(said.to_string());
    let unsigned = URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "JWT"}).to_string());
    let mut other = signature.to_owned();
    other.replace_range(0..1, if other.starts_with('A') { "B" } else { "A" });
    for bad in [
        format!("{head}.{raised}.{signature}"),
        format!("{unsigned}.{raised}."),
        format!("{head}.{claims}.{other}"),
        format!("{head}.{claims}"),
        String::new(),
    ] {
        let (status, answer) = p.send_as(Some(&bad), &Method::GET, "/v3/apps", &Value::Null).await;
        assert_eq!(status.as_u16(), 401, "{bad}: {answer}");
        assert!(answer.contains("CF-InvalidAuthToken"), "{answer}");
    }
    assert_eq!(p.send_as(Some(&token), &Method::GET, "/v3/apps", &Value::Null).await.0.as_u16(), 200);
}

#[tokio::test]
async fn organizations_are_renamed_and_suspended() {
    let platform = Platform::start().await;
    let p = &platform;
    let organization = organization(p).await;
    let manager = p.make_user("manager", PASSWORD, json!([])).await;
    p.give_role("organization_manager", &manager, &organization).await;
    let token = p.login_as("manager", PASSWORD).await.unwrap().access_token;
    let path = format!("/v3/organizations/{organization}");
    let patch = async |wish: Value| {
        let (status, answer) = p.send_as(Some(&token), &Method::PATCH, &path, &wish).await;
        (status.as_u16(), answer)
    };
    assert_eq!(patch(json!({"name": "renamed"})).await.0, 200);
    assert_eq!(patch(json!({"suspended": true})).await.0, 403);
    p.post("/v3/organizations", json!({"name": "second"})).await;
    let (status, answer) = patch(json!({"name": "second"})).await;
    assert_eq!(status, 422);
    assert!(answer.contains("already exists"), "{answer}");
    assert_eq!(p.ok(Method::PATCH, &path, json!({"suspended": true})).await["suspended"], true);
    let (status, answer) = patch(json!({"name": "again"})).await;
    assert_eq!(status, 403);
    assert!(answer.contains("CF-OrgSuspended"), "{answer}");
    assert_eq!(p.get(&path).await["name"], "renamed");
    let space = format!("/v3/spaces/{}", p.space().await);
    p.ok(Method::PATCH, &path, json!({"suspended": false})).await;
    assert_eq!(
        p.send_as(Some(&token), &Method::PATCH, &space, &json!({"name": "prod"})).await.0.as_u16(),
        200
    );
    assert_eq!(p.get(&space).await["name"], "prod");
}

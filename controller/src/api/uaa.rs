//! Users as UAA's clients keep them: made with a password, looked up, given another password, removed. The `cf` CLI
//! speaks to these addresses in `create-user`, `passwd` and `delete-user`.

use super::{
    ApiError,
    endpoints::Endpoints,
    input::{Input, Params, bad_query},
    tenancy::check_name,
};
use crate::{
    access::{Access, Action, Role},
    auth::{User, hash_password, verify_password},
    context::{Context, Shared},
    store::{self, UserRow},
};
use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use cupola_protocol::api::{
    ChangePassword, CreateScimUser, ErrorItem, ScimEmail, ScimGroup, ScimUser, ScimUsers,
};
use serde_json::{Value, json};

/// The longest password, in bytes: hashing reads all of it.
const LONGEST_PASSWORD: usize = 1024;
/// The most users of one answer, as in UAA.
const MAX_COUNT: u64 = 500;

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/Users", Access::Platform(Action::ReadPlatform), list)
        .post("/Users", Access::Platform(Action::Administer), create)
        .get("/Users/{guid}", Access::Handler, one)
        .delete("/Users/{guid}", Access::Platform(Action::Administer), delete)
        .put("/Users/{guid}/password", Access::Handler, change_password)
}

fn show(row: UserRow) -> ScimUser {
    let groups = row.platform_role().map(|role| ScimGroup { display: role.name().to_owned() });
    ScimUser {
        id: row.guid,
        origin: "uaa".to_owned(),
        emails: vec![ScimEmail { value: row.name.clone(), primary: true }],
        user_name: row.name,
        groups: groups.into_iter().collect(),
        active: row.known,
    }
}

/// A refusal of a password.
fn bad_password(detail: impl Into<String>) -> ApiError {
    ApiError::new(422, 20001, "invalid_password", detail)
}

fn check_password(context: &Context, password: &str) -> Result<(), ApiError> {
    let least = context.config.password_min_length;
    if password.chars().count() < least {
        return Err(bad_password(format!("Password must be at least {least} characters in length.")));
    }
    if password.len() > LONGEST_PASSWORD {
        return Err(bad_password(format!(
            "Password must be no more than {LONGEST_PASSWORD} bytes in length."
        )));
    }
    Ok(())
}

/// Hashes on a thread for it, few at a time.
async fn hashed(context: &Context, password: String) -> Result<String, ApiError> {
    let broken = |what: String| {
        tracing::error!(error = what, "a password cannot be hashed");
        ApiError::new(500, 10001, "UnknownError", "The password could not be taken: try again.")
    };
    let _permit = context.checking.acquire().await.map_err(|error| broken(error.to_string()))?;
    let hash = tokio::task::spawn_blocking(move || hash_password(&password)).await;
    hash.map_err(|error| broken(error.to_string()))?.map_err(broken)
}

/// The only filters that are understood: `userName eq "x"` and `id eq "x"`, in any case.
fn parse_filter(text: &str) -> Result<(bool, String), ApiError> {
    let wrong = || bad_query(&format!("filter can be userName eq \"NAME\" or id eq \"GUID\", not {text:?}"));
    let mut words = text.trim().splitn(3, ' ');
    let (field, operator, value) = (words.next(), words.next(), words.next());
    let (Some(field), Some(operator), Some(value)) = (field, operator, value) else { return Err(wrong()) };
    let quoted = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let value = quoted.filter(|value| !value.contains('"')).ok_or_else(wrong)?.to_owned();
    match (field.to_ascii_lowercase().as_str(), operator.to_ascii_lowercase().as_str()) {
        ("username", "eq") => Ok((true, value)),
        ("id", "eq") => Ok((false, value)),
        _ => Err(wrong()),
    }
}

async fn list(State(context): State<Shared>, params: Params) -> Result<Json<ScimUsers>, ApiError> {
    let start = params.number("startIndex", 1u64)?.max(1);
    let count = params.number("count", 100u64)?.min(MAX_COUNT);
    let filters = match params.get("filter").filter(|text| !text.is_empty()) {
        None => Vec::new(),
        Some(text) => {
            let (by_name, value) = parse_filter(text)?;
            let column = if by_name { "name IN (" } else { "guid IN (" };
            vec![store::Filter::new(column, vec![value], ")")]
        }
    };
    let selection =
        store::Selection { offset: start - 1, limit: count, ..store::Selection::all("users", filters) };
    let (total, rows) = store::list::<UserRow>(&context.pool, &selection).await?;
    Ok(Json(ScimUsers {
        resources: rows.into_iter().map(show).collect(),
        start_index: start,
        items_per_page: count,
        total_results: total,
        schemas: vec!["urn:scim:schemas:core:1.0".to_owned()],
    }))
}

async fn create(
    State(context): State<Shared>,
    user: User,
    Input(wish): Input<CreateScimUser>,
) -> Result<(StatusCode, Json<ScimUser>), ApiError> {
    check_name(&wish.user_name)?;
    if !matches!(wish.origin.as_str(), "" | "uaa") {
        let detail = format!("The origin {:?} is not supported: users are kept here alone.", wish.origin);
        return Err(ApiError::unprocessable(detail));
    }
    let mut role = None;
    for group in &wish.groups {
        role = match group.display.as_str() {
            name if name == Role::Administrator.name() => Some(Role::Administrator),
            name if name == Role::ReadOnlyAdministrator.name() => role.or(Some(Role::ReadOnlyAdministrator)),
            name => return Err(ApiError::unprocessable(format!("The group {name:?} is unknown."))),
        };
    }
    let password = wish.password.ok_or_else(|| bad_password("A password is required."))?;
    check_password(&context, &password)?;
    let hash = hashed(&context, password).await?;
    let row = match store::insert_uaa_user(&context.pool, &wish.user_name, &hash, role).await {
        Ok(row) => row,
        Err(error) if store::is_duplicate(&error) => {
            let detail = format!("Username already in use: {}", wish.user_name);
            return Err(ApiError::new(409, 20002, "scim_resource_already_exists", detail));
        }
        Err(error) => return Err(error.into()),
    };
    tracing::info!(by = user.guid(), user = row.guid, ?role, "made a user");
    Ok((StatusCode::CREATED, Json(show(row))))
}

async fn row(context: &Context, guid: &str) -> Result<UserRow, ApiError> {
    store::get(&context.pool, "users", guid).await?.ok_or_else(|| ApiError::not_found("User"))
}

/// One's own, or an administrator anyone's; of others one does not learn that they are there.
async fn one(
    State(context): State<Shared>,
    user: User,
    Path(guid): Path<String>,
) -> Result<Json<ScimUser>, ApiError> {
    if user.guid() != guid {
        user.may_on_platform(Action::ReadPlatform)?;
    }
    Ok(Json(show(row(&context, &guid).await?)))
}

async fn delete(
    State(context): State<Shared>,
    user: User,
    Path(guid): Path<String>,
) -> Result<Json<ScimUser>, ApiError> {
    let row = row(&context, &guid).await?;
    if !store::delete_user(&context.pool, &guid).await? {
        return Err(ApiError::last_administrator());
    }
    tracing::info!(by = user.guid(), user = guid, "removed a user");
    Ok(Json(show(row)))
}

/// One's own with the old one, or an administrator anyone's. Every token of the user ends with the old password.
async fn change_password(
    State(context): State<Shared>,
    user: User,
    Path(guid): Path<String>,
    Input(wish): Input<ChangePassword>,
) -> Result<Json<Value>, ApiError> {
    let own = user.guid() == guid;
    if !own {
        user.may_on_platform(Action::Administer)?;
    }
    let row = row(&context, &guid).await?;
    check_password(&context, &wish.password)?;
    if own {
        let old = wish.old_password.unwrap_or_default();
        if old == wish.password {
            return Err(bad_password("Your new password cannot be the same as the old password."));
        }
        let hash = row.password_hash.clone();
        let permit = context.checking.acquire().await;
        let good = permit.is_ok()
            && tokio::task::spawn_blocking(move || verify_password(&old, Some(&hash))).await.unwrap_or(false);
        drop(permit);
        if !good {
            tracing::warn!(user = guid, "refused a change of password");
            return Err(ApiError::unauthenticated(10002, "unauthorized", "Old password is incorrect"));
        }
    }
    let hash = hashed(&context, wish.password).await?;
    if !store::set_password(&context.pool, &guid, &row.password_hash, &hash).await? {
        return Err(ApiError::new(409, 10001, "conflict", "The password was changed by another request."));
    }
    tracing::info!(by = user.guid(), user = guid, "changed a password");
    Ok(Json(json!({"status": "ok", "message": "password updated"})))
}

/// Says refusals of these addresses in UAA's words as well: its clients refresh their token on `invalid_token`.
pub(super) async fn in_words_of_uaa(request: Request, next: Next) -> Response {
    let ours = request.uri().path().starts_with("/Users");
    let mut response = next.run(request).await;
    let item = response.extensions_mut().remove::<ErrorItem>();
    let Some(item) = item.filter(|_| ours) else { return response };
    let status = response.status();
    let word = match status.as_u16() {
        401 if item.title.starts_with("CF-") => "invalid_token",
        403 => "insufficient_scope",
        404 => "scim_resource_not_found",
        _ if item.title.starts_with("CF-") => "invalid_request",
        _ => item.title.as_str(),
    };
    let body = json!({
        "error": word, "error_description": item.detail, "message": item.detail, "errors": [item],
    });
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_others_refused() {
        assert_eq!(parse_filter(r#"userName Eq "Ann B""#).unwrap(), (true, "Ann B".to_owned()));
        assert_eq!(parse_filter(r#"id eq "x""#).unwrap(), (false, "x".to_owned()));
        for wrong in [
            "",
            "userName",
            "userName eq x",
            r#"userName co "x""#,
            r#"email eq "x""#,
            r#"id eq "a" or id eq "b""#,
        ] {
            parse_filter(wrong).unwrap_err();
        }
    }
}

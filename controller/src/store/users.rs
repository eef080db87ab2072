//! Users, refresh tokens, organizations, spaces, roles, jobs.

use super::{OrganizationRow, Pool, Result, RoleRow, UserRow, new_guid, now};

/// A user by name.
pub(crate) async fn user_named(pool: &Pool, name: &str) -> Result<Option<UserRow>> {
    sqlx::query_as("SELECT * FROM users WHERE name = $1").bind(name).fetch_optional(pool).await
}

/// Whether there is any user.
pub(crate) async fn has_users(pool: &Pool) -> Result<bool> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(pool).await?;
    Ok(count > 0)
}

pub(crate) async fn insert_user(pool: &Pool, name: &str, password_hash: &str, admin: bool) -> Result<String> {
    let (guid, now) = (new_guid(), now());
    sqlx::query(
        "INSERT INTO users (guid, name, password_hash, admin, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $5)",
    )
    .bind(&guid)
    .bind(name)
    .bind(password_hash)
    .bind(i64::from(admin))
    .bind(now)
    .execute(pool)
    .await?;
    Ok(guid)
}

/// Remembers a refresh token by its digest, and forgets those that have expired.
pub(crate) async fn insert_refresh_token(pool: &Pool, digest: &str, user: &str, expires: &str) -> Result<()> {
    sqlx::query("DELETE FROM refresh_tokens WHERE expires_at <= $1").bind(now()).execute(pool).await?;
    sqlx::query("INSERT INTO refresh_tokens VALUES ($1, $2, $3)")
        .bind(digest)
        .bind(user)
        .bind(expires)
        .execute(pool)
        .await?;
    Ok(())
}

/// The user of a refresh token that is still good.
pub(crate) async fn refresh_token_user(pool: &Pool, digest: &str) -> Result<Option<UserRow>> {
    sqlx::query_as(
        "SELECT users.* FROM users JOIN refresh_tokens ON refresh_tokens.user_guid = users.guid \
         WHERE refresh_tokens.digest = $1 AND refresh_tokens.expires_at > $2",
    )
    .bind(digest)
    .bind(now())
    .fetch_optional(pool)
    .await
}

/// Forgets all refresh tokens of a user.
pub(crate) async fn revoke_refresh_tokens(pool: &Pool, user: &str) -> Result<u64> {
    Ok(sqlx::query("DELETE FROM refresh_tokens WHERE user_guid = $1")
        .bind(user)
        .execute(pool)
        .await?
        .rows_affected())
}

pub(crate) async fn organization_named(pool: &Pool, name: &str) -> Result<Option<OrganizationRow>> {
    sqlx::query_as("SELECT * FROM organizations WHERE name = $1").bind(name).fetch_optional(pool).await
}

pub(crate) async fn insert_organization(pool: &Pool, name: &str) -> Result<String> {
    let guid = new_guid();
    sqlx::query("INSERT INTO organizations VALUES ($1, $2, $3, $3)")
        .bind(&guid)
        .bind(name)
        .bind(now())
        .execute(pool)
        .await?;
    Ok(guid)
}

pub(crate) async fn insert_space(pool: &Pool, name: &str, organization: &str) -> Result<String> {
    let guid = new_guid();
    sqlx::query("INSERT INTO spaces VALUES ($1, $2, $3, $4, $4)")
        .bind(&guid)
        .bind(name)
        .bind(organization)
        .bind(now())
        .execute(pool)
        .await?;
    Ok(guid)
}

pub(crate) async fn insert_role(pool: &Pool, role: &RoleRow) -> Result<()> {
    sqlx::query("INSERT INTO roles VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(&role.guid)
        .bind(&role.kind)
        .bind(&role.user_guid)
        .bind(&role.organization_guid)
        .bind(&role.space_guid)
        .bind(&role.created_at)
        .bind(&role.updated_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Records a job that is done; what it did was done before.
pub(crate) async fn insert_done_job(pool: &Pool, operation: &str) -> Result<String> {
    let guid = new_guid();
    sqlx::query("INSERT INTO jobs VALUES ($1, $2, 'COMPLETE', '[]', $3, $3)")
        .bind(&guid)
        .bind(operation)
        .bind(now())
        .execute(pool)
        .await?;
    Ok(guid)
}

/// Forgets jobs that ended before a time.
pub(crate) async fn forget_jobs(pool: &Pool, before: &str) -> Result<u64> {
    Ok(sqlx::query("DELETE FROM jobs WHERE updated_at < $1")
        .bind(before)
        .execute(pool)
        .await?
        .rows_affected())
}

//! Users, refresh tokens, organizations, spaces, roles, jobs.

use crate::access::Role;

use super::{Db, OrganizationRow, Pool, Result, RoleRow, SpaceRow, UserRow, new_guid, now};

/// Guid of the quota that organizations have until they get another: migration 5 makes it.
pub(crate) const DEFAULT_QUOTA: &str = "00000000-0000-4000-8000-000000000001";

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

/// Makes a user that the controller does not know yet.
pub(crate) async fn insert_uaa_user(
    pool: &Pool,
    name: &str,
    password_hash: &str,
    role: Option<Role>,
) -> Result<UserRow> {
    let guid = new_guid();
    sqlx::query(
        "INSERT INTO users (guid, name, password_hash, admin, admin_read_only, known, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, 0, $6, $6)",
    )
    .bind(&guid)
    .bind(name)
    .bind(password_hash)
    .bind(i64::from(role == Some(Role::Administrator)))
    .bind(i64::from(role == Some(Role::ReadOnlyAdministrator)))
    .bind(now())
    .execute(pool)
    .await?;
    sqlx::query_as("SELECT * FROM users WHERE guid = $1").bind(&guid).fetch_one(pool).await
}

/// Lets the controller know a user of UAA's; says whether it did not before.
pub(crate) async fn know_user(pool: &Pool, guid: &str) -> Result<bool> {
    let done = sqlx::query("UPDATE users SET known = 1, updated_at = $2 WHERE guid = $1 AND known = 0")
        .bind(guid)
        .bind(now())
        .execute(pool)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// A transaction that holds the rows of all administrators: of two that remove each other, the second sees what the
/// first has done.
async fn with_administrators(pool: &Pool) -> Result<sqlx::Transaction<'static, Db>> {
    let mut transaction = pool.begin().await?;
    sqlx::query("UPDATE users SET updated_at = updated_at WHERE admin = 1")
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}

/// Makes the controller forget a user, with roles and refresh tokens; UAA still has it. Says no for the last
/// administrator, which the statement makes sure of.
pub(crate) async fn forget_user(pool: &Pool, guid: &str) -> Result<bool> {
    let mut transaction = with_administrators(pool).await?;
    let done = sqlx::query(
        "UPDATE users SET known = 0, updated_at = $2 WHERE guid = $1 AND (admin = 0 \
         OR EXISTS (SELECT 1 FROM users other WHERE other.admin = 1 AND other.known = 1 AND other.guid <> $1))",
    )
    .bind(guid)
    .bind(now())
    .execute(&mut *transaction)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    for statement in
        ["DELETE FROM roles WHERE user_guid = $1", "DELETE FROM refresh_tokens WHERE user_guid = $1"]
    {
        sqlx::query(statement).bind(guid).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Removes a user with roles and refresh tokens. Says no for the last administrator.
pub(crate) async fn delete_user(pool: &Pool, guid: &str) -> Result<bool> {
    let mut transaction = with_administrators(pool).await?;
    let done = sqlx::query(
        "DELETE FROM users WHERE guid = $1 AND (admin = 0 OR known = 0 \
         OR EXISTS (SELECT 1 FROM users other WHERE other.admin = 1 AND other.known = 1 AND other.guid <> $1))",
    )
    .bind(guid)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(done.rows_affected() > 0)
}

/// Changes a password, unless somebody else has since it was looked at, and ends the user's refresh tokens.
pub(crate) async fn set_password(pool: &Pool, guid: &str, old_hash: &str, new_hash: &str) -> Result<bool> {
    let mut transaction = pool.begin().await?;
    let done = sqlx::query(
        "UPDATE users SET password_hash = $3, updated_at = $4 WHERE guid = $1 AND password_hash = $2",
    )
    .bind(guid)
    .bind(old_hash)
    .bind(new_hash)
    .bind(now())
    .execute(&mut *transaction)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("DELETE FROM refresh_tokens WHERE user_guid = $1")
        .bind(guid)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
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
         WHERE refresh_tokens.digest = $1 AND refresh_tokens.expires_at > $2 AND users.known = 1",
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

/// Makes an organization, with the default quota.
pub(crate) async fn insert_organization(pool: &Pool, name: &str) -> Result<String> {
    let guid = new_guid();
    sqlx::query(
        "INSERT INTO organizations (guid, name, quota_guid, created_at, updated_at) VALUES ($1, $2, $4, $3, $3)",
    )
    .bind(&guid)
    .bind(name)
    .bind(now())
    .bind(DEFAULT_QUOTA)
    .execute(pool)
    .await?;
    Ok(guid)
}

/// Changes an organization.
pub(crate) async fn update_organization(pool: &Pool, row: &mut OrganizationRow) -> Result<()> {
    row.updated_at = now();
    sqlx::query("UPDATE organizations SET name = $2, suspended = $3, updated_at = $4 WHERE guid = $1")
        .bind(&row.guid)
        .bind(&row.name)
        .bind(i64::from(row.suspended))
        .bind(&row.updated_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Renames a space.
pub(crate) async fn update_space(pool: &Pool, row: &mut SpaceRow) -> Result<()> {
    row.updated_at = now();
    sqlx::query("UPDATE spaces SET name = $2, updated_at = $3 WHERE guid = $1")
        .bind(&row.guid)
        .bind(&row.name)
        .bind(&row.updated_at)
        .execute(pool)
        .await?;
    Ok(())
}

pub(crate) async fn insert_space(pool: &Pool, name: &str, organization: &str) -> Result<String> {
    let guid = new_guid();
    sqlx::query("INSERT INTO spaces (guid, name, organization_guid, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)")
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
pub(crate) async fn insert_done_job(pool: &Pool, operation: &str, user: &str) -> Result<String> {
    let guid = new_guid();
    sqlx::query(
        "INSERT INTO jobs (guid, operation, state, errors, created_at, updated_at, user_guid) \
         VALUES ($1, $2, 'COMPLETE', '[]', $3, $3, $4)",
    )
    .bind(&guid)
    .bind(operation)
    .bind(now())
    .bind(user)
    .execute(pool)
    .await?;
    Ok(guid)
}

/// Forgets jobs that ended before a time.
pub(crate) async fn forget_jobs(pool: &Pool, before: &str) -> Result<u64> {
    Ok(sqlx::query("DELETE FROM jobs WHERE updated_at < $1 AND state IN ('COMPLETE', 'FAILED')")
        .bind(before)
        .execute(pool)
        .await?
        .rows_affected())
}

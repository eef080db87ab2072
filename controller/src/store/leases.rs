//! Who works at what: builds and uploads belong to one controller, as long as it renews its lease on them.
//!
//! Times are those of the controllers' clocks, which must agree within a fraction of a lease; a controller takes
//! nothing over before it has itself been able to renew for a whole lease.

use super::{BuildRow, PackageRow, Pool, Result, now};

/// A controller, and until when its word counts.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    /// The controller, by a name that it took at its start.
    pub owner: String,
    /// A time as rows have it.
    pub until: String,
}

/// Renews everything that a controller works at.
pub(crate) async fn renew(pool: &Pool, lease: &Lease) -> Result<()> {
    for words in [
        "UPDATE builds SET lease_until = $2 WHERE owner = $1 AND state = 'STAGING'",
        "UPDATE packages SET lease_until = $2 WHERE owner = $1 AND state = 'PROCESSING_UPLOAD'",
    ] {
        sqlx::query(words).bind(&lease.owner).bind(&lease.until).execute(pool).await?;
    }
    Ok(())
}

/// Gives up everything that a controller works at: it ends, and others need not wait for its lease to lapse.
pub(crate) async fn release(pool: &Pool, owner: &str) -> Result<()> {
    for words in [
        "UPDATE builds SET lease_until = NULL WHERE owner = $1 AND state = 'STAGING'",
        "UPDATE packages SET lease_until = NULL WHERE owner = $1 AND state = 'PROCESSING_UPLOAD'",
    ] {
        sqlx::query(words).bind(owner).execute(pool).await?;
    }
    Ok(())
}

/// Builds at work whose owner, another one, has not renewed up to a time.
pub(crate) async fn lapsed_builds(pool: &Pool, owner: &str, at: &str) -> Result<Vec<BuildRow>> {
    sqlx::query_as(
        "SELECT * FROM builds WHERE state = 'STAGING' AND (owner IS NULL OR owner <> $1) \
         AND (lease_until IS NULL OR lease_until < $2)",
    )
    .bind(owner)
    .bind(at)
    .fetch_all(pool)
    .await
}

/// Takes such a build over; of several that try, one does. What was uploaded for it is no longer named.
pub(crate) async fn take_build(pool: &Pool, guid: &str, lease: &Lease, at: &str) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE builds SET owner = $2, lease_until = $3, takeovers = takeovers + 1, upload_sha256 = NULL, \
         updated_at = $5 WHERE guid = $1 AND state = 'STAGING' AND (owner IS NULL OR owner <> $2) \
         AND (lease_until IS NULL OR lease_until < $4)",
    )
    .bind(guid)
    .bind(&lease.owner)
    .bind(&lease.until)
    .bind(at)
    .bind(now())
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether a build is at work, and this controller's.
pub(crate) async fn owns_build(pool: &Pool, guid: &str, owner: &str) -> Result<bool> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM builds WHERE guid = $1 AND owner = $2 AND state = 'STAGING'",
    )
    .bind(guid)
    .bind(owner)
    .fetch_one(pool)
    .await?;
    Ok(count > 0)
}

/// Uploads under way whose owner, another one, has not renewed up to a time.
pub(crate) async fn lapsed_uploads(pool: &Pool, owner: &str, at: &str) -> Result<Vec<PackageRow>> {
    sqlx::query_as(
        "SELECT * FROM packages WHERE state = 'PROCESSING_UPLOAD' AND (owner IS NULL OR owner <> $1) \
         AND (lease_until IS NULL OR lease_until < $2)",
    )
    .bind(owner)
    .bind(at)
    .fetch_all(pool)
    .await
}

/// Takes such an upload over, to undo it.
pub(crate) async fn take_upload(pool: &Pool, guid: &str, lease: &Lease, at: &str) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE packages SET owner = $2, lease_until = $3 WHERE guid = $1 AND state = 'PROCESSING_UPLOAD' \
         AND (owner IS NULL OR owner <> $2) AND (lease_until IS NULL OR lease_until < $4)",
    )
    .bind(guid)
    .bind(&lease.owner)
    .bind(&lease.until)
    .bind(at)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Forgets the files of an upload that came to nothing.
pub(crate) async fn forget_package_files(pool: &Pool, guid: &str) -> Result<()> {
    sqlx::query("DELETE FROM package_files WHERE package_guid = $1").bind(guid).execute(pool).await?;
    Ok(())
}

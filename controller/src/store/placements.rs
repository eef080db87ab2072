//! Which instances a node has taken: written under the app's lock, so that no two tasks, nor two controllers, place
//! the same one. What becomes of an instance afterwards the nodes say, not this table.

use super::{Pool, Result, now};

/// Whether an index of a version was placed at a time or later; the empty text is before all times.
pub(crate) async fn placed(pool: &Pool, app: &str, version: &str, index: u32, since: &str) -> Result<bool> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM placements WHERE app_guid = $1 AND version = $2 AND idx = $3 AND at >= $4",
    )
    .bind(app)
    .bind(version)
    .bind(i64::from(index))
    .bind(since)
    .fetch_one(pool)
    .await?;
    Ok(count > 0)
}

/// A node has taken an index, if the app is still there.
pub(crate) async fn record_placement(pool: &Pool, app: &str, version: &str, index: u32) -> Result<()> {
    sqlx::query(
        "INSERT INTO placements SELECT guid, $2, $3, $4 FROM apps WHERE guid = $1 \
         ON CONFLICT (app_guid, idx) DO UPDATE SET version = excluded.version, at = excluded.at",
    )
    .bind(app)
    .bind(i64::from(index))
    .bind(version)
    .bind(now())
    .execute(pool)
    .await?;
    Ok(())
}

/// Nodes are told to stop the indices of an app from one on.
pub(crate) async fn forget_placements(pool: &Pool, app: &str, from: u32) -> Result<()> {
    sqlx::query("DELETE FROM placements WHERE app_guid = $1 AND idx >= $2")
        .bind(app)
        .bind(i64::from(from))
        .execute(pool)
        .await?;
    Ok(())
}

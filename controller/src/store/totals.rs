//! How many there are of what.

use super::{Pool, Result};

/// How many there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub apps: i64,
    pub started_apps: i64,
    pub desired_instances: i64,
    pub users: i64,
}

/// Counts.
pub(crate) async fn totals(pool: &Pool) -> Result<Totals> {
    let count = "SELECT COUNT(*), \
                 CAST(COALESCE(SUM(CASE WHEN state = 'STARTED' THEN 1 ELSE 0 END), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(CASE WHEN state = 'STARTED' THEN instances ELSE 0 END), 0) AS BIGINT) \
                 FROM apps";
    let (apps, started_apps, desired_instances): (i64, i64, i64) =
        sqlx::query_as(count).fetch_one(pool).await?;
    let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(pool).await?;
    Ok(Totals { apps, started_apps, desired_instances, users })
}

//! What controllers that share a database agree on.

use super::{Pool, Result};

/// The value of a name. Where there is none yet, the candidate becomes it; of several that come at once, one does.
pub(crate) async fn settle(pool: &Pool, name: &str, candidate: &str) -> Result<String> {
    sqlx::query("INSERT INTO settings VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(name)
        .bind(candidate)
        .execute(pool)
        .await?;
    sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(name).fetch_one(pool).await
}

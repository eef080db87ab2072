//! Rows. SQLite today; statements keep to what PostgreSQL knows too, and no statement is built from outside text.

mod apps;
mod list;
mod routes;
mod rows;
mod totals;
mod users;

pub(crate) use apps::*;
pub(crate) use list::*;
pub(crate) use routes::*;
pub(crate) use rows::*;
pub(crate) use totals::*;
pub(crate) use users::*;

use crate::Error;
use sqlx::{
    QueryBuilder, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
};
use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, time::Duration};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// The database.
pub(crate) type Db = Sqlite;
/// Connections to it.
pub(crate) type Pool = SqlitePool;
/// What fails in it.
pub(crate) type Result<T> = std::result::Result<T, sqlx::Error>;

/// Opens the database, makes it when it is missing, and brings its tables up to date.
pub(crate) async fn open(path: &Path) -> std::result::Result<Pool, Error> {
    // It holds the apps' variables, which may be secrets; SQLite gives its own new files the mode of this one.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|source| Error::File {
        action: "write",
        path: path.to_owned(),
        source,
    })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Safe with WAL: a crash of the machine may lose the last commits, never the file.
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5));
    let pool = SqlitePoolOptions::new()
        .max_connections(8)
        .acquire_timeout(Duration::from_secs(10))
        .connect_with(options)
        .await
        .map_err(|source| Error::Database { path: path.to_owned(), source })?;
    sqlx::migrate!("./migrations")
        .run(&pool)
        .await
        .map_err(|source| Error::Migrate { path: path.to_owned(), source })?;
    Ok(pool)
}

/// One row by its guid.
pub(crate) async fn get<T>(pool: &Pool, table: &'static str, guid: &str) -> Result<Option<T>>
where
    T: for<'r> sqlx::FromRow<'r, SqliteRow> + Send + Unpin,
{
    QueryBuilder::<Db>::new("SELECT * FROM ")
        .push(table)
        .push(" WHERE guid = ")
        .push_bind(guid)
        .build_query_as()
        .fetch_optional(pool)
        .await
}

/// Removes one row by its guid; says whether it was there.
pub(crate) async fn delete(pool: &Pool, table: &'static str, guid: &str) -> Result<bool> {
    let done = QueryBuilder::<Db>::new("DELETE FROM ")
        .push(table)
        .push(" WHERE guid = ")
        .push_bind(guid)
        .build()
        .execute(pool)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// A new guid.
pub(crate) fn new_guid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// RFC 3339 in UTC, always with microseconds: sorts as text.
const STAMP: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// A time as rows have it.
pub(crate) fn stamp(at: OffsetDateTime) -> String {
    at.format(STAMP).unwrap_or_default()
}

/// Now, as rows have it.
pub(crate) fn now() -> String {
    stamp(OffsetDateTime::now_utc())
}

/// Whether a statement failed because such a row is there already.
pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_sort_as_text() {
        let earlier = OffsetDateTime::from_unix_timestamp(1_000_000_000).unwrap();
        let later = earlier + Duration::from_micros(1);
        assert!(stamp(earlier) < stamp(later));
        assert_eq!(stamp(earlier), "2001-09-09T01:46:40.000000Z");
        let parsed = OffsetDateTime::parse(&stamp(later), &time::format_description::well_known::Rfc3339);
        assert_eq!(parsed.unwrap(), later);
    }
}

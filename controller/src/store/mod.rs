//! Rows, in SQLite or PostgreSQL through sqlx's driver for any database. Statements and tables keep to what both
//! know, and no statement is built from outside text. Columns are `TEXT` and `BIGINT`, nothing else: that is what
//! the driver carries for both; a yes or no is a `BIGINT` that is read through [`Flag`].

mod access;
mod apps;
mod leases;
mod list;
mod open;
mod placements;
mod quotas;
mod routes;
mod rows;
mod services;
mod settings;
mod totals;
mod users;

pub(crate) use access::*;
pub(crate) use apps::*;
pub(crate) use leases::*;
pub(crate) use list::*;
pub(crate) use open::{Shared, open};
pub(crate) use placements::*;
pub(crate) use quotas::*;
pub(crate) use routes::*;
pub(crate) use rows::*;
pub(crate) use services::*;
pub(crate) use settings::*;
pub(crate) use totals::*;
pub(crate) use users::*;

use sqlx::{
    Any, AnyPool, AssertSqlSafe, Encode, Type,
    any::{AnyArguments, AnyRow},
    query::{Query, QueryAs, QueryScalar},
};
use std::fmt::Write as _;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// The database.
pub(crate) type Db = Any;
/// Connections to it.
pub(crate) type Pool = AnyPool;
/// What it answers.
pub(crate) type Row = AnyRow;
/// What fails in it.
pub(crate) type Result<T> = std::result::Result<T, sqlx::Error>;

/// A yes or no in a row: `#[sqlx(try_from = "Flag")]` makes a `bool` of it; write it as `i64::from(bool)`.
#[derive(Debug, Clone, Copy, sqlx::Type)]
#[sqlx(transparent)]
pub(crate) struct Flag(i64);

impl From<Flag> for bool {
    fn from(flag: Flag) -> Self {
        flag.0 != 0
    }
}

/// A statement that is put together from our own words; values get numbered places (`$1`, …), which both databases
/// know.
#[derive(Default)]
pub(crate) struct Statement {
    words: String,
    values: AnyArguments,
    places: usize,
}

impl Statement {
    pub(crate) fn new(words: &'static str) -> Self {
        Self { words: words.to_owned(), ..Self::default() }
    }

    /// Adds words of ours.
    pub(crate) fn push(&mut self, words: &'static str) -> &mut Self {
        self.words.push_str(words);
        self
    }

    /// Adds a value.
    pub(crate) fn bind<'t>(&mut self, value: impl Encode<'t, Db> + Type<Db>) -> &mut Self {
        self.places += 1;
        let _ = write!(self.words, "${}", self.places);
        sqlx::Arguments::add(&mut self.values, value).expect("text and numbers can always be bound");
        self
    }

    /// Adds values with commas between.
    pub(crate) fn bind_all(&mut self, values: &[String]) -> &mut Self {
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.words.push_str(", ");
            }
            self.bind(value.as_str());
        }
        self
    }

    /// To be executed.
    pub(crate) fn query(self) -> Query<'static, Db, AnyArguments> {
        sqlx::query_with(AssertSqlSafe(self.words), self.values)
    }

    /// To be read as rows.
    pub(crate) fn rows<T: for<'r> sqlx::FromRow<'r, Row>>(self) -> QueryAs<'static, Db, T, AnyArguments> {
        sqlx::query_as_with(AssertSqlSafe(self.words), self.values)
    }

    /// To be read as the first column.
    pub(crate) fn scalar<T>(self) -> QueryScalar<'static, Db, T, AnyArguments>
    where
        (T,): for<'r> sqlx::FromRow<'r, Row>,
    {
        sqlx::query_scalar_with(AssertSqlSafe(self.words), self.values)
    }
}

/// One row by its guid.
pub(crate) async fn get<T>(pool: &Pool, table: &'static str, guid: &str) -> Result<Option<T>>
where
    T: for<'r> sqlx::FromRow<'r, Row> + Send + Unpin,
{
    let mut statement = Statement::new("SELECT * FROM ");
    statement.push(table).push(" WHERE guid = ").bind(guid);
    statement.rows().fetch_optional(pool).await
}

/// Removes one row by its guid; says whether it was there.
pub(crate) async fn delete(pool: &Pool, table: &'static str, guid: &str) -> Result<bool> {
    let mut statement = Statement::new("DELETE FROM ");
    statement.push(table).push(" WHERE guid = ").bind(guid);
    Ok(statement.query().execute(pool).await?.rows_affected() > 0)
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
    use std::time::Duration;

    #[test]
    fn values_get_numbered_places() {
        let mut statement = Statement::new("SELECT * FROM t WHERE a IN (");
        statement.bind_all(&["x".to_owned(), "y".to_owned()]).push(") LIMIT ").bind(3_i64);
        assert_eq!(statement.words, "SELECT * FROM t WHERE a IN ($1, $2) LIMIT $3");
        assert_eq!(sqlx::Arguments::len(&statement.values), 3);
    }

    #[test]
    fn columns_are_what_both_databases_and_the_driver_know() {
        for migration in open::MIGRATIONS.iter().filter(|migration| migration.version > 1) {
            let words = migration.sql.as_str().to_uppercase();
            for kind in
                ["BOOLEAN", "INTEGER", " INT ", "VARCHAR", "JSON", "TIMESTAMP", "BLOB", "BYTEA", "SERIAL"]
            {
                assert!(!words.contains(kind), "{} has a column that is {kind}", migration.description);
            }
        }
    }

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

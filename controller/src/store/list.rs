//! Lists: filtered, ordered, by pages.

use super::{Db, Pool, Result};
use sqlx::{QueryBuilder, sqlite::SqliteRow};

/// A condition: `before` value, value, … `after`.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    before: &'static str,
    values: Vec<String>,
    after: &'static str,
}

impl Filter {
    /// A condition such as `name IN (` … `)`.
    pub(crate) fn new(before: &'static str, values: Vec<String>, after: &'static str) -> Self {
        Self { before, values, after }
    }
}

/// Which rows of a table, in which order.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// The table.
    pub table: &'static str,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// A column.
    pub order: &'static str,
    /// From the end.
    pub descending: bool,
    /// Rows to leave out at the front.
    pub offset: u64,
    /// Rows at most.
    pub limit: u64,
}

impl Selection {
    /// Every row of a table that meets a condition, oldest first.
    pub(crate) fn all(table: &'static str, filters: Vec<Filter>) -> Self {
        Self { table, filters, order: "created_at", descending: false, offset: 0, limit: i64::MAX as u64 }
    }
}

fn conditions(query: &mut QueryBuilder<Db>, selection: &Selection) {
    query.push(" FROM ").push(selection.table);
    for (index, filter) in selection.filters.iter().enumerate() {
        query.push(if index == 0 { " WHERE " } else { " AND " });
        if filter.values.is_empty() {
            query.push("1 = 0");
            continue;
        }
        query.push(filter.before);
        let mut list = query.separated(", ");
        for value in &filter.values {
            list.push_bind(value.clone());
        }
        query.push(filter.after);
    }
}

/// How many rows there are on all pages, and the rows of this one.
pub(crate) async fn list<T>(pool: &Pool, selection: &Selection) -> Result<(u64, Vec<T>)>
where
    T: for<'r> sqlx::FromRow<'r, SqliteRow> + Send + Unpin,
{
    let mut count = QueryBuilder::<Db>::new("SELECT COUNT(*)");
    conditions(&mut count, selection);
    let total: i64 = count.build_query_scalar().fetch_one(pool).await?;
    let mut query = QueryBuilder::<Db>::new("SELECT *");
    conditions(&mut query, selection);
    // The guid makes the order whole: without it equal rows could appear on two pages.
    let direction = if selection.descending { " DESC" } else { "" };
    query.push(" ORDER BY ").push(selection.order).push(direction).push(", guid").push(direction);
    query.push(" LIMIT ").push_bind(i64::try_from(selection.limit).unwrap_or(i64::MAX));
    query.push(" OFFSET ").push_bind(i64::try_from(selection.offset).unwrap_or(i64::MAX));
    let rows = query.build_query_as().fetch_all(pool).await?;
    Ok((u64::try_from(total).unwrap_or(0), rows))
}

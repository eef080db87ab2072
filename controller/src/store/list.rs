//! Lists: filtered, ordered, by pages.

use super::{Pool, Result, Row, Statement};

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

fn conditions(statement: &mut Statement, selection: &Selection) {
    statement.push(" FROM ").push(selection.table);
    for (index, filter) in selection.filters.iter().enumerate() {
        statement.push(if index == 0 { " WHERE " } else { " AND " });
        if filter.values.is_empty() {
            statement.push("1 = 0");
        } else {
            statement.push(filter.before).bind_all(&filter.values).push(filter.after);
        }
    }
}

/// How many rows there are on all pages, and the rows of this one.
pub(crate) async fn list<T>(pool: &Pool, selection: &Selection) -> Result<(u64, Vec<T>)>
where
    T: for<'r> sqlx::FromRow<'r, Row> + Send + Unpin,
{
    let mut count = Statement::new("SELECT COUNT(*)");
    conditions(&mut count, selection);
    let total: i64 = count.scalar().fetch_one(pool).await?;
    let mut query = Statement::new("SELECT *");
    conditions(&mut query, selection);
    // The guid makes the order whole: without it equal rows could appear on two pages.
    let direction = if selection.descending { " DESC" } else { "" };
    query.push(" ORDER BY ").push(selection.order).push(direction).push(", guid").push(direction);
    query.push(" LIMIT ").bind(i64::try_from(selection.limit).unwrap_or(i64::MAX));
    query.push(" OFFSET ").bind(i64::try_from(selection.offset).unwrap_or(i64::MAX));
    let rows = query.rows().fetch_all(pool).await?;
    Ok((u64::try_from(total).unwrap_or(0), rows))
}

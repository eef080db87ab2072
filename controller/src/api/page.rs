//! Lists by pages.

use super::input::{Base, Params, bad_query};
use crate::{
    api::ApiError,
    context::Context,
    store::{self, Filter, Selection},
};
use cupola_protocol::api::{Link, Page, Pagination};

/// The most resources on one page; the `cf` CLI asks for 5000.
const MAX_PER_PAGE: u64 = 5000;

/// One page of rows, and where it stands.
pub(crate) struct Rows<R> {
    pub rows: Vec<R>,
    pagination: Pagination,
}

impl<R> Rows<R> {
    /// The page with each row shown.
    pub(crate) fn show<T>(self, show: impl FnMut(R) -> T) -> Page<T> {
        Page { pagination: self.pagination, resources: self.rows.into_iter().map(show).collect() }
    }

    /// The page with rows that were shown already.
    pub(crate) fn of<T>(self, resources: Vec<T>) -> Page<T> {
        Page { pagination: self.pagination, resources }
    }
}

/// What to list, and at which address.
pub(crate) struct Listing<'a> {
    pub base: &'a Base,
    pub path: &'a str,
    pub params: &'a Params,
    pub table: &'static str,
    pub filters: Vec<Filter>,
    /// Columns to order by; the first is the default.
    pub orders: &'static [&'static str],
}

/// Adds a condition when the query has this name.
pub(crate) fn by(params: &Params, name: &str, before: &'static str, after: &'static str) -> Option<Filter> {
    params.list(name).map(|values| Filter::new(before, values, after))
}

/// Reads the page that a query asks for.
pub(crate) async fn rows<R>(context: &Context, listing: Listing<'_>) -> Result<Rows<R>, ApiError>
where
    R: for<'r> sqlx::FromRow<'r, store::Row> + Send + Unpin,
{
    let Listing { base, path, params, table, filters, orders } = listing;
    let (page, per_page) = page_of(params)?;
    let (descending, order) = match params.get("order_by") {
        None => (false, orders[0]),
        Some(text) => {
            let name = text.trim_start_matches(['-', '+']);
            let known = orders.iter().find(|known| **known == name);
            (
                text.starts_with('-'),
                *known.ok_or_else(|| bad_query(&format!("order_by can be {}", orders.join(", "))))?,
            )
        }
    };
    let offset = (page - 1).saturating_mul(per_page);
    let selection = Selection { table, filters, order, descending, offset, limit: per_page };
    let (total, rows) = store::list(&context.pool, &selection).await?;
    Ok(Rows { rows, pagination: pagination(base, path, params, page, per_page, total) })
}

/// A page of what is not in the database.
pub(crate) fn whole<T>(
    base: &Base,
    path: &str,
    params: &Params,
    resources: Vec<T>,
) -> Result<Page<T>, ApiError> {
    let (page, per_page) = page_of(params)?;
    let total = resources.len() as u64;
    let skip = usize::try_from((page - 1).saturating_mul(per_page)).unwrap_or(usize::MAX);
    let take = usize::try_from(per_page).unwrap_or(usize::MAX);
    let resources = resources.into_iter().skip(skip).take(take).collect();
    Ok(Page { pagination: pagination(base, path, params, page, per_page, total), resources })
}

fn page_of(params: &Params) -> Result<(u64, u64), ApiError> {
    let (page, per_page) = (params.number("page", 1)?, params.number("per_page", 50)?);
    if page == 0 {
        return Err(bad_query("page must be 1 or more"));
    }
    if per_page == 0 || per_page > MAX_PER_PAGE {
        return Err(bad_query(&format!("per_page must be 1 to {MAX_PER_PAGE}")));
    }
    Ok((page, per_page))
}

fn pagination(base: &Base, path: &str, params: &Params, page: u64, per_page: u64, total: u64) -> Pagination {
    let pages = total.div_ceil(per_page).max(1);
    let link = |page| Link::get(base.url(&format!("{path}?{}", params.with_page(page))));
    Pagination {
        total_results: total,
        total_pages: pages,
        first: link(1),
        last: link(pages),
        next: (page < pages).then(|| link(page + 1)),
        previous: (page > 1).then(|| link(page - 1)),
    }
}

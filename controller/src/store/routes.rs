//! Domains, routes, destinations.

use super::{DestinationRow, DomainRow, Pool, Result, RouteRow, new_guid, now};

pub(crate) async fn insert_domain(pool: &Pool, name: &str) -> Result<String> {
    let guid = new_guid();
    sqlx::query("INSERT INTO domains VALUES ($1, $2, $3, $3)")
        .bind(&guid)
        .bind(name)
        .bind(now())
        .execute(pool)
        .await?;
    Ok(guid)
}

pub(crate) async fn domains(pool: &Pool) -> Result<Vec<DomainRow>> {
    sqlx::query_as("SELECT * FROM domains ORDER BY created_at, guid").fetch_all(pool).await
}

pub(crate) async fn find_route(
    pool: &Pool,
    host: &str,
    path: &str,
    domain: &str,
) -> Result<Option<RouteRow>> {
    sqlx::query_as("SELECT * FROM routes WHERE host = $1 AND path = $2 AND domain_guid = $3")
        .bind(host)
        .bind(path)
        .bind(domain)
        .fetch_optional(pool)
        .await
}

/// Routes that lead to an app.
pub(crate) async fn routes_of_app(pool: &Pool, app: &str) -> Result<Vec<RouteRow>> {
    sqlx::query_as(
        "SELECT routes.* FROM routes JOIN destinations ON destinations.route_guid = routes.guid \
         WHERE destinations.app_guid = $1 ORDER BY routes.created_at, routes.guid",
    )
    .bind(app)
    .fetch_all(pool)
    .await
}

/// Addresses of an app, as `host.domain/path`.
pub(crate) async fn uris_of_app(pool: &Pool, app: &str) -> Result<Vec<String>> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT routes.host, domains.name, routes.path FROM routes \
         JOIN destinations ON destinations.route_guid = routes.guid \
         JOIN domains ON domains.guid = routes.domain_guid \
         WHERE destinations.app_guid = $1 ORDER BY routes.created_at, routes.guid",
    )
    .bind(app)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|(host, domain, path)| uri(&host, &domain, &path)).collect())
}

/// Addresses of all routes.
pub(crate) async fn all_uris(pool: &Pool) -> Result<Vec<String>> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT routes.host, domains.name, routes.path FROM routes \
         JOIN domains ON domains.guid = routes.domain_guid",
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|(host, domain, path)| uri(&host, &domain, &path)).collect())
}

/// A route in one piece.
pub(crate) fn uri(host: &str, domain: &str, path: &str) -> String {
    if host.is_empty() { format!("{domain}{path}") } else { format!("{host}.{domain}{path}") }
}

/// Leads a route to an app; says whether it did not before.
pub(crate) async fn insert_destination(pool: &Pool, route: &str, app: &str) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO destinations VALUES ($1, $2, $3) ON CONFLICT (route_guid, app_guid) DO NOTHING",
    )
    .bind(new_guid())
    .bind(route)
    .bind(app)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(crate) async fn destinations(pool: &Pool, route: &str) -> Result<Vec<DestinationRow>> {
    sqlx::query_as("SELECT * FROM destinations WHERE route_guid = $1 ORDER BY guid")
        .bind(route)
        .fetch_all(pool)
        .await
}

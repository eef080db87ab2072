//! Service bindings.

use super::{BindingRow, Change};
use crate::store::{Pool, Result, now};

pub(crate) async fn insert_binding(change: &mut Change<'_>, row: &BindingRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO service_bindings VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(&row.guid)
    .bind(&row.name)
    .bind(&row.kind)
    .bind(&row.instance_guid)
    .bind(&row.app_guid)
    .bind(&row.credentials)
    .bind(&row.syslog_drain_url)
    .bind(&row.volume_mounts)
    .bind(&row.endpoints)
    .bind(&row.operation)
    .bind(&row.operation_state)
    .bind(&row.operation_description)
    .bind(&row.operation_created_at)
    .bind(&row.operation_updated_at)
    .bind(&row.created_at)
    .bind(&row.updated_at)
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Marks that a binding is being removed, if nothing is going on with it; says whether that was so.
pub(crate) async fn begin_unbinding(change: &mut Change<'_>, guid: &str) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE service_bindings SET operation = 'delete', operation_state = 'in progress', \
         operation_description = NULL, operation_created_at = $2, operation_updated_at = $2 \
         WHERE guid = $1 AND operation_state <> 'in progress'",
    )
    .bind(guid)
    .bind(now())
    .execute(&mut **change)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What is known of an operation on a binding.
pub(crate) async fn describe_binding(
    change: &mut Change<'_>,
    guid: &str,
    state: &str,
    description: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "UPDATE service_bindings SET operation_state = $2, operation_description = $3, operation_updated_at = $4 \
         WHERE guid = $1",
    )
    .bind(guid)
    .bind(state)
    .bind(description)
    .bind(now())
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Bindings of an app, the oldest first.
pub(crate) async fn bindings_of_app(pool: &Pool, app: &str) -> Result<Vec<BindingRow>> {
    sqlx::query_as("SELECT * FROM service_bindings WHERE app_guid = $1 ORDER BY created_at, guid")
        .bind(app)
        .fetch_all(pool)
        .await
}

/// Bindings and keys of an instance, the oldest first.
pub(crate) async fn bindings_of_instance(pool: &Pool, instance: &str) -> Result<Vec<BindingRow>> {
    sqlx::query_as("SELECT * FROM service_bindings WHERE instance_guid = $1 ORDER BY created_at, guid")
        .bind(instance)
        .fetch_all(pool)
        .await
}

/// The binding of an instance to an app.
pub(crate) async fn binding_of(pool: &Pool, instance: &str, app: &str) -> Result<Option<BindingRow>> {
    sqlx::query_as("SELECT * FROM service_bindings WHERE instance_guid = $1 AND app_guid = $2")
        .bind(instance)
        .bind(app)
        .fetch_optional(pool)
        .await
}

/// A key of an instance by its name.
pub(crate) async fn key_named(pool: &Pool, instance: &str, name: &str) -> Result<Option<BindingRow>> {
    sqlx::query_as("SELECT * FROM service_bindings WHERE instance_guid = $1 AND name = $2 AND kind = 'key'")
        .bind(instance)
        .bind(name)
        .fetch_optional(pool)
        .await
}

/// Removes the row of a binding.
pub(crate) async fn delete_binding(change: &mut Change<'_>, guid: &str) -> Result<()> {
    sqlx::query("DELETE FROM service_bindings WHERE guid = $1").bind(guid).execute(&mut **change).await?;
    Ok(())
}

//! What an operation comes to: its row and everything that it changes, together. Each function says whether the claim on
//! the operation was still ours; when it was not, nothing is changed.

use super::{
    BrokerRow, Change, OperationRow, delete_binding, describe_binding, describe_instance, end_operation,
    move_job, postpone, take_catalog, turn_operation, update_broker,
};
use crate::{
    services::InstanceChange,
    store::{Pool, Result, json, now},
};
use cupola_protocol::osb;

/// What was said of operations that went well.
const SUCCEEDED: &str = "Operation succeeded";

/// An operation goes on later, in a phase; what the broker says of it is kept.
pub(crate) async fn go_on(
    pool: &Pool,
    row: &OperationRow,
    phase: &str,
    due: &str,
    description: Option<&str>,
    polling: bool,
) -> Result<bool> {
    let mut change = pool.begin().await?;
    if !postpone(&mut change, row, phase, due).await? {
        return Ok(false);
    }
    if let Some(description) = description {
        describe(&mut change, row, "in progress", Some(description)).await?;
    }
    if polling {
        move_job(&mut change, row.job_guid.as_deref(), "POLLING", "[]").await?;
    }
    change.commit().await?;
    Ok(true)
}

/// An instance is there.
pub(crate) async fn provisioned(
    pool: &Pool,
    row: &OperationRow,
    dashboard_url: Option<&str>,
) -> Result<bool> {
    let mut change = pool.begin().await?;
    if !end_operation(&mut change, row).await? {
        return Ok(false);
    }
    set_dashboard(&mut change, row, dashboard_url).await?;
    describe(&mut change, row, "succeeded", Some(SUCCEEDED)).await?;
    complete(change, row).await
}

/// An instance was changed.
pub(crate) async fn updated(
    pool: &Pool,
    row: &OperationRow,
    to: &InstanceChange,
    dashboard_url: Option<&str>,
) -> Result<bool> {
    let mut change = pool.begin().await?;
    if !end_operation(&mut change, row).await? {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE service_instances SET name = $2, tags = $3, plan_guid = $4, maintenance_info = $5, updated_at = $6 \
         WHERE guid = $1",
    )
    .bind(&row.instance_guid)
    .bind(&to.name)
    .bind(&to.tags)
    .bind(&to.plan_guid)
    .bind(&to.maintenance_info)
    .bind(now())
    .execute(&mut *change)
    .await?;
    set_dashboard(&mut change, row, dashboard_url).await?;
    describe(&mut change, row, "succeeded", Some(SUCCEEDED)).await?;
    complete(change, row).await
}

async fn set_dashboard(change: &mut Change<'_>, row: &OperationRow, url: Option<&str>) -> Result<()> {
    let Some(url) = url else { return Ok(()) };
    sqlx::query("UPDATE service_instances SET dashboard_url = $2 WHERE guid = $1")
        .bind(&row.instance_guid)
        .bind(url)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// A binding is there, with its credentials.
pub(crate) async fn bound(pool: &Pool, row: &OperationRow, binding: &osb::BindResponse) -> Result<bool> {
    let mut change = pool.begin().await?;
    if !end_operation(&mut change, row).await? {
        return Ok(false);
    }
    sqlx::query(
        "UPDATE service_bindings SET credentials = $2, syslog_drain_url = $3, volume_mounts = $4, endpoints = $5, \
         updated_at = $6 WHERE guid = $1",
    )
    .bind(&row.binding_guid)
    .bind(json(&binding.credentials.clone().unwrap_or_default()))
    .bind(&binding.syslog_drain_url)
    .bind(json(&binding.volume_mounts))
    .bind(json(&binding.endpoints))
    .bind(now())
    .execute(&mut *change)
    .await?;
    describe(&mut change, row, "succeeded", Some(SUCCEEDED)).await?;
    complete(change, row).await
}

/// An instance is gone from its broker, and everything that was still to be done about it with it.
pub(crate) async fn deprovisioned(pool: &Pool, row: &OperationRow) -> Result<bool> {
    let mut change = pool.begin().await?;
    if !end_operation(&mut change, row).await? {
        return Ok(false);
    }
    forget_instance(&mut change, row.instance_guid.as_deref().unwrap_or_default()).await?;
    complete(change, row).await
}

/// Removes an instance and its bindings, and what was to be done about them, without asking anyone.
pub(crate) async fn forget_instance(change: &mut Change<'_>, guid: &str) -> Result<()> {
    for statement in [
        "DELETE FROM service_operations WHERE instance_guid = $1",
        "DELETE FROM service_bindings WHERE instance_guid = $1",
        "DELETE FROM service_instances WHERE guid = $1",
    ] {
        sqlx::query(statement).bind(guid).execute(&mut **change).await?;
    }
    Ok(())
}

/// Removes an instance without asking anyone.
pub(crate) async fn purge_instance(pool: &Pool, guid: &str) -> Result<()> {
    let mut change = pool.begin().await?;
    break_off(&mut change, "instance", guid).await?;
    forget_instance(&mut change, guid).await?;
    change.commit().await
}

/// Removes an offering with these instances, without asking anyone.
pub(crate) async fn forget_offering(pool: &Pool, guid: &str, instances: &[String]) -> Result<()> {
    let mut change = pool.begin().await?;
    for instance in instances {
        forget_instance(&mut change, instance).await?;
    }
    sqlx::query("DELETE FROM service_offerings WHERE guid = $1").bind(guid).execute(&mut *change).await?;
    change.commit().await
}

/// A binding is gone from its broker.
pub(crate) async fn unbound(pool: &Pool, row: &OperationRow) -> Result<bool> {
    let mut change = pool.begin().await?;
    if !end_operation(&mut change, row).await? {
        return Ok(false);
    }
    delete_binding(&mut change, row.binding_guid.as_deref().unwrap_or_default()).await?;
    complete(change, row).await
}

/// What may have been left at a broker is gone, or given up.
pub(crate) async fn cleaned(pool: &Pool, row: &OperationRow) -> Result<bool> {
    let mut change = pool.begin().await?;
    if !end_operation(&mut change, row).await? {
        return Ok(false);
    }
    change.commit().await?;
    Ok(true)
}

/// What is to follow a failed operation: its row becomes one of this kind.
#[derive(Debug, Clone)]
pub(crate) struct Follow {
    pub kind: &'static str,
    /// When that is given up.
    pub deadline: String,
}

/// An operation has failed; instance or binding say why, and so does the job.
pub(crate) async fn operation_failed(
    pool: &Pool,
    row: &OperationRow,
    why: &str,
    errors: &str,
    follow: Option<&Follow>,
) -> Result<bool> {
    let mut change = pool.begin().await?;
    match follow {
        None => {
            if !end_operation(&mut change, row).await? {
                return Ok(false);
            }
        }
        Some(follow) => {
            if !postpone(&mut change, row, &row.phase, &row.due_at).await? {
                return Ok(false);
            }
            turn_operation(&mut change, &row.guid, follow.kind, &now(), &follow.deadline).await?;
        }
    }
    describe(&mut change, row, "failed", Some(why)).await?;
    move_job(&mut change, row.job_guid.as_deref(), "FAILED", errors).await?;
    change.commit().await?;
    Ok(true)
}

/// A catalog was taken in.
pub(crate) async fn catalog_taken(
    pool: &Pool,
    row: &OperationRow,
    broker: &BrokerRow,
    catalog: &osb::Catalog,
) -> Result<bool> {
    let mut change = pool.begin().await?;
    if !end_operation(&mut change, row).await? {
        return Ok(false);
    }
    update_broker(&mut change, broker).await?;
    take_catalog(&mut change, broker, catalog).await?;
    complete(change, row).await
}

/// A catalog was not taken in; `remove` removes its broker again.
pub(crate) async fn catalog_refused(
    pool: &Pool,
    row: &OperationRow,
    remove: bool,
    errors: &str,
) -> Result<bool> {
    let mut change = pool.begin().await?;
    if !end_operation(&mut change, row).await? {
        return Ok(false);
    }
    if remove {
        sqlx::query("DELETE FROM service_brokers WHERE guid = $1")
            .bind(&row.broker_guid)
            .execute(&mut *change)
            .await?;
    }
    move_job(&mut change, row.job_guid.as_deref(), "FAILED", errors).await?;
    change.commit().await?;
    Ok(true)
}

async fn complete(mut change: Change<'_>, row: &OperationRow) -> Result<bool> {
    move_job(&mut change, row.job_guid.as_deref(), "COMPLETE", "[]").await?;
    change.commit().await?;
    Ok(true)
}

/// Says of the instance or binding of an operation how it stands.
async fn describe(
    change: &mut Change<'_>,
    row: &OperationRow,
    state: &str,
    description: Option<&str>,
) -> Result<()> {
    match (&row.binding_guid, &row.instance_guid) {
        (Some(binding), _) => describe_binding(change, binding, state, description).await,
        (None, Some(instance)) => describe_instance(change, instance, state, description).await,
        (None, None) => Ok(()),
    }
}

/// Deletes an app. Its bindings go with it: brokers are told afterwards, however long that takes.
///
/// `sent` is when nothing that is being sent now can arrive any more, `deadline` when the brokers are given up.
pub(crate) async fn delete_app(
    pool: &Pool,
    guid: &str,
    bindings: &[OperationRow],
    sent: &str,
    deadline: &str,
) -> Result<()> {
    let mut change = pool.begin().await?;
    for row in bindings {
        let binding = row.binding_guid.as_deref().unwrap_or_default();
        clean_binding(&mut change, row, sent, deadline).await?;
        delete_binding(&mut change, binding).await?;
    }
    sqlx::query("DELETE FROM service_bindings WHERE app_guid = $1").bind(guid).execute(&mut *change).await?;
    sqlx::query("DELETE FROM apps WHERE guid = $1").bind(guid).execute(&mut *change).await?;
    change.commit().await
}

/// Has a binding deleted at its broker with nobody waiting for it: instead of what is going on with it, or anew.
pub(crate) async fn clean_binding(
    change: &mut Change<'_>,
    row: &OperationRow,
    sent: &str,
    deadline: &str,
) -> Result<()> {
    let busy = break_off(change, "binding", row.binding_guid.as_deref().unwrap_or_default()).await?;
    let due = if busy { sent.to_owned() } else { now() };
    super::insert_operation(
        change,
        &OperationRow { due_at: due, deadline_at: deadline.to_owned(), ..row.clone() },
    )
    .await
}

/// Has an instance deleted at its broker with nobody waiting for it, and removes its rows.
pub(crate) async fn clean_instance(
    pool: &Pool,
    row: &OperationRow,
    sent: &str,
    deadline: &str,
) -> Result<()> {
    let guid = row.instance_guid.as_deref().unwrap_or_default();
    let mut change = pool.begin().await?;
    let busy = break_off(&mut change, "instance", guid).await?;
    forget_instance(&mut change, guid).await?;
    let due = if busy { sent.to_owned() } else { now() };
    let row = OperationRow { due_at: due, deadline_at: deadline.to_owned(), ..row.clone() };
    super::insert_operation(&mut change, &row).await?;
    change.commit().await
}

/// What is being asked about a binding or an instance is broken off; says whether there was anything.
async fn break_off(change: &mut Change<'_>, of: &'static str, guid: &str) -> Result<bool> {
    let errors = r#"[{"code":10009,"title":"CF-UnableToPerform","detail":"What this was about has been deleted meanwhile."}]"#;
    let (jobs, operations) = match of {
        "binding" => (
            "UPDATE jobs SET state = 'FAILED', errors = $2, updated_at = $3 WHERE guid IN \
             (SELECT job_guid FROM service_operations WHERE binding_guid = $1 AND job_guid IS NOT NULL)",
            "DELETE FROM service_operations WHERE binding_guid = $1",
        ),
        _ => (
            "UPDATE jobs SET state = 'FAILED', errors = $2, updated_at = $3 WHERE guid IN \
             (SELECT job_guid FROM service_operations WHERE instance_guid = $1 AND job_guid IS NOT NULL)",
            "DELETE FROM service_operations WHERE instance_guid = $1",
        ),
    };
    sqlx::query(jobs).bind(guid).bind(errors).bind(now()).execute(&mut **change).await?;
    Ok(sqlx::query(operations).bind(guid).execute(&mut **change).await?.rows_affected() > 0)
}

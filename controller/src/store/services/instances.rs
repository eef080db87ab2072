//! Service instances.

use super::{BrokerRow, Change, InstanceRow, OfferingRow, PlanRow};
use crate::store::{Pool, Result, get, now};

pub(crate) async fn insert_instance(change: &mut Change<'_>, row: &InstanceRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO service_instances VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
         $17, $18)",
    )
    .bind(&row.guid)
    .bind(&row.name)
    .bind(&row.space_guid)
    .bind(&row.kind)
    .bind(&row.plan_guid)
    .bind(&row.tags)
    .bind(&row.credentials)
    .bind(&row.syslog_drain_url)
    .bind(&row.route_service_url)
    .bind(&row.dashboard_url)
    .bind(&row.maintenance_info)
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

/// Writes what a user may change of an instance, if nothing is going on with it; says whether that was so.
pub(crate) async fn update_instance(change: &mut Change<'_>, row: &InstanceRow) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE service_instances SET name = $2, tags = $3, credentials = $4, syslog_drain_url = $5, \
         route_service_url = $6, operation = 'update', operation_state = 'succeeded', operation_description = $7, \
         operation_created_at = $8, operation_updated_at = $8, updated_at = $8 \
         WHERE guid = $1 AND operation_state <> 'in progress'",
    )
    .bind(&row.guid)
    .bind(&row.name)
    .bind(&row.tags)
    .bind(&row.credentials)
    .bind(&row.syslog_drain_url)
    .bind(&row.route_service_url)
    .bind("Operation succeeded")
    .bind(now())
    .execute(&mut **change)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Marks that something begins with an instance, if nothing is going on with it; says whether that was so.
pub(crate) async fn begin_on_instance(change: &mut Change<'_>, guid: &str, operation: &str) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE service_instances SET operation = $2, operation_state = 'in progress', operation_description = NULL, \
         operation_created_at = $3, operation_updated_at = $3 WHERE guid = $1 AND operation_state <> 'in progress'",
    )
    .bind(guid)
    .bind(operation)
    .bind(now())
    .execute(&mut **change)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What is known of an operation on an instance.
pub(crate) async fn describe_instance(
    change: &mut Change<'_>,
    guid: &str,
    state: &str,
    description: Option<&str>,
) -> Result<()> {
    sqlx::query(
        "UPDATE service_instances SET operation_state = $2, operation_description = $3, operation_updated_at = $4 \
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

/// Plan, offering and broker of an instance.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub plan: PlanRow,
    pub offering: OfferingRow,
    pub broker: BrokerRow,
}

/// Where a plan comes from; none when there is no such plan.
pub(crate) async fn origin(pool: &Pool, plan: &str) -> Result<Option<Origin>> {
    let Some(plan) = get::<PlanRow>(pool, "service_plans", plan).await? else { return Ok(None) };
    let Some(offering) = get::<OfferingRow>(pool, "service_offerings", &plan.offering_guid).await? else {
        return Ok(None);
    };
    let broker = get::<BrokerRow>(pool, "service_brokers", &offering.broker_guid).await?;
    Ok(broker.map(|broker| Origin { plan, offering, broker }))
}

/// An instance of a space by its name.
pub(crate) async fn instance_named(pool: &Pool, space: &str, name: &str) -> Result<Option<InstanceRow>> {
    sqlx::query_as("SELECT * FROM service_instances WHERE space_guid = $1 AND name = $2")
        .bind(space)
        .bind(name)
        .fetch_optional(pool)
        .await
}

/// Instances of a space.
pub(crate) async fn instances_of_space(pool: &Pool, space: &str) -> Result<Vec<InstanceRow>> {
    sqlx::query_as("SELECT * FROM service_instances WHERE space_guid = $1 ORDER BY created_at, guid")
        .bind(space)
        .fetch_all(pool)
        .await
}

//! Brokers, offerings, plans.

use super::{BrokerRow, Change, OfferingRow, PlanRow};
use crate::store::{Pool, Result, json, new_guid, now};
use cupola_protocol::osb;
use std::collections::BTreeSet;

pub(crate) async fn insert_broker(change: &mut Change<'_>, row: &BrokerRow) -> Result<()> {
    sqlx::query("INSERT INTO service_brokers VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
        .bind(&row.guid)
        .bind(&row.name)
        .bind(&row.url)
        .bind(&row.username)
        .bind(&row.password)
        .bind(&row.source)
        .bind(i64::from(row.available))
        .bind(&row.created_at)
        .bind(&row.updated_at)
        .execute(&mut **change)
        .await?;
    Ok(())
}

/// Writes a broker as it stands.
pub(crate) async fn update_broker(change: &mut Change<'_>, row: &BrokerRow) -> Result<()> {
    sqlx::query(
        "UPDATE service_brokers SET name = $2, url = $3, username = $4, password = $5, available = $6, updated_at = $7 \
         WHERE guid = $1",
    )
    .bind(&row.guid)
    .bind(&row.name)
    .bind(&row.url)
    .bind(&row.username)
    .bind(&row.password)
    .bind(i64::from(row.available))
    .bind(now())
    .execute(&mut **change)
    .await?;
    Ok(())
}

pub(crate) async fn broker_named(pool: &Pool, name: &str) -> Result<Option<BrokerRow>> {
    sqlx::query_as("SELECT * FROM service_brokers WHERE name = $1").bind(name).fetch_optional(pool).await
}

/// Names of the instances of a broker, a few of them.
pub(crate) async fn instances_of_broker(pool: &Pool, broker: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT service_instances.name FROM service_instances \
         JOIN service_plans ON service_plans.guid = service_instances.plan_guid \
         JOIN service_offerings ON service_offerings.guid = service_plans.offering_guid \
         WHERE service_offerings.broker_guid = $1 ORDER BY service_instances.name LIMIT 10",
    )
    .bind(broker)
    .fetch_all(pool)
    .await
}

/// How many instances there are of an offering.
pub(crate) async fn instances_of_offering(pool: &Pool, offering: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT guid FROM service_instances WHERE plan_guid IN (SELECT guid FROM service_plans WHERE offering_guid = $1)",
    )
    .bind(offering)
    .fetch_all(pool)
    .await
}

/// Offerings of a broker.
pub(crate) async fn offerings_of_broker(change: &mut Change<'_>, broker: &str) -> Result<Vec<OfferingRow>> {
    sqlx::query_as("SELECT * FROM service_offerings WHERE broker_guid = $1")
        .bind(broker)
        .fetch_all(&mut **change)
        .await
}

async fn plans_of_offering(change: &mut Change<'_>, offering: &str) -> Result<Vec<PlanRow>> {
    sqlx::query_as("SELECT * FROM service_plans WHERE offering_guid = $1")
        .bind(offering)
        .fetch_all(&mut **change)
        .await
}

/// Makes the offerings and plans of a broker what its catalog says. What the catalog no longer has goes, or, while there
/// are instances of it, is kept for them alone.
pub(crate) async fn take_catalog(
    change: &mut Change<'_>,
    broker: &BrokerRow,
    catalog: &osb::Catalog,
) -> Result<()> {
    let known = offerings_of_broker(change, &broker.guid).await?;
    let mut seen = BTreeSet::new();
    for offering in &catalog.services {
        let id = offering.id.as_str();
        seen.insert(id);
        let row = known.iter().find(|row| row.catalog_id == id);
        let guid = row.map_or_else(new_guid, |row| row.guid.clone());
        let plain = osb::Offering { plans: Vec::new(), dashboard_client: None, ..offering.clone() };
        if !row.is_some_and(|row| row.available && row.catalog == json(&plain)) {
            put_offering(change, &guid, broker, &plain).await?;
        }
        take_plans(change, &guid, broker, &offering.plans).await?;
    }
    for row in known.iter().filter(|row| !seen.contains(row.catalog_id.as_str())) {
        take_plans(change, &row.guid, broker, &[]).await?;
        sqlx::query(
            "DELETE FROM service_offerings WHERE guid = $1 \
             AND guid NOT IN (SELECT offering_guid FROM service_plans)",
        )
        .bind(&row.guid)
        .execute(&mut **change)
        .await?;
        sqlx::query("UPDATE service_offerings SET available = 0, updated_at = $2 WHERE guid = $1")
            .bind(&row.guid)
            .bind(now())
            .execute(&mut **change)
            .await?;
    }
    Ok(())
}

async fn put_offering(
    change: &mut Change<'_>,
    guid: &str,
    broker: &BrokerRow,
    offering: &osb::Offering,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO service_offerings VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $7) \
         ON CONFLICT (broker_guid, catalog_id) DO UPDATE SET name = excluded.name, \
         description = excluded.description, available = 1, catalog = excluded.catalog, \
         updated_at = excluded.updated_at",
    )
    .bind(guid)
    .bind(&broker.guid)
    .bind(offering.id.as_str())
    .bind(&offering.name)
    .bind(&offering.description)
    .bind(json(offering))
    .bind(now())
    .execute(&mut **change)
    .await?;
    Ok(())
}

async fn take_plans(
    change: &mut Change<'_>,
    offering: &str,
    broker: &BrokerRow,
    plans: &[osb::Plan],
) -> Result<()> {
    let known = plans_of_offering(change, offering).await?;
    let as_before = |plan: &osb::Plan| {
        let mut rows = known.iter();
        rows.any(|row| row.available && row.catalog_id == plan.id.as_str() && row.catalog == json(plan))
    };
    for plan in plans.iter().filter(|plan| !as_before(plan)) {
        sqlx::query(
            "INSERT INTO service_plans VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $8) \
             ON CONFLICT (offering_guid, catalog_id) DO UPDATE SET name = excluded.name, \
             description = excluded.description, available = 1, catalog = excluded.catalog, \
             updated_at = excluded.updated_at",
        )
        .bind(new_guid())
        .bind(offering)
        .bind(plan.id.as_str())
        .bind(&plan.name)
        .bind(&plan.description)
        .bind(broker.visibility())
        .bind(json(plan))
        .bind(now())
        .execute(&mut **change)
        .await?;
    }
    for row in &known {
        if plans.iter().any(|plan| plan.id.as_str() == row.catalog_id) {
            continue;
        }
        sqlx::query(
            "DELETE FROM service_plans WHERE guid = $1 \
             AND guid NOT IN (SELECT plan_guid FROM service_instances WHERE plan_guid IS NOT NULL)",
        )
        .bind(&row.guid)
        .execute(&mut **change)
        .await?;
        sqlx::query("UPDATE service_plans SET available = 0, updated_at = $2 WHERE guid = $1")
            .bind(&row.guid)
            .bind(now())
            .execute(&mut **change)
            .await?;
    }
    Ok(())
}

/// Who sees a plan from now on; organizations count for the visibility `organization` alone.
pub(crate) async fn set_visibility(
    pool: &Pool,
    plan: &str,
    kind: &str,
    organizations: &[String],
) -> Result<()> {
    let mut change = pool.begin().await?;
    sqlx::query("UPDATE service_plans SET visibility = $2, updated_at = $3 WHERE guid = $1")
        .bind(plan)
        .bind(kind)
        .bind(now())
        .execute(&mut *change)
        .await?;
    sqlx::query("DELETE FROM service_plan_organizations WHERE plan_guid = $1")
        .bind(plan)
        .execute(&mut *change)
        .await?;
    for organization in organizations {
        sqlx::query("INSERT INTO service_plan_organizations VALUES ($1, $2)")
            .bind(plan)
            .bind(organization)
            .execute(&mut *change)
            .await?;
    }
    change.commit().await
}

/// Organizations that see a plan, as guid and name.
pub(crate) async fn organizations_of_plan(pool: &Pool, plan: &str) -> Result<Vec<(String, String)>> {
    sqlx::query_as(
        "SELECT organizations.guid, organizations.name FROM organizations \
         JOIN service_plan_organizations ON service_plan_organizations.organization_guid = organizations.guid \
         WHERE service_plan_organizations.plan_guid = $1 ORDER BY organizations.name",
    )
    .bind(plan)
    .fetch_all(pool)
    .await
}

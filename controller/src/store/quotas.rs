//! Quotas, and the lock under which room in them is looked for.
//!
//! Two requests that each fit, and together do not, must not both pass, on however many controllers they arrive. So
//! whoever takes room does it in a transaction that begins by writing the organization's row as it is: PostgreSQL
//! then holds that row's lock, and SQLite the database's, until the transaction ends. Usage is read after that, so
//! it counts what the one before has taken; another organization waits for nothing in PostgreSQL.

use super::{AppRow, Db, Flag, Pool, Result, RouteRow, SpaceRow, new_guid, now};
use crate::quota::{self, Demand, Exceeded, Owner, Used};
use sqlx::Transaction;

/// Limits; one that is `None` does not limit.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct QuotaRow {
    pub guid: String,
    pub name: String,
    pub total_memory_mb: Option<i64>,
    pub instance_memory_mb: Option<i64>,
    pub total_instances: Option<i64>,
    pub total_services: Option<i64>,
    pub total_routes: Option<i64>,
    #[sqlx(try_from = "Flag")]
    pub paid_services: bool,
    pub created_at: String,
    pub updated_at: String,
}

/// A quota of spaces.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(crate) struct SpaceQuotaRow {
    #[sqlx(flatten)]
    pub quota: QuotaRow,
    pub organization_guid: String,
}

/// What was looked for in vain.
pub(crate) type Lacking = (Owner, Exceeded);

/// A space, its organization and their quotas, with the lock held until this is committed or dropped.
pub(crate) struct Room {
    transaction: Transaction<'static, Db>,
    space: String,
    organization: String,
    quotas: Vec<(Owner, QuotaRow)>,
}

/// Takes the lock of a space's organization. None when there is no such space.
pub(crate) async fn room(pool: &Pool, space: &str) -> Result<Option<Room>> {
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "UPDATE organizations SET updated_at = updated_at \
         WHERE guid = (SELECT organization_guid FROM spaces WHERE guid = $1)",
    )
    .bind(space)
    .execute(&mut *transaction)
    .await?;
    let row: Option<SpaceRow> = sqlx::query_as("SELECT * FROM spaces WHERE guid = $1")
        .bind(space)
        .fetch_optional(&mut *transaction)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut quotas = Vec::new();
    let of_organization: Option<QuotaRow> = sqlx::query_as(
        "SELECT organization_quotas.* FROM organization_quotas \
         JOIN organizations ON organizations.quota_guid = organization_quotas.guid WHERE organizations.guid = $1",
    )
    .bind(&row.organization_guid)
    .fetch_optional(&mut *transaction)
    .await?;
    quotas.extend(of_organization.map(|quota| (Owner::Organization, quota)));
    let of_space: Option<QuotaRow> = sqlx::query_as(
        "SELECT space_quotas.* FROM space_quotas JOIN spaces ON spaces.quota_guid = space_quotas.guid \
         WHERE spaces.guid = $1",
    )
    .bind(space)
    .fetch_optional(&mut *transaction)
    .await?;
    quotas.extend(of_space.map(|quota| (Owner::Space, quota)));
    Ok(Some(Room { transaction, space: row.guid, organization: row.organization_guid, quotas }))
}

impl Room {
    /// Where statements go that take the room.
    pub(crate) fn connection(&mut self) -> &mut <Db as sqlx::Database>::Connection {
        &mut self.transaction
    }

    pub(crate) async fn commit(self) -> Result<()> {
        self.transaction.commit().await
    }

    /// What started apps use, one of them left out.
    async fn used(&mut self, owner: Owner, without: &str) -> Result<Used> {
        let (statement, guid) = match owner {
            Owner::Organization => (
                "SELECT CAST(COALESCE(SUM(apps.memory_mb * apps.instances), 0) AS BIGINT) AS memory_mb, \
                 CAST(COALESCE(SUM(apps.instances), 0) AS BIGINT) AS instances \
                 FROM apps JOIN spaces ON spaces.guid = apps.space_guid \
                 WHERE spaces.organization_guid = $1 AND apps.state = 'STARTED' AND apps.guid <> $2",
                &self.organization,
            ),
            Owner::Space => (
                "SELECT CAST(COALESCE(SUM(memory_mb * instances), 0) AS BIGINT) AS memory_mb, \
                 CAST(COALESCE(SUM(instances), 0) AS BIGINT) AS instances \
                 FROM apps WHERE space_guid = $1 AND state = 'STARTED' AND guid <> $2",
                &self.space,
            ),
        };
        sqlx::query_as(statement).bind(guid).bind(without).fetch_one(&mut *self.transaction).await
    }

    /// Whether an app may become as it is in this row.
    pub(crate) async fn check_app(&mut self, app: &AppRow) -> Result<std::result::Result<(), Lacking>> {
        let before: Option<AppRow> = sqlx::query_as("SELECT * FROM apps WHERE guid = $1")
            .bind(&app.guid)
            .fetch_optional(&mut *self.transaction)
            .await?;
        let before = before.map(|row| demand(&row)).unwrap_or_default();
        for (owner, quota) in self.quotas.clone() {
            let others = self.used(owner, &app.guid).await?;
            if let Err(exceeded) = quota::check(&quota, others, before, demand(app)) {
                return Ok(Err((owner, exceeded)));
            }
        }
        Ok(Ok(()))
    }

    /// Whether there may be one more row in a table with a column `space_guid`, as a quota limits them.
    async fn check_one_more(
        &mut self,
        in_organization: &'static str,
        in_space: &'static str,
        limit: fn(&QuotaRow) -> Option<i64>,
        exceeded: fn(i64) -> Exceeded,
    ) -> Result<std::result::Result<(), Lacking>> {
        for (owner, quota) in self.quotas.clone() {
            let (statement, guid) = match owner {
                Owner::Organization => (in_organization, &self.organization),
                Owner::Space => (in_space, &self.space),
            };
            let count: i64 =
                sqlx::query_scalar(statement).bind(guid).fetch_one(&mut *self.transaction).await?;
            if let Err(lacking) = quota::one_more(limit(&quota), count, exceeded) {
                return Ok(Err((owner, lacking)));
            }
        }
        Ok(Ok(()))
    }

    /// Whether there may be one more route.
    pub(crate) async fn check_route(&mut self) -> Result<std::result::Result<(), Lacking>> {
        self.check_one_more(
            "SELECT COUNT(*) FROM routes JOIN spaces ON spaces.guid = routes.space_guid \
             WHERE spaces.organization_guid = $1",
            "SELECT COUNT(*) FROM routes WHERE space_guid = $1",
            |quota| quota.total_routes,
            |limit| Exceeded::Routes { limit },
        )
        .await
    }

    /// Whether there may be one more service instance that a broker makes; `paid` when its plan costs something.
    pub(crate) async fn check_service(&mut self, paid: bool) -> Result<std::result::Result<(), Lacking>> {
        if let Some((owner, _)) = self.quotas.iter().find(|(_, quota)| paid && !quota.paid_services) {
            return Ok(Err((*owner, Exceeded::PaidServices)));
        }
        self.check_one_more(
            "SELECT COUNT(*) FROM service_instances JOIN spaces ON spaces.guid = service_instances.space_guid \
             WHERE service_instances.kind = 'managed' AND spaces.organization_guid = $1",
            "SELECT COUNT(*) FROM service_instances WHERE kind = 'managed' AND space_guid = $1",
            |quota| quota.total_services,
            |limit| Exceeded::Services { limit },
        )
        .await
    }

    /// The transaction, for whatever else belongs to it.
    pub(crate) fn into_change(self) -> Transaction<'static, Db> {
        self.transaction
    }

    /// Makes a route, in the room that was found for it.
    pub(crate) async fn insert_route(&mut self, host: &str, path: &str, domain: &str) -> Result<RouteRow> {
        sqlx::query_as("INSERT INTO routes VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING *")
            .bind(new_guid())
            .bind(host)
            .bind(path)
            .bind(domain)
            .bind(&self.space)
            .bind(now())
            .fetch_one(&mut *self.transaction)
            .await
    }
}

fn demand(app: &AppRow) -> Demand {
    Demand { memory_mb: app.memory_mb, instances: app.instances, started: app.started() }
}

/// Makes a quota of organizations.
pub(crate) async fn insert_organization_quota(pool: &Pool, quota: &QuotaRow) -> Result<()> {
    sqlx::query("INSERT INTO organization_quotas VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .bind(&quota.guid)
        .bind(&quota.name)
        .bind(quota.total_memory_mb)
        .bind(quota.instance_memory_mb)
        .bind(quota.total_instances)
        .bind(quota.total_services)
        .bind(quota.total_routes)
        .bind(i64::from(quota.paid_services))
        .bind(&quota.created_at)
        .bind(&quota.updated_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Makes a quota of spaces.
pub(crate) async fn insert_space_quota(pool: &Pool, quota: &SpaceQuotaRow) -> Result<()> {
    let SpaceQuotaRow { quota, organization_guid } = quota;
    sqlx::query("INSERT INTO space_quotas VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
        .bind(&quota.guid)
        .bind(&quota.name)
        .bind(organization_guid)
        .bind(quota.total_memory_mb)
        .bind(quota.instance_memory_mb)
        .bind(quota.total_instances)
        .bind(quota.total_services)
        .bind(quota.total_routes)
        .bind(i64::from(quota.paid_services))
        .bind(&quota.created_at)
        .bind(&quota.updated_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Writes a quota as it stands.
pub(crate) async fn update_quota(pool: &Pool, owner: Owner, quota: &mut QuotaRow) -> Result<()> {
    let statement = match owner {
        Owner::Organization => {
            "UPDATE organization_quotas SET name = $2, total_memory_mb = $3, instance_memory_mb = $4, \
             total_instances = $5, total_services = $6, total_routes = $7, paid_services = $8, updated_at = $9 \
             WHERE guid = $1"
        }
        Owner::Space => {
            "UPDATE space_quotas SET name = $2, total_memory_mb = $3, instance_memory_mb = $4, \
             total_instances = $5, total_services = $6, total_routes = $7, paid_services = $8, updated_at = $9 \
             WHERE guid = $1"
        }
    };
    quota.updated_at = now();
    sqlx::query(statement)
        .bind(&quota.guid)
        .bind(&quota.name)
        .bind(quota.total_memory_mb)
        .bind(quota.instance_memory_mb)
        .bind(quota.total_instances)
        .bind(quota.total_services)
        .bind(quota.total_routes)
        .bind(i64::from(quota.paid_services))
        .bind(&quota.updated_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Gives an organization a quota.
pub(crate) async fn set_organization_quota(pool: &Pool, organization: &str, quota: &str) -> Result<bool> {
    let done = sqlx::query("UPDATE organizations SET quota_guid = $2, updated_at = $3 WHERE guid = $1")
        .bind(organization)
        .bind(quota)
        .bind(now())
        .execute(pool)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Gives a space a quota of its organization, which the statement makes sure of, or takes it.
pub(crate) async fn set_space_quota(pool: &Pool, space: &str, quota: Option<&str>) -> Result<bool> {
    let done = match quota {
        Some(quota) => {
            sqlx::query(
                "UPDATE spaces SET quota_guid = $2, updated_at = $3 WHERE guid = $1 \
                 AND organization_guid = (SELECT organization_guid FROM space_quotas WHERE guid = $2)",
            )
            .bind(space)
            .bind(quota)
            .bind(now())
            .execute(pool)
            .await?
        }
        None => {
            sqlx::query("UPDATE spaces SET quota_guid = NULL, updated_at = $2 WHERE guid = $1")
                .bind(space)
                .bind(now())
                .execute(pool)
                .await?
        }
    };
    Ok(done.rows_affected() > 0)
}

/// Spaces that have a quota.
pub(crate) async fn spaces_with_quota(pool: &Pool, quota: &str) -> Result<Vec<String>> {
    sqlx::query_scalar("SELECT guid FROM spaces WHERE quota_guid = $1 ORDER BY guid")
        .bind(quota)
        .fetch_all(pool)
        .await
}

/// What an organization or a space uses: started instances with their memory, routes, service instances.
pub(crate) async fn usage(pool: &Pool, owner: Owner, guid: &str) -> Result<(Used, i64, i64)> {
    let (apps, routes, services) = match owner {
        Owner::Organization => (
            "SELECT CAST(COALESCE(SUM(apps.memory_mb * apps.instances), 0) AS BIGINT) AS memory_mb, \
             CAST(COALESCE(SUM(apps.instances), 0) AS BIGINT) AS instances \
             FROM apps JOIN spaces ON spaces.guid = apps.space_guid \
             WHERE spaces.organization_guid = $1 AND apps.state = 'STARTED'",
            "SELECT COUNT(*) FROM routes JOIN spaces ON spaces.guid = routes.space_guid \
             WHERE spaces.organization_guid = $1",
            "SELECT COUNT(*) FROM service_instances JOIN spaces ON spaces.guid = service_instances.space_guid \
             WHERE spaces.organization_guid = $1",
        ),
        Owner::Space => (
            "SELECT CAST(COALESCE(SUM(memory_mb * instances), 0) AS BIGINT) AS memory_mb, \
             CAST(COALESCE(SUM(instances), 0) AS BIGINT) AS instances \
             FROM apps WHERE space_guid = $1 AND state = 'STARTED'",
            "SELECT COUNT(*) FROM routes WHERE space_guid = $1",
            "SELECT COUNT(*) FROM service_instances WHERE space_guid = $1",
        ),
    };
    let used: Used = sqlx::query_as(apps).bind(guid).fetch_one(pool).await?;
    let routes = sqlx::query_scalar(routes).bind(guid).fetch_one(pool).await?;
    Ok((used, routes, sqlx::query_scalar(services).bind(guid).fetch_one(pool).await?))
}

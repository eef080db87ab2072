//! Apps, packages, builds, droplets, crashes.

use super::{AppRow, BuildRow, CrashRow, Db, DropletRow, Lease, PackageRow, Pool, Result, new_guid, now};
use crate::access::Role;

/// Inserts an app as it stands.
pub(crate) async fn insert_app<'e>(pool: impl sqlx::Executor<'e, Database = Db>, app: &AppRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO apps VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
         $18, $19, $20)",
    )
    .bind(&app.guid)
    .bind(&app.name)
    .bind(&app.space_guid)
    .bind(&app.state)
    .bind(&app.version)
    .bind(&app.buildpacks)
    .bind(&app.stack)
    .bind(&app.environment)
    .bind(&app.droplet_guid)
    .bind(&app.command)
    .bind(app.instances)
    .bind(app.memory_mb)
    .bind(app.disk_mb)
    .bind(&app.health_check_type)
    .bind(&app.health_check_endpoint)
    .bind(app.health_check_timeout)
    .bind(app.health_check_invocation_timeout)
    .bind(&app.started_at)
    .bind(&app.created_at)
    .bind(&app.updated_at)
    .execute(pool)
    .await?;
    Ok(())
}

/// Writes an app as it stands. Whoever does holds the app's lock, and has read the row under it. Should the lock be
/// lost and another have written meanwhile, it fails with [`sqlx::Error::RowNotFound`].
pub(crate) async fn update_app<'e>(
    pool: impl sqlx::Executor<'e, Database = Db>,
    app: &mut AppRow,
) -> Result<()> {
    let read = std::mem::replace(&mut app.updated_at, now());
    let done = sqlx::query(
        "UPDATE apps SET name = $2, state = $3, version = $4, buildpacks = $5, stack = $6, environment = $7, \
         droplet_guid = $8, command = $9, instances = $10, memory_mb = $11, disk_mb = $12, \
         health_check_type = $13, health_check_endpoint = $14, health_check_timeout = $15, \
         health_check_invocation_timeout = $16, started_at = $17, updated_at = $18 \
         WHERE guid = $1 AND updated_at = $19",
    )
    .bind(&app.guid)
    .bind(&app.name)
    .bind(&app.state)
    .bind(&app.version)
    .bind(&app.buildpacks)
    .bind(&app.stack)
    .bind(&app.environment)
    .bind(&app.droplet_guid)
    .bind(&app.command)
    .bind(app.instances)
    .bind(app.memory_mb)
    .bind(app.disk_mb)
    .bind(&app.health_check_type)
    .bind(&app.health_check_endpoint)
    .bind(app.health_check_timeout)
    .bind(app.health_check_invocation_timeout)
    .bind(&app.started_at)
    .bind(&app.updated_at)
    .bind(read)
    .execute(pool)
    .await?;
    if done.rows_affected() > 0 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}

pub(crate) async fn app_named(pool: &Pool, space: &str, name: &str) -> Result<Option<AppRow>> {
    sqlx::query_as("SELECT * FROM apps WHERE space_guid = $1 AND name = $2")
        .bind(space)
        .bind(name)
        .fetch_optional(pool)
        .await
}

/// Apps after a guid, in the order of guids.
pub(crate) async fn apps_after(pool: &Pool, after: &str, limit: u32) -> Result<Vec<AppRow>> {
    sqlx::query_as("SELECT * FROM apps WHERE guid > $1 ORDER BY guid LIMIT $2")
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(pool)
        .await
}

/// The newest build of an app.
pub(crate) async fn last_build(pool: &Pool, app: &str) -> Result<Option<BuildRow>> {
    sqlx::query_as("SELECT * FROM builds WHERE app_guid = $1 ORDER BY created_at DESC, guid DESC LIMIT 1")
        .bind(app)
        .fetch_optional(pool)
        .await
}

pub(crate) async fn insert_package(pool: &Pool, app: &str) -> Result<PackageRow> {
    sqlx::query_as(
        "INSERT INTO packages (guid, app_guid, state, size, created_at, updated_at) \
         VALUES ($1, $2, 'AWAITING_UPLOAD', 0, $3, $3) RETURNING *",
    )
    .bind(new_guid())
    .bind(app)
    .bind(now())
    .fetch_one(pool)
    .await
}

/// Moves a package from one state to another, under a lease or under none; says whether it was in the first one.
pub(crate) async fn move_package(
    pool: &Pool,
    guid: &str,
    from: &str,
    to: &str,
    lease: Option<&Lease>,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE packages SET state = $3, updated_at = $4, owner = $5, lease_until = $6 \
         WHERE guid = $1 AND state = $2",
    )
    .bind(guid)
    .bind(from)
    .bind(to)
    .bind(now())
    .bind(lease.map(|lease| lease.owner.clone()))
    .bind(lease.map(|lease| lease.until.clone()))
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A package has its bits; says whether this controller still handled it.
pub(crate) async fn package_ready(
    pool: &Pool,
    guid: &str,
    sha256: &str,
    size: i64,
    owner: &str,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE packages SET state = 'READY', sha256 = $2, size = $3, updated_at = $4 \
         WHERE guid = $1 AND state = 'PROCESSING_UPLOAD' AND owner = $5",
    )
    .bind(guid)
    .bind(sha256)
    .bind(size)
    .bind(now())
    .bind(owner)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The bits of a package are gone.
pub(crate) async fn expire_package(pool: &Pool, guid: &str, why: &str) -> Result<()> {
    sqlx::query("UPDATE packages SET state = 'EXPIRED', error = $2, updated_at = $3 WHERE guid = $1")
        .bind(guid)
        .bind(why)
        .bind(now())
        .execute(pool)
        .await?;
    sqlx::query("DELETE FROM package_files WHERE package_guid = $1").bind(guid).execute(pool).await?;
    Ok(())
}

/// Remembers that a package holds a file.
pub(crate) async fn insert_package_file(pool: &Pool, package: &str, sha1: &str, size: i64) -> Result<()> {
    sqlx::query("INSERT INTO package_files VALUES ($1, $2, $3) ON CONFLICT (package_guid, sha1) DO NOTHING")
        .bind(package)
        .bind(sha1)
        .bind(size)
        .execute(pool)
        .await?;
    Ok(())
}

/// Whether some package holds a file of this digest and size: one that this user could download, or any.
pub(crate) async fn has_file(pool: &Pool, sha1: &str, size: i64, reader: Option<&str>) -> Result<bool> {
    let count: i64 = match reader {
        None => {
            sqlx::query_scalar("SELECT COUNT(*) FROM package_files WHERE sha1 = $1 AND size = $2")
                .bind(sha1)
                .bind(size)
                .fetch_one(pool)
                .await?
        }
        Some(user) => {
            sqlx::query_scalar(
                "SELECT COUNT(*) FROM package_files \
                 JOIN packages ON packages.guid = package_files.package_guid \
                 JOIN apps ON apps.guid = packages.app_guid \
                 JOIN roles ON roles.space_guid = apps.space_guid \
                 WHERE package_files.sha1 = $1 AND package_files.size = $2 \
                 AND roles.user_guid = $3 AND roles.kind = $4",
            )
            .bind(sha1)
            .bind(size)
            .bind(user)
            .bind(Role::SpaceDeveloper.name())
            .fetch_one(pool)
            .await?
        }
    };
    Ok(count > 0)
}

/// Files that a package holds.
pub(crate) async fn package_files(pool: &Pool, package: &str) -> Result<Vec<String>> {
    sqlx::query_scalar("SELECT sha1 FROM package_files WHERE package_guid = $1")
        .bind(package)
        .fetch_all(pool)
        .await
}

/// Packages of an app, newest first.
pub(crate) async fn packages_of_app(pool: &Pool, app: &str) -> Result<Vec<PackageRow>> {
    sqlx::query_as("SELECT * FROM packages WHERE app_guid = $1 ORDER BY created_at DESC, guid DESC")
        .bind(app)
        .fetch_all(pool)
        .await
}

/// Droplets of an app, newest first.
pub(crate) async fn droplets_of_app(pool: &Pool, app: &str) -> Result<Vec<DropletRow>> {
    sqlx::query_as("SELECT * FROM droplets WHERE app_guid = $1 ORDER BY created_at DESC, guid DESC")
        .bind(app)
        .fetch_all(pool)
        .await
}

pub(crate) async fn insert_build(pool: &Pool, build: &BuildRow, lease: &Lease) -> Result<()> {
    sqlx::query(
        "INSERT INTO builds (guid, app_guid, package_guid, droplet_guid, state, error, memory_mb, disk_mb, \
         buildpacks, stack, created_by_guid, created_by_name, created_at, updated_at, owner, lease_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(&build.guid)
    .bind(&build.app_guid)
    .bind(&build.package_guid)
    .bind(&build.droplet_guid)
    .bind(&build.state)
    .bind(&build.error)
    .bind(build.memory_mb)
    .bind(build.disk_mb)
    .bind(&build.buildpacks)
    .bind(&build.stack)
    .bind(&build.created_by_guid)
    .bind(&build.created_by_name)
    .bind(&build.created_at)
    .bind(&build.updated_at)
    .bind(&lease.owner)
    .bind(&lease.until)
    .execute(pool)
    .await?;
    Ok(())
}

/// Builds of an app that are at work.
pub(crate) async fn staging_builds(pool: &Pool, app: &str) -> Result<Vec<BuildRow>> {
    sqlx::query_as("SELECT * FROM builds WHERE app_guid = $1 AND state = 'STAGING'")
        .bind(app)
        .fetch_all(pool)
        .await
}

/// What the stager has uploaded for a build that is at work; says whether it is.
pub(crate) async fn build_uploaded(
    pool: &Pool,
    guid: &str,
    sha256: &str,
    sha1: &str,
    size: i64,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE builds SET upload_sha256 = $2, upload_sha1 = $3, upload_size = $4, updated_at = $5 \
         WHERE guid = $1 AND state = 'STAGING'",
    )
    .bind(guid)
    .bind(sha256)
    .bind(sha1)
    .bind(size)
    .bind(now())
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A build ended without a droplet. What was uploaded for it is no longer named. Says whether this controller still
/// staged it.
pub(crate) async fn build_failed(pool: &Pool, guid: &str, error: &str, owner: &str) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE builds SET state = 'FAILED', error = $2, upload_sha256 = NULL, updated_at = $3 \
         WHERE guid = $1 AND state = 'STAGING' AND owner = $4",
    )
    .bind(guid)
    .bind(error)
    .bind(now())
    .bind(owner)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// A build ended with a droplet: both rows change together. Says whether this controller still staged it.
pub(crate) async fn build_staged(pool: &Pool, droplet: &DropletRow, owner: &str) -> Result<bool> {
    let mut transaction = pool.begin().await?;
    let done = sqlx::query(
        "UPDATE builds SET state = 'STAGED', droplet_guid = $2, updated_at = $3 \
         WHERE guid = $1 AND state = 'STAGING' AND owner = $4",
    )
    .bind(&droplet.build_guid)
    .bind(&droplet.guid)
    .bind(now())
    .bind(owner)
    .execute(&mut *transaction)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT INTO droplets VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)")
        .bind(&droplet.guid)
        .bind(&droplet.app_guid)
        .bind(&droplet.package_guid)
        .bind(&droplet.build_guid)
        .bind(&droplet.sha256)
        .bind(&droplet.sha1)
        .bind(droplet.size)
        .bind(&droplet.process_types)
        .bind(&droplet.buildpack)
        .bind(&droplet.detected)
        .bind(&droplet.buildpacks)
        .bind(&droplet.stack)
        .bind(&droplet.created_at)
        .bind(&droplet.updated_at)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Whether a droplet's bytes are named by a droplet, or by a build that is at work.
pub(crate) async fn droplet_named(pool: &Pool, sha256: &str) -> Result<bool> {
    let count: i64 = sqlx::query_scalar(
        "SELECT (SELECT COUNT(*) FROM droplets WHERE sha256 = $1) \
         + (SELECT COUNT(*) FROM builds WHERE upload_sha256 = $1 AND state = 'STAGING')",
    )
    .bind(sha256)
    .fetch_one(pool)
    .await?;
    Ok(count > 0)
}

/// Whether a file's bytes are named by a package.
pub(crate) async fn resource_named(pool: &Pool, sha1: &str) -> Result<bool> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM package_files WHERE sha1 = $1")
        .bind(sha1)
        .fetch_one(pool)
        .await?;
    Ok(count > 0)
}

/// Removes all builds of an app but the newest few.
pub(crate) async fn forget_builds(pool: &Pool, app: &str, kept: u32) -> Result<()> {
    sqlx::query(
        "DELETE FROM builds WHERE app_guid = $1 AND state <> 'STAGING' AND guid NOT IN \
         (SELECT guid FROM builds WHERE app_guid = $1 ORDER BY created_at DESC, guid DESC LIMIT $2)",
    )
    .bind(app)
    .bind(i64::from(kept))
    .execute(pool)
    .await?;
    Ok(())
}

/// Remembers the last crash of an index, if the app is there.
pub(crate) async fn record_crash(pool: &Pool, app: &str, crash: &CrashRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO crashes SELECT guid, $2, $3, $4, $5, $6 FROM apps WHERE guid = $1 \
         ON CONFLICT (app_guid, idx) DO UPDATE SET version = excluded.version, \
         exit_status = excluded.exit_status, description = excluded.description, at = excluded.at",
    )
    .bind(app)
    .bind(crash.idx)
    .bind(&crash.version)
    .bind(crash.exit_status)
    .bind(&crash.description)
    .bind(now())
    .execute(pool)
    .await?;
    Ok(())
}

pub(crate) async fn crashes(pool: &Pool, app: &str) -> Result<Vec<CrashRow>> {
    sqlx::query_as("SELECT idx, version, exit_status, description FROM crashes WHERE app_guid = $1")
        .bind(app)
        .fetch_all(pool)
        .await
}

/// Forgets crashes: an app starts anew.
pub(crate) async fn forget_crashes(pool: &Pool, app: &str) -> Result<()> {
    sqlx::query("DELETE FROM crashes WHERE app_guid = $1").bind(app).execute(pool).await?;
    Ok(())
}

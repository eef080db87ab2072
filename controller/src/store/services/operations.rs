//! Operations: what is to be asked of a broker, one row each, until it is done. A controller claims a row before it
//! works on it, and everything that it writes afterwards it writes only if the claim is still its own.

use super::OperationRow;
use crate::store::{Pool, Result, new_guid, now};
use sqlx::Transaction;

/// A transaction of the database.
pub(crate) type Change<'a> = Transaction<'a, crate::store::Db>;

/// Inserts an operation that is due at once.
pub(crate) async fn insert_operation(change: &mut Change<'_>, row: &OperationRow) -> Result<()> {
    sqlx::query(
        "INSERT INTO service_operations VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(&row.guid)
    .bind(&row.kind)
    .bind(&row.phase)
    .bind(&row.broker_guid)
    .bind(&row.instance_guid)
    .bind(&row.binding_guid)
    .bind(&row.request)
    .bind(&row.job_guid)
    .bind(&row.user_guid)
    .bind(&row.broker_operation)
    .bind(row.tries)
    .bind(&row.begun_at)
    .bind(&row.deadline_at)
    .bind(&row.due_at)
    .bind(&row.claim)
    .bind(&row.claimed_until)
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Operations that are due and that nobody works on, the oldest first.
pub(crate) async fn due_operations(pool: &Pool, limit: i64) -> Result<Vec<OperationRow>> {
    sqlx::query_as(
        "SELECT * FROM service_operations WHERE due_at <= $1 AND claimed_until <= $1 ORDER BY due_at, guid LIMIT $2",
    )
    .bind(now())
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// When the next operation can be taken up; none when there is none.
pub(crate) async fn next_due(pool: &Pool) -> Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT MIN(CASE WHEN due_at > claimed_until THEN due_at ELSE claimed_until END) FROM service_operations",
    )
    .fetch_one(pool)
    .await
}

/// Claims an operation; says whether it is ours now. `sending` counts a try.
pub(crate) async fn claim_operation(
    pool: &Pool,
    row: &OperationRow,
    claim: &str,
    until: &str,
    sending: bool,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE service_operations SET claim = $2, claimed_until = $3, tries = tries + $4 \
         WHERE guid = $1 AND claimed_until <= $5 AND claim = $6 AND phase = $7 AND kind = $8",
    )
    .bind(&row.guid)
    .bind(claim)
    .bind(until)
    .bind(i64::from(sending))
    .bind(now())
    .bind(&row.claim)
    .bind(&row.phase)
    .bind(&row.kind)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Holds a claim for longer; says whether it is still ours.
pub(crate) async fn renew_claim(pool: &Pool, guid: &str, claim: &str, until: &str) -> Result<bool> {
    let done = sqlx::query("UPDATE service_operations SET claimed_until = $3 WHERE guid = $1 AND claim = $2")
        .bind(guid)
        .bind(claim)
        .bind(until)
        .execute(pool)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Gives a claim back, for another to go on at once.
pub(crate) async fn release_claim(pool: &Pool, guid: &str, claim: &str) -> Result<()> {
    sqlx::query("UPDATE service_operations SET claimed_until = '' WHERE guid = $1 AND claim = $2")
        .bind(guid)
        .bind(claim)
        .execute(pool)
        .await?;
    Ok(())
}

/// Puts an operation off, with what it is to do then; says whether the claim was still ours.
pub(crate) async fn postpone(
    change: &mut Change<'_>,
    row: &OperationRow,
    phase: &str,
    due: &str,
) -> Result<bool> {
    let done = sqlx::query(
        "UPDATE service_operations SET phase = $3, broker_operation = $4, due_at = $5, deadline_at = $6, claimed_until = '' \
         WHERE guid = $1 AND claim = $2",
    )
    .bind(&row.guid)
    .bind(&row.claim)
    .bind(phase)
    .bind(&row.broker_operation)
    .bind(due)
    .bind(&row.deadline_at)
    .execute(&mut **change)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Removes an operation that has ended; says whether the claim was still ours.
pub(crate) async fn end_operation(change: &mut Change<'_>, row: &OperationRow) -> Result<bool> {
    let done = sqlx::query("DELETE FROM service_operations WHERE guid = $1 AND claim = $2")
        .bind(&row.guid)
        .bind(&row.claim)
        .execute(&mut **change)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Turns an operation into another kind, with nothing tried yet. Whoever was at work on it has lost its claim; `due` is
/// late enough that nothing which it sent can arrive afterwards.
pub(crate) async fn turn_operation(
    change: &mut Change<'_>,
    guid: &str,
    kind: &str,
    due: &str,
    deadline: &str,
) -> Result<()> {
    sqlx::query(
        "UPDATE service_operations SET kind = $2, phase = 'send', job_guid = NULL, broker_operation = NULL, tries = 0, \
         due_at = $3, deadline_at = $4, claim = $5, claimed_until = '' WHERE guid = $1",
    )
    .bind(guid)
    .bind(kind)
    .bind(due)
    .bind(deadline)
    .bind(new_guid())
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Operations about an instance, its bindings' included.
pub(crate) async fn operations_of_instance(pool: &Pool, instance: &str) -> Result<Vec<OperationRow>> {
    sqlx::query_as("SELECT * FROM service_operations WHERE instance_guid = $1 ORDER BY begun_at, guid")
        .bind(instance)
        .fetch_all(pool)
        .await
}

/// Whether the catalog of a broker is to be fetched already.
pub(crate) async fn catalog_is_due(pool: &Pool, broker: &str) -> Result<bool> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM service_operations WHERE broker_guid = $1 AND kind = 'catalog'",
    )
    .bind(broker)
    .fetch_one(pool)
    .await?;
    Ok(count > 0)
}

/// Records a job that has begun.
pub(crate) async fn insert_job(change: &mut Change<'_>, operation: &str, user: &str) -> Result<String> {
    let guid = new_guid();
    sqlx::query(
        "INSERT INTO jobs (guid, operation, state, errors, created_at, updated_at, user_guid) \
         VALUES ($1, $2, 'PROCESSING', '[]', $3, $3, $4)",
    )
    .bind(&guid)
    .bind(operation)
    .bind(now())
    .bind(user)
    .execute(&mut **change)
    .await?;
    Ok(guid)
}

/// A job has come further, or has ended. `errors` is a JSON array.
pub(crate) async fn move_job(
    change: &mut Change<'_>,
    guid: Option<&str>,
    state: &str,
    errors: &str,
) -> Result<()> {
    let Some(guid) = guid else { return Ok(()) };
    sqlx::query("UPDATE jobs SET state = $2, errors = $3, updated_at = $4 WHERE guid = $1")
        .bind(guid)
        .bind(state)
        .bind(errors)
        .bind(now())
        .execute(&mut **change)
        .await?;
    Ok(())
}

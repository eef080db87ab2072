//! Roles that users hold, and where resources lie.

use super::{Pool, Result};
use crate::access::{Held, Kind, Place, Role};

/// What a user is now, and where.
pub(crate) async fn held_roles(pool: &Pool, user: &str) -> Result<Vec<Held>> {
    let in_organizations: Vec<(String, String)> = sqlx::query_as(
        "SELECT kind, organization_guid FROM roles WHERE user_guid = $1 AND organization_guid IS NOT NULL",
    )
    .bind(user)
    .fetch_all(pool)
    .await?;
    let in_spaces: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT roles.kind, spaces.organization_guid, spaces.guid FROM roles \
         JOIN spaces ON spaces.guid = roles.space_guid WHERE roles.user_guid = $1",
    )
    .bind(user)
    .fetch_all(pool)
    .await?;
    let all = in_organizations
        .into_iter()
        .map(|(kind, organization)| (kind, organization, None))
        .chain(in_spaces.into_iter().map(|(kind, organization, space)| (kind, organization, Some(space))));
    // A kind that is not known gives nothing.
    Ok(all
        .filter_map(|(kind, organization, space)| {
            let role = Role::named(&kind).filter(|role| role.is_of_space() == space.is_some())?;
            Some(Held { role, organization, space })
        })
        .collect())
}

/// The place of a resource: space, organization, whether that is suspended. The end of each statement says how to
/// get there from a guid of its kind.
pub(crate) async fn place(pool: &Pool, kind: Kind, guid: &str) -> Result<Option<Place>> {
    let statement = match kind {
        Kind::Organization => {
            let found: Option<i64> =
                sqlx::query_scalar("SELECT suspended FROM organizations WHERE guid = $1")
                    .bind(guid)
                    .fetch_optional(pool)
                    .await?;
            return Ok(found.map(|suspended| Place::Organization {
                organization: guid.to_owned(),
                suspended: suspended != 0,
            }));
        }
        Kind::SpaceQuota => {
            let found: Option<(String, i64)> = sqlx::query_as(
                "SELECT o.guid, o.suspended FROM organizations o \
                 JOIN space_quotas x ON x.organization_guid = o.guid WHERE x.guid = $1",
            )
            .bind(guid)
            .fetch_optional(pool)
            .await?;
            return Ok(found.map(|(organization, suspended)| Place::Organization {
                organization,
                suspended: suspended != 0,
            }));
        }
        Kind::Space => {
            "SELECT s.guid, o.guid, o.suspended FROM spaces s \
             JOIN organizations o ON o.guid = s.organization_guid WHERE s.guid = $1"
        }
        Kind::App | Kind::Process => {
            "SELECT s.guid, o.guid, o.suspended FROM spaces s \
             JOIN organizations o ON o.guid = s.organization_guid \
             JOIN apps x ON x.space_guid = s.guid WHERE x.guid = $1"
        }
        Kind::Package => {
            "SELECT s.guid, o.guid, o.suspended FROM spaces s \
             JOIN organizations o ON o.guid = s.organization_guid JOIN apps a ON a.space_guid = s.guid \
             JOIN packages x ON x.app_guid = a.guid WHERE x.guid = $1"
        }
        Kind::Build => {
            "SELECT s.guid, o.guid, o.suspended FROM spaces s \
             JOIN organizations o ON o.guid = s.organization_guid JOIN apps a ON a.space_guid = s.guid \
             JOIN builds x ON x.app_guid = a.guid WHERE x.guid = $1"
        }
        Kind::Droplet => {
            "SELECT s.guid, o.guid, o.suspended FROM spaces s \
             JOIN organizations o ON o.guid = s.organization_guid JOIN apps a ON a.space_guid = s.guid \
             JOIN droplets x ON x.app_guid = a.guid WHERE x.guid = $1"
        }
        Kind::Route => {
            "SELECT s.guid, o.guid, o.suspended FROM spaces s \
             JOIN organizations o ON o.guid = s.organization_guid \
             JOIN routes x ON x.space_guid = s.guid WHERE x.guid = $1"
        }
        Kind::ServiceInstance => {
            "SELECT s.guid, o.guid, o.suspended FROM spaces s \
             JOIN organizations o ON o.guid = s.organization_guid \
             JOIN service_instances x ON x.space_guid = s.guid WHERE x.guid = $1"
        }
        Kind::ServiceBinding => {
            "SELECT s.guid, o.guid, o.suspended FROM spaces s \
             JOIN organizations o ON o.guid = s.organization_guid \
             JOIN service_instances i ON i.space_guid = s.guid \
             JOIN service_bindings x ON x.instance_guid = i.guid WHERE x.guid = $1"
        }
    };
    let found: Option<(String, String, i64)> =
        sqlx::query_as(statement).bind(guid).fetch_optional(pool).await?;
    Ok(found.map(|(space, organization, suspended)| Place::Space {
        space,
        organization,
        suspended: suspended != 0,
    }))
}

/// Whether a user has a role in the organization of a space.
pub(crate) async fn belongs_to_organization_of(pool: &Pool, user: &str, space: &str) -> Result<bool> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM roles JOIN spaces ON spaces.organization_guid = roles.organization_guid \
         WHERE roles.user_guid = $1 AND spaces.guid = $2",
    )
    .bind(user)
    .bind(space)
    .fetch_one(pool)
    .await?;
    Ok(count > 0)
}

/// Takes a role, unless it is the last one in an organization in whose spaces the user has others.
pub(crate) async fn delete_role(pool: &Pool, guid: &str) -> Result<bool> {
    let done = sqlx::query(
        "DELETE FROM roles WHERE guid = $1 AND (space_guid IS NOT NULL \
         OR EXISTS (SELECT 1 FROM roles other WHERE other.user_guid = roles.user_guid \
         AND other.organization_guid = roles.organization_guid AND other.guid <> roles.guid) \
         OR NOT EXISTS (SELECT 1 FROM roles inner_role JOIN spaces ON spaces.guid = inner_role.space_guid \
         WHERE inner_role.user_guid = roles.user_guid AND spaces.organization_guid = roles.organization_guid))",
    )
    .bind(guid)
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}

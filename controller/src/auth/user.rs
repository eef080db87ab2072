//! Who asks, and what that user may do: the table of `access` with the roles that the database holds now. A role
//! that was taken, a user that was deleted, a password that was changed count from the next request on.

use crate::{
    access::{self, Action, Held, Kind, Place, Role, Verdict},
    api::ApiError,
    auth::tokens::revocable,
    context::{Context, Shared},
    store::{self, Filter, UserRow},
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use cupola_protocol::api::Claims;

/// The user of a request.
#[derive(Debug, Clone)]
pub(crate) struct User {
    /// What the token says.
    pub claims: Claims,
    /// The roles that the user holds now.
    held: Vec<Held>,
}

/// What a list is narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A table of organizations.
    Organizations,
    /// A table of spaces.
    Spaces,
    /// A table with a column `space_guid`.
    InSpaces,
    /// A table with a column `app_guid`.
    OfApps,
    /// A table of users.
    Users,
    /// A table of roles.
    Roles,
    /// A table with a column `instance_guid`.
    OfServiceInstances,
    /// The service plans.
    ServicePlans,
    /// The service offerings: those with a plan that is seen.
    ServiceOfferings,
    /// The table of organizations' quotas.
    OrganizationQuotas,
    /// The table of spaces' quotas.
    SpaceQuotas,
}

impl User {
    /// The user of a bearer token that is good.
    pub(crate) async fn of(headers: &HeaderMap, context: &Context) -> Result<Self, ApiError> {
        let Some(header) = headers.get(header::AUTHORIZATION) else {
            return Err(ApiError::unauthenticated(
                10002,
                "CF-NotAuthenticated",
                "Authentication error: log in first.",
            ));
        };
        let invalid =
            || ApiError::unauthenticated(1000, "CF-InvalidAuthToken", "Invalid Auth Token: log in again.");
        let text = header.to_str().map_err(|_| invalid())?;
        let (kind, token) = text.split_once(' ').ok_or_else(invalid)?;
        if !kind.eq_ignore_ascii_case("bearer") {
            return Err(invalid());
        }
        let claims = context.tokens.read(token.trim()).ok_or_else(invalid)?;
        let row: Option<UserRow> = store::get(&context.pool, "users", &claims.user_id).await?;
        let row = row.filter(|row| row.known && claims.rev_sig == revocable(&row.password_hash));
        let row = row.ok_or_else(invalid)?;
        let mut held = store::held_roles(&context.pool, &row.guid).await?;
        if let Some(role) = row.platform_role() {
            held.push(Held { role, organization: String::new(), space: None });
        }
        Ok(Self { claims, held })
    }

    /// The user's guid.
    pub(crate) fn guid(&self) -> &str {
        &self.claims.user_id
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.held.iter().any(|one| one.role == Role::Administrator)
    }

    /// Whether the user sees everything.
    pub(crate) fn sees_all(&self) -> bool {
        self.held.iter().any(|one| one.role.is_of_platform())
    }

    /// Whose files of packages may be named instead of sent; none for who reads every package.
    pub(crate) fn reader(&self) -> Option<&str> {
        (!self.sees_all()).then(|| self.guid())
    }

    /// Goes on when the user may act on the platform.
    pub(crate) fn may_on_platform(&self, action: Action) -> Result<(), ApiError> {
        match access::decide(&self.held, &Place::Platform, action) {
            Verdict::Allowed => Ok(()),
            _ => Err(ApiError::forbidden(
                "You are not authorized to perform the requested action: it needs an administrator.",
            )),
        }
    }

    /// Whether the user may do this to something; what does not exist is hidden.
    pub(crate) async fn verdict(
        &self,
        context: &Context,
        action: Action,
        kind: Kind,
        guid: &str,
    ) -> Result<Verdict, ApiError> {
        Ok(match store::place(&context.pool, kind, guid).await? {
            Some(place) => access::decide(&self.held, &place, action),
            None => Verdict::Hidden,
        })
    }

    /// Goes on when the user may do this to something: else "not found", or "not yours" when it is seen.
    pub(crate) async fn may(
        &self,
        context: &Context,
        action: Action,
        kind: Kind,
        guid: &str,
    ) -> Result<(), ApiError> {
        match self.verdict(context, action, kind, guid).await? {
            Verdict::Allowed => Ok(()),
            verdict => Err(ApiError::verdict(verdict, &kind.to_string())),
        }
    }

    /// The same of what a body names: what is hidden makes the body invalid, with this sentence.
    pub(crate) async fn may_named(
        &self,
        context: &Context,
        action: Action,
        kind: Kind,
        guid: &str,
        invalid: &str,
    ) -> Result<(), ApiError> {
        match self.verdict(context, action, kind, guid).await? {
            Verdict::Allowed => Ok(()),
            Verdict::Hidden => Err(ApiError::unprocessable(invalid)),
            verdict => Err(ApiError::verdict(verdict, &kind.to_string())),
        }
    }

    /// The condition that leaves of a list what the user sees; none for who sees everything. The views of
    /// migration 5 say it as the table of `access` does; the tenancy test compares the two.
    pub(crate) fn seen(&self, what: Seen) -> Option<Filter> {
        if self.sees_all() {
            return None;
        }
        let (before, after) = match what {
            Seen::Organizations => {
                ("guid IN (SELECT organization_guid FROM visible_organizations WHERE user_guid IN (", "))")
            }
            Seen::Spaces => ("guid IN (SELECT space_guid FROM visible_spaces WHERE user_guid IN (", "))"),
            Seen::InSpaces => {
                ("space_guid IN (SELECT space_guid FROM visible_spaces WHERE user_guid IN (", "))")
            }
            Seen::OfApps => (
                "app_guid IN (SELECT apps.guid FROM apps JOIN visible_spaces \
                 ON visible_spaces.space_guid = apps.space_guid WHERE visible_spaces.user_guid IN (",
                "))",
            ),
            Seen::Users => ("guid IN (SELECT seen_guid FROM visible_users WHERE user_guid IN (", "))"),
            Seen::OfServiceInstances => (
                "instance_guid IN (SELECT service_instances.guid FROM service_instances JOIN visible_spaces \
                 ON visible_spaces.space_guid = service_instances.space_guid WHERE visible_spaces.user_guid IN (",
                "))",
            ),
            Seen::ServicePlans => {
                ("guid IN (SELECT plan_guid FROM visible_service_plans WHERE user_guid IN (", "))")
            }
            Seen::ServiceOfferings => (
                "guid IN (SELECT service_plans.offering_guid FROM service_plans JOIN visible_service_plans \
                 ON visible_service_plans.plan_guid = service_plans.guid WHERE visible_service_plans.user_guid IN (",
                "))",
            ),
            Seen::OrganizationQuotas => (
                "guid IN (SELECT organizations.quota_guid FROM organizations JOIN visible_organizations \
                 ON visible_organizations.organization_guid = organizations.guid \
                 WHERE visible_organizations.user_guid IN (",
                "))",
            ),
            Seen::SpaceQuotas => {
                ("guid IN (SELECT quota_guid FROM visible_space_quotas WHERE user_guid IN (", "))")
            }
            Seen::Roles => ("guid IN (SELECT role_guid FROM visible_roles WHERE user_guid IN (", "))"),
        };
        Some(Filter::new(before, vec![self.guid().to_owned()], after))
    }
}

impl FromRequestParts<Shared> for User {
    type Rejection = ApiError;

    /// Whom the guard of the endpoint has let in. An endpoint that serves anyone has no user.
    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            ApiError::unauthenticated(10002, "CF-NotAuthenticated", "Authentication error: log in first.")
        })
    }
}

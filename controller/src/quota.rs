//! Whether a change fits into a quota. Pure: `store::room` holds the lock under which it is asked.
//!
//! What grows is checked, what shrinks or stays is not: lowering a quota stops nobody, and whoever is above it can
//! still go down.

use crate::{api::ApiError, store::QuotaRow};

/// Whose quota it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Organization,
    Space,
}

/// What one app asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Memory of an instance, in MiB.
    pub memory_mb: i64,
    pub instances: i64,
    /// A stopped app asks for nothing yet.
    pub started: bool,
}

impl Demand {
    fn memory(self) -> i64 {
        if self.started { self.memory_mb.saturating_mul(self.instances) } else { 0 }
    }

    fn instances(self) -> i64 {
        if self.started { self.instances } else { 0 }
    }
}

/// What is in use: by all others, when one changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Used {
    /// Memory of started instances, in MiB.
    pub memory_mb: i64,
    /// Started instances.
    pub instances: i64,
}

/// What a quota does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exceeded {
    /// Memory of all started instances, in MiB.
    Memory { limit: i64, used: i64, wanted: i64 },
    /// Memory of one instance, in MiB.
    InstanceMemory { limit: i64, wanted: i64 },
    /// Started instances.
    Instances { limit: i64, used: i64, wanted: i64 },
    /// Routes.
    Routes { limit: i64 },
    /// Service instances.
    Services { limit: i64 },
    /// Service plans that cost something.
    PaidServices,
}

/// Whether an app may change from one demand to another beside what all others use.
pub(crate) fn check(quota: &QuotaRow, others: Used, before: Demand, after: Demand) -> Result<(), Exceeded> {
    if let Some(limit) = quota.instance_memory_mb {
        let more = after.memory_mb > before.memory_mb || (after.started && !before.started);
        if more && after.memory_mb > limit {
            return Err(Exceeded::InstanceMemory { limit, wanted: after.memory_mb });
        }
    }
    if let Some(limit) = quota.total_memory_mb {
        let wanted = after.memory();
        if wanted > before.memory() && others.memory_mb.saturating_add(wanted) > limit {
            return Err(Exceeded::Memory { limit, used: others.memory_mb, wanted });
        }
    }
    if let Some(limit) = quota.total_instances {
        let wanted = after.instances();
        if wanted > before.instances() && others.instances.saturating_add(wanted) > limit {
            return Err(Exceeded::Instances { limit, used: others.instances, wanted });
        }
    }
    Ok(())
}

/// Whether one more fits beside so many.
pub(crate) fn one_more(
    limit: Option<i64>,
    count: i64,
    exceeded: impl FnOnce(i64) -> Exceeded,
) -> Result<(), Exceeded> {
    match limit {
        Some(limit) if count >= limit => Err(exceeded(limit)),
        _ => Ok(()),
    }
}

/// The refusal, with the codes and first sentences of Cloud Foundry.
pub(crate) fn refusal(owner: Owner, exceeded: Exceeded) -> ApiError {
    let word = match owner {
        Owner::Organization => "organization",
        Owner::Space => "space",
    };
    let by_owner = |organization, space| if owner == Owner::Organization { organization } else { space };
    let ((code, title), detail) = match exceeded {
        Exceeded::Memory { limit, used, wanted } => (
            by_owner((100_005, "CF-AppMemoryQuotaExceeded"), (310_003, "CF-SpaceQuotaMemoryLimitExceeded")),
            format!(
                "You have exceeded your {word}'s memory limit: the app needs {wanted} MiB, others use {used} of \
                 {limit} MiB. Scale down, stop an app, or ask for a larger quota."
            ),
        ),
        Exceeded::InstanceMemory { limit, wanted } => (
            by_owner(
                (100_007, "CF-QuotaInstanceMemoryLimitExceeded"),
                (310_004, "CF-SpaceQuotaInstanceMemoryLimitExceeded"),
            ),
            format!(
                "You have exceeded the instance memory limit for your {word}'s quota: an instance needs {wanted} MiB, \
                 it may have {limit}."
            ),
        ),
        Exceeded::Instances { limit, used, wanted } => (
            by_owner(
                (100_008, "CF-QuotaInstanceLimitExceeded"),
                (310_008, "CF-SpaceQuotaInstanceLimitExceeded"),
            ),
            format!(
                "You have exceeded the instance limit for your {word}'s quota: the app needs {wanted}, others use \
                 {used} of {limit}."
            ),
        ),
        Exceeded::Routes { limit } => (
            by_owner(
                (310_006, "CF-OrgQuotaTotalRoutesExceeded"),
                (310_005, "CF-SpaceQuotaTotalRoutesExceeded"),
            ),
            format!(
                "You have exceeded the total routes for your {word}'s quota, which allows {limit}: delete one first."
            ),
        ),
        Exceeded::Services { limit } => (
            by_owner(
                (60_005, "CF-ServiceInstanceQuotaExceeded"),
                (60_012, "CF-ServiceInstanceSpaceQuotaExceeded"),
            ),
            format!("You have exceeded your {word}'s services limit, which is {limit}: delete one first."),
        ),
        Exceeded::PaidServices => (
            by_owner(
                (60_007, "CF-ServiceInstanceServicePlanNotAllowed"),
                (60_013, "CF-ServiceInstanceServicePlanNotAllowedBySpaceQuota"),
            ),
            format!(
                "The service instance cannot be created because paid service plans are not allowed for your {word}: \
                 take a free plan, or ask for another quota."
            ),
        ),
    };
    ApiError::new(400, code, title, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn quota(memory: Option<i64>, instance: Option<i64>, instances: Option<i64>) -> QuotaRow {
        QuotaRow {
            guid: "q".to_owned(),
            name: "q".to_owned(),
            total_memory_mb: memory,
            instance_memory_mb: instance,
            total_instances: instances,
            total_services: None,
            total_routes: None,
            paid_services: true,
            created_at: String::new(),
            updated_at: String::new(),
        }
    }

    fn demand(memory_mb: i64, instances: i64, started: bool) -> Demand {
        Demand { memory_mb, instances, started }
    }

    #[test]
    fn the_last_mebibyte_fits_and_the_next_does_not() {
        let used = Used { memory_mb: 512, instances: 2 };
        let stopped = demand(256, 2, false);
        assert_eq!(check(&quota(Some(1024), None, None), used, stopped, demand(256, 2, true)), Ok(()));
        assert_eq!(
            check(&quota(Some(1023), None, None), used, stopped, demand(256, 2, true)),
            Err(Exceeded::Memory { limit: 1023, used: 512, wanted: 512 })
        );
        assert_eq!(
            check(&quota(None, None, Some(3)), used, stopped, demand(256, 2, true)),
            Err(Exceeded::Instances { limit: 3, used: 2, wanted: 2 })
        );
        assert_eq!(
            check(&quota(None, Some(255), None), used, stopped, demand(256, 2, true)),
            Err(Exceeded::InstanceMemory { limit: 255, wanted: 256 })
        );
        // Stopped apps may be as many as they like, each as large as one may be.
        assert_eq!(check(&quota(Some(1), Some(512), Some(1)), used, stopped, demand(512, 9, false)), Ok(()));
        one_more(Some(2), 1, |limit| Exceeded::Routes { limit }).unwrap();
        assert_eq!(
            one_more(Some(2), 2, |limit| Exceeded::Routes { limit }),
            Err(Exceeded::Routes { limit: 2 })
        );
        one_more(None, i64::MAX, |limit| Exceeded::Routes { limit }).unwrap();
    }

    proptest! {
        /// Nothing that is accepted leaves more in use than the limit, unless it was more before and shrank.
        #[test]
        fn a_limit_is_never_passed(limit in 0..5000i64, others in 0..5000i64, memory in 1..2000i64, more in 1..2000i64,
                                   count in 0..9i64, then in 0..9i64, was: bool, is: bool) {
            let (before, after) = (demand(memory, count, was), demand(more, then, is));
            let used = Used { memory_mb: others, instances: others };
            if check(&quota(Some(limit), None, None), used, before, after).is_ok() {
                prop_assert!(others + after.memory() <= limit || after.memory() <= before.memory());
            }
            if check(&quota(None, None, Some(limit)), used, before, after).is_ok() {
                prop_assert!(others + after.instances() <= limit || after.instances() <= before.instances());
            }
            // Stopping and shrinking are always possible.
            prop_assert!(check(&quota(Some(0), Some(0), Some(0)), used, before, demand(memory, count, false)).is_ok());
        }
    }
}

//! Whether this health manager acts: alone, or while it holds the lease.

use crate::{Config, Error, config::seconds};
use cupola_bus::{Bus, Keeper, Lease, LeaseConfig};
use cupola_protocol::lease::Leased;

/// Who acts.
#[derive(Debug)]
pub(crate) enum Duty {
    /// This one: the operator says that there is no other.
    Alone,
    /// Whoever holds the lease.
    Shared(Lease),
}

impl Duty {
    /// Takes part in the lease, if there is one; what is given besides has to be run.
    pub(crate) async fn begin(
        config: &Config,
        bus: &Bus,
        uuid: &str,
    ) -> Result<(Self, Option<Keeper>), Error> {
        if !config.lease {
            return Ok((Self::Alone, None));
        }
        let lease = LeaseConfig { term: seconds(config.lease_seconds), replicas: config.lease_replicas };
        match bus.lease(Leased::HealthManager, uuid, lease).await {
            Ok((lease, keeper)) => Ok((Self::Shared(lease), Some(keeper))),
            Err(cupola_bus::Error::NoJetStream) => Err(Error::NoJetStream),
            Err(error) => Err(Error::Lease(error)),
        }
    }

    /// Whether we may act at this very moment.
    pub(crate) fn acts(&self) -> bool {
        match self {
            Self::Alone => true,
            Self::Shared(lease) => lease.held(),
        }
    }

    /// Waits for news about it.
    pub(crate) async fn changed(&mut self) {
        match self {
            Self::Alone => std::future::pending().await,
            Self::Shared(lease) => lease.changed().await,
        }
    }

    /// Why nobody knows who acts.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Self::Alone => None,
            Self::Shared(lease) => lease.standing().trouble,
        }
    }
}

//! What every request and every task works with.

use crate::{
    auth::{Signer, Tokens},
    blobs::Blobs,
    config::Config,
    figures::Figures,
    instances::Standings,
    locks::Locks,
    logs::Logs,
    nodes::{Nodes, Stagers},
    services::Services,
    store::Pool,
};
use cupola_bus::Bus;
use cupola_protocol::{
    AppId,
    controller::BulkCredentials,
    droplet, logs,
    logs::{LogLine, Source, Stream},
};
use std::{path::PathBuf, sync::Arc, time::Instant};
use time::OffsetDateTime;
use tokio::sync::{Notify, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What every request and every task works with.
pub(crate) struct Context {
    pub config: Config,
    /// This run of the controller, as owner of builds and uploads.
    pub id: String,
    pub pool: Pool,
    pub blobs: Blobs,
    pub bus: Bus,
    pub nodes: Nodes,
    pub stagers: Stagers,
    pub logs: Logs,
    pub standings: Standings,
    pub figures: Figures,
    pub tokens: Tokens,
    pub signer: Signer,
    pub files: reqwest::Client,
    pub bulk: BulkCredentials,
    /// Where uploads are received, on the same disk as the blobs.
    pub incoming: PathBuf,
    /// Base of signed addresses.
    pub internal_url: String,
    /// Told when routes have changed.
    pub routes_changed: Notify,
    /// Work that outlives its request.
    pub tasks: TaskTracker,
    /// Ends that work.
    pub shutdown: CancellationToken,
    /// Since when.
    pub begun: Instant,
    pub locks: Locks,
    pub services: Services,
    /// One permit per password that is being checked: each takes 19 MiB and a core.
    pub checking: Semaphore,
}

/// A shared handle to it.
pub(crate) type Shared = Arc<Context>;

impl Context {
    /// Writes a line into an app's log, as the controller. A line that the bus does not take is lost.
    pub(crate) async fn log(&self, app: &AppId, stream: Stream, message: impl Into<String>) {
        let line = LogLine {
            app: app.clone(),
            instance_id: "0".to_owned(),
            source_type: Source::Api,
            stream,
            timestamp: i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap_or(i64::MAX),
            message: message.into(),
        };
        if let Err(error) = self.bus.publish_to(&logs::subject(app), &line).await {
            tracing::warn!(%app, %error, "lost a log line");
        }
    }

    /// Tells health managers that the desired state of an app has changed.
    pub(crate) async fn tell_updated(&self, app: &AppId) {
        let news = droplet::Updated {
            droplet: app.clone(),
            cc_partition: cupola_protocol::dea::default_partition(),
        };
        if let Err(error) = self.bus.publish(&news).await {
            tracing::warn!(%app, %error, "could not tell that an app has changed");
        }
    }
}

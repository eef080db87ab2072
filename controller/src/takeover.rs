//! What controllers that share a database do for one another: each renews its leases on builds and uploads, and takes
//! over those of one that no longer does.
//!
//! A build that lost its controller is staged again, once: the first stager is told to stop, another staging starts,
//! and the client that waits for the build sees it end. An upload that lost its controller is undone and may be sent
//! again to the same package.

use crate::{
    api::ApiError,
    blobs::Key,
    context::{Context, Shared},
    store::{self, BuildRow, Lease, PackageRow},
};
use cupola_protocol::{AppId, logs::Stream, staging};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

/// How often a build is taken over before it fails: a build that ends its controllers must not end all of them.
const TAKEOVERS: i64 = 2;
/// After every lease: at the start of the only controller, whatever another one had is lapsed.
const FOR_EVER: &str = "9999";

impl Context {
    /// A lease of this controller, from now on.
    pub(crate) fn lease(&self) -> Lease {
        let until = OffsetDateTime::now_utc() + Duration::from_secs(self.config.lease_seconds);
        Lease { owner: self.id.clone(), until: store::stamp(until) }
    }

    /// Renews the leases and looks for those of others that have lapsed, until shutdown.
    pub(crate) async fn keep_leases(self: Shared) {
        let lease = Duration::from_secs(self.config.lease_seconds);
        let mut steady_since = Some(Instant::now());
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(lease / 4) => {}
            }
            if let Err(error) = store::renew(&self.pool, &self.lease()).await {
                tracing::warn!(%error, "cannot renew the leases on builds and uploads");
                steady_since = None;
                continue;
            }
            // While the database was away nobody could renew: others get the time to do so.
            let steady = *steady_since.get_or_insert_with(Instant::now);
            if steady.elapsed() > lease
                && let Err(error) = self.take_over(&store::now()).await
            {
                tracing::warn!(error = error.detail(), "cannot take over what another controller left");
            }
        }
    }

    /// At the start of a controller that shares its database with no other: takes up what its last life left.
    pub(crate) async fn take_over_all(self: &Shared) -> Result<(), ApiError> {
        self.take_over(FOR_EVER).await
    }

    async fn take_over(self: &Shared, at: &str) -> Result<(), ApiError> {
        for build in store::lapsed_builds(&self.pool, &self.id, at).await? {
            if store::take_build(&self.pool, &build.guid, &self.lease(), at).await? {
                self.take_build_over(build).await?;
            }
        }
        for package in store::lapsed_uploads(&self.pool, &self.id, at).await? {
            if store::take_upload(&self.pool, &package.guid, &self.lease(), at).await? {
                self.undo_upload(&package).await?;
            }
        }
        Ok(())
    }

    async fn take_build_over(self: &Shared, mut build: BuildRow) -> Result<(), ApiError> {
        let app = AppId::new(build.app_guid.clone());
        tracing::warn!(%app, build = build.guid, "a build lost its controller");
        self.bus.publish(&staging::Stop { app_id: app.clone() }).await?;
        let uploaded: Vec<_> = build.upload_sha256.take().into_iter().collect();
        self.remove_unnamed(&uploaded, &[]).await?;
        build.takeovers += 1;
        if build.takeovers > TAKEOVERS {
            let error =
                "StagingError - Every controller that staged the app was lost meanwhile: push it again";
            self.log(&app, Stream::Err, error).await;
            return self.build_failed(&build, error).await;
        }
        self.log(&app, Stream::Err, "The controller that staged the app is gone: staging it again").await;
        let context = self.clone();
        self.tasks.spawn(async move { context.build(build).await });
        Ok(())
    }

    async fn undo_upload(&self, package: &PackageRow) -> Result<(), ApiError> {
        tracing::warn!(app = package.app_guid, package = package.guid, "an upload lost its controller");
        let sha1s = store::package_files(&self.pool, &package.guid).await?;
        store::forget_package_files(&self.pool, &package.guid).await?;
        {
            let _lock = self.locks.blob(&package.guid).await?;
            self.blobs.remove(&Key::package(&package.guid)).await?;
        }
        self.remove_unnamed(&[], &sha1s).await?;
        store::move_package(&self.pool, &package.guid, "PROCESSING_UPLOAD", "AWAITING_UPLOAD", None).await?;
        Ok(())
    }
}

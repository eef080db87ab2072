//! Removes what nothing names: after a deletion, after a failure, and at every start what a death left.

use crate::{
    api::ApiError,
    blobs::Key,
    context::Context,
    store::{self, AppRow, PackageRow},
};
use cupola_protocol::{AppId, staging};
use std::{collections::HashSet, time::Duration};
use time::OffsetDateTime;

/// How often finished jobs and the lines of deleted apps are forgotten.
const PERIOD: Duration = Duration::from_secs(300);

impl Context {
    /// Deletes an app whole: its instances, stagings, rows, blobs, cache and log.
    pub(crate) async fn delete_app(&self, app: &AppRow) -> Result<(), ApiError> {
        let lock = self.locks.app(&app.guid).await?;
        let packages = store::packages_of_app(&self.pool, &app.guid).await?;
        let mut sha256s: Vec<_> = store::droplets_of_app(&self.pool, &app.guid)
            .await?
            .into_iter()
            .map(|droplet| droplet.sha256)
            .collect();
        let builds = store::staging_builds(&self.pool, &app.guid).await?;
        sha256s.extend(builds.into_iter().filter_map(|build| build.upload_sha256));
        let mut sha1s = Vec::new();
        for package in &packages {
            sha1s.extend(store::package_files(&self.pool, &package.guid).await?);
        }
        // Packages, builds, droplets, destinations and crashes go with it, and so do bindings: brokers hear of it later.
        self.delete_app_row(&app.guid).await?;
        drop(lock);
        self.stop_instances(&app.id(), None, None).await?;
        self.bus.publish(&staging::Stop { app_id: app.id() }).await?;
        for package in &packages {
            self.blobs.remove(&Key::package(&package.guid)).await?;
        }
        self.remove_unnamed(&sha256s, &sha1s).await?;
        self.blobs.remove(&Key::cache(&app.guid)).await?;
        self.standings.forget(&app.id());
        self.logs.forget(&app.id());
        self.tell_updated(&app.id()).await;
        self.routes_changed.notify_one();
        Ok(())
    }

    /// Removes droplets and remembered files that no row names any more.
    pub(crate) async fn remove_unnamed(&self, sha256s: &[String], sha1s: &[String]) -> Result<(), ApiError> {
        for sha256 in sha256s {
            let _lock = self.locks.blob(sha256).await?;
            if !store::droplet_named(&self.pool, sha256).await? {
                self.blobs.remove(&Key::droplet(sha256)).await?;
            }
        }
        for sha1 in sha1s {
            let _lock = self.locks.blob(sha1).await?;
            if !store::resource_named(&self.pool, sha1).await? {
                self.blobs.remove(&Key::resource(sha1)).await?;
            }
        }
        Ok(())
    }

    /// Removes a package: its row, its bits, and the files that only it held.
    pub(crate) async fn delete_package(&self, guid: &str) -> Result<(), ApiError> {
        let sha1s = store::package_files(&self.pool, guid).await?;
        store::delete(&self.pool, "packages", guid).await?;
        self.blobs.remove(&Key::package(guid)).await?;
        self.remove_unnamed(&[], &sha1s).await
    }

    /// Removes the bits of a package that cannot be staged; its row says why.
    pub(crate) async fn expire_package(&self, guid: &str) -> Result<(), ApiError> {
        let sha1s = store::package_files(&self.pool, guid).await?;
        let why = "Its staging failed, so its bits were removed: push the app again.";
        store::expire_package(&self.pool, guid, why).await?;
        self.blobs.remove(&Key::package(guid)).await?;
        self.remove_unnamed(&[], &sha1s).await
    }

    /// Removes a droplet: its row, and its bytes when no other droplet is made of the same.
    pub(crate) async fn delete_droplet(&self, guid: &str, sha256: &str) -> Result<(), ApiError> {
        store::delete(&self.pool, "droplets", guid).await?;
        self.remove_unnamed(&[sha256.to_owned()], &[]).await
    }

    /// Removes old packages, droplets and builds of an app beyond those that are kept.
    pub(crate) async fn prune(&self, app: &str) -> Result<(), ApiError> {
        let _lock = self.locks.app(app).await?;
        let Some(row) = store::get::<AppRow>(&self.pool, "apps", app).await? else { return Ok(()) };
        let others = store::droplets_of_app(&self.pool, app).await?;
        let others = others.into_iter().filter(|droplet| Some(&droplet.guid) != row.droplet_guid.as_ref());
        for droplet in others.skip(self.config.droplets_kept as usize) {
            self.delete_droplet(&droplet.guid, &droplet.sha256).await?;
        }
        let staging: HashSet<String> = store::staging_builds(&self.pool, app)
            .await?
            .into_iter()
            .map(|build| build.package_guid)
            .collect();
        let packages: Vec<PackageRow> = store::packages_of_app(&self.pool, app).await?;
        let old = packages.into_iter().skip(self.config.packages_kept as usize);
        for package in
            old.filter(|package| !staging.contains(&package.guid) && package.state != "PROCESSING_UPLOAD")
        {
            self.delete_package(&package.guid).await?;
        }
        store::forget_builds(&self.pool, app, self.config.packages_kept).await?;
        Ok(())
    }

    /// Removes blobs that no row names: what a death between blob and row left. Other controllers may be at work:
    /// each blob is looked at under the lock that they hold while they add it.
    pub(crate) async fn sweep(&self) -> Result<(), ApiError> {
        for key in self.blobs.keys().await? {
            let (kind, name) = key.parts();
            let _lock = match kind.as_str() {
                "caches" => self.locks.app(&name).await?,
                _ => self.locks.blob(&name).await?,
            };
            let named = match kind.as_str() {
                "packages" => store::get::<PackageRow>(&self.pool, "packages", &name)
                    .await?
                    .is_some_and(|package| matches!(package.state.as_str(), "READY" | "PROCESSING_UPLOAD")),
                "droplets" => store::droplet_named(&self.pool, &name).await?,
                "caches" => store::get::<AppRow>(&self.pool, "apps", &name).await?.is_some(),
                "resources" => store::resource_named(&self.pool, &name).await?,
                // The directory is ours alone; a bucket may hold what is not.
                _ => self.config.blobs.is_some(),
            };
            if !named {
                tracing::info!(kind, name, "removing a blob that nothing names");
                self.blobs.remove(&key).await?;
            }
        }
        Ok(())
    }

    /// Forgets what is only kept for a while, until shutdown.
    pub(crate) async fn forget_now_and_then(&self) {
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
            }
            let before = OffsetDateTime::now_utc() - Duration::from_secs(self.config.job_seconds);
            if let Err(error) = store::forget_jobs(&self.pool, &store::stamp(before)).await {
                tracing::warn!(%error, "cannot forget old jobs");
            }
            match store::list::<AppRow>(&self.pool, &store::Selection::all("apps", Vec::new())).await {
                Ok((_, apps)) => {
                    let apps: HashSet<AppId> = apps.iter().map(AppRow::id).collect();
                    self.logs.retain(&apps);
                    self.standings.retain(&apps);
                }
                Err(error) => tracing::warn!(%error, "cannot read the apps"),
            }
        }
    }
}

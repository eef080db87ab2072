//! Builds: a package goes to a stager, a droplet comes back.
//!
//! ```text
//! POST /v3/builds → STAGING ─ stager says done, droplet uploaded ─→ STAGED (a droplet)
//!                      └───── refused, failed, silent too long ───→ FAILED (a reason)
//! ```
//! A build that fails leaves nothing: what was uploaded is removed, and so are the bits of a package that never
//! made a droplet.

use crate::{
    api::ApiError,
    blobs::Key,
    context::{Context, Shared},
    placement::{self, Need, NoPlace},
    store::{self, AppRow, BuildRow, DropletRow, PackageRow},
};
use cupola_protocol::{
    AppId, StagerId, TaskId,
    api::{Claims, CreateBuild},
    logs::Stream,
    staging::{ErrorInfo, Locate, Meta, Properties, Reply, Start, Stop, start_subject},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// Why a build failed: a stable name and a sentence.
#[derive(Debug)]
struct Failure {
    kind: String,
    message: String,
}

impl Failure {
    fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into() }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::new("StagingError", error.detail())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        ApiError::from(error).into()
    }
}

/// How much longer than the stager itself the controller waits: the stager's own error says more.
const GRACE: Duration = Duration::from_secs(30);

/// Pause between two tries to place a staging that was taken over.
const CLEARING_PAUSE: Duration = Duration::from_millis(500);

impl Context {
    /// Begins to stage a package.
    pub(crate) async fn begin_build(
        self: &Shared,
        wish: &CreateBuild,
        user: &Claims,
    ) -> Result<BuildRow, ApiError> {
        let package: PackageRow =
            store::get(&self.pool, "packages", &wish.package.guid).await?.ok_or_else(|| {
                ApiError::unprocessable(
                    "Unable to use package. Ensure that the package exists and you have access to it.",
                )
            })?;
        if package.state != "READY" {
            let why = package.error.as_deref().unwrap_or("Upload its bits first.");
            return Err(ApiError::unprocessable(format!(
                "The package is {}, not READY. {why}",
                package.state
            )));
        }
        let _lock = self.locks.app(&package.app_guid).await?;
        let app = self.app(&package.app_guid).await?;
        if !store::staging_builds(&self.pool, &app.guid).await?.is_empty() {
            let detail = format!("App {} is being staged already: wait for that to end.", app.name);
            return Err(ApiError::new(422, 170_017, "CF-StagingInProgress", detail));
        }
        let lifecycle = wish.lifecycle.clone().unwrap_or_else(|| app.lifecycle());
        check_lifecycle(&lifecycle)?;
        let now = store::now();
        let build = BuildRow {
            guid: store::new_guid(),
            app_guid: app.guid.clone(),
            package_guid: package.guid,
            droplet_guid: None,
            state: "STAGING".to_owned(),
            error: None,
            memory_mb: store::number(
                wish.staging_memory_in_mb.unwrap_or(self.config.staging_memory_mb.max(app.memory())).0,
            ),
            disk_mb: store::number(
                wish.staging_disk_in_mb.unwrap_or(self.config.staging_disk_mb.max(app.disk())).0,
            ),
            buildpacks: store::json(&lifecycle.data.buildpacks.unwrap_or_default()),
            stack: lifecycle.data.stack.unwrap_or_else(|| app.stack.clone()),
            created_by_guid: user.user_id.clone(),
            created_by_name: user.user_name.clone(),
            upload_sha256: None,
            upload_sha1: None,
            upload_size: None,
            takeovers: 0,
            created_at: now.clone(),
            updated_at: now,
        };
        store::insert_build(&self.pool, &build, &self.lease()).await?;
        let (context, row) = (self.clone(), build.clone());
        self.tasks.spawn(async move { context.build(row).await });
        Ok(build)
    }

    /// Stages a build of this controller to its end.
    pub(crate) async fn build(self: Shared, build: BuildRow) {
        let id = AppId::new(build.app_guid.clone());
        let begun = Instant::now();
        let outcome = tokio::select! {
            // The next start, or another controller, takes the build over.
            () = self.shutdown.cancelled() => return,
            outcome = self.stage(&build) => outcome,
        };
        let outcome = match outcome {
            Ok(reply) => self.staged(&build, reply).await,
            Err(failure) => Err(failure),
        };
        self.figures.build(outcome.is_ok(), begun.elapsed());
        if let Err(failure) = outcome {
            let error = format!("{} - {}", failure.kind, failure.message);
            tracing::warn!(app = %id, build = build.guid, error, "a staging failed");
            self.log(&id, Stream::Err, format!("Staging failed: {}", failure.message)).await;
            if let Err(error) = self.build_failed(&build, &error).await {
                tracing::error!(
                    build = build.guid,
                    error = error.detail(),
                    "cannot clean up after a failed staging"
                );
            }
        }
        if let Err(error) = self.prune(&build.app_guid).await {
            tracing::warn!(app = %id, error = error.detail(), "cannot remove old packages and droplets");
        }
    }

    /// Has a stager stage the build; gives its last word.
    async fn stage(&self, build: &BuildRow) -> Result<Reply, Failure> {
        tracing::info!(app = build.app_guid, build = build.guid, "stages a build");
        let app: AppRow = self.app(&build.app_guid).await?;
        let start = self.start_staging(&app, build).await?;
        let need = Need {
            app: app.id(),
            memory: store::mebibytes(build.memory_mb),
            disk: store::mebibytes(build.disk_mb),
            stack: build.stack.clone(),
        };
        let mut tried = BTreeSet::new();
        let mut last = None;
        // What was taken over may find its own last try in the way, for a moment.
        let clearing = Instant::now() + Duration::from_secs(self.config.node_wait_seconds);
        while tried.len() < self.config.tries as usize {
            let stager = match self.choose_stager(&need, &tried).await {
                Ok(stager) => stager,
                Err(problem) => return Err(last.unwrap_or_else(|| no_stager(&problem))),
            };
            self.stagers.reserve(&stager, need.memory, need.disk);
            match self.ask_stager(&stager, &start).await {
                Ok(reply) => match failure(&reply) {
                    None => return Ok(reply),
                    Some(failure)
                        if failure.kind == "InsufficientResources"
                            && build.takeovers > 0
                            && Instant::now() < clearing =>
                    {
                        last = Some(failure);
                        tokio::time::sleep(CLEARING_PAUSE).await;
                        continue;
                    }
                    // Another one may have room; any other failure would be the same there.
                    Some(failure) if failure.kind == "InsufficientResources" => last = Some(failure),
                    Some(failure) => return Err(failure),
                },
                Err(Silent::Before(failure)) => last = Some(failure),
                Err(Silent::After(failure)) => return Err(failure),
            }
            tried.insert(stager);
        }
        Err(last.unwrap_or_else(|| no_stager(&NoPlace::NoStager)))
    }

    async fn choose_stager(&self, need: &Need, tried: &BTreeSet<StagerId>) -> Result<StagerId, NoPlace> {
        let deadline = Instant::now() + Duration::from_secs(self.config.node_wait_seconds);
        let mut asked = false;
        loop {
            let ads = self.stagers.fresh(self.config.advertisement_timeout());
            let problem = match placement::stagers(&ads, need, tried) {
                Ok(candidates) => return Ok(candidates[rand::random_range(0..candidates.len())].id.clone()),
                Err(problem) => problem,
            };
            if !tried.is_empty() || matches!(problem, NoPlace::NoStack { .. }) || Instant::now() >= deadline {
                return Err(problem);
            }
            if !asked {
                asked = true;
                if let Err(error) = self.bus.publish(&Locate {}).await {
                    tracing::warn!(%error, "could not ask the stagers to advertise");
                }
            }
            // The short wait covers an advertisement that came between the look and the wait.
            let _ = tokio::time::timeout(Duration::from_millis(200), self.stagers.news()).await;
        }
    }

    /// Sends a staging to one stager and waits for its two answers.
    async fn ask_stager(&self, stager: &StagerId, start: &Start) -> Result<Reply, Silent> {
        let unreachable = |error: cupola_bus::Error| {
            Silent::Before(Failure::new(
                "StagerUnavailable",
                format!("stager {stager} did not take the app: {error}"),
            ))
        };
        let subject = start_subject(stager);
        let mut replies = self.bus.request_replies(&subject, start).await.map_err(unreachable)?;
        let taken = Instant::now() + Duration::from_secs(self.config.stager_answer_seconds);
        let first = match replies.next(taken).await {
            Ok(reply) => reply,
            Err(error) => {
                // It may have taken it all the same.
                let _ = self.bus.publish(&Stop { app_id: start.app_id.clone() }).await;
                return Err(unreachable(error));
            }
        };
        if first.done || first.error.is_some() {
            return Ok(first);
        }
        let seconds = self.config.staging_timeout_seconds;
        match replies.next(Instant::now() + Duration::from_secs(seconds) + GRACE).await {
            Ok(reply) => Ok(reply),
            Err(error) => {
                let _ = self.bus.publish(&Stop { app_id: start.app_id.clone() }).await;
                let message = format!(
                    "the stager took the app and then said nothing for {seconds} s ({error}): push again"
                );
                Err(Silent::After(Failure::new("StagingTimeExpired", message)))
            }
        }
    }

    async fn start_staging(&self, app: &AppRow, build: &BuildRow) -> Result<Start, ApiError> {
        let uris = store::uris_of_app(&self.pool, &app.guid).await?;
        let url = |method, path: String| self.signer.url(&self.internal_url, method, &path);
        let mut environment: Vec<_> =
            app.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
        environment.push(format!("CF_STACK={}", build.stack));
        let cache = format!("/internal/caches/{}", app.guid);
        let bound = self.bound_to(&app.guid).await?;
        Ok(Start {
            app_id: app.id(),
            // The stager may still be ending the last try.
            task_id: match build.takeovers {
                0 => TaskId::new(build.guid.clone()),
                again => TaskId::new(format!("{}-{again}", build.guid)),
            },
            properties: Properties {
                services: bound.services,
                environment,
                meta: Meta { command: app.command.clone() },
                buildpack: store::names(&build.buildpacks).into_iter().next(),
                vcap_application: self.vcap_application(app, &uris).await?,
            },
            stack: build.stack.clone(),
            download_uri: url("GET", format!("/internal/packages/{}", build.package_guid)),
            upload_uri: url("POST", format!("/internal/builds/{}/droplet", build.guid)),
            buildpack_cache_download_uri: Some(url("GET", cache.clone())),
            buildpack_cache_upload_uri: Some(url("POST", cache)),
            memory_limit: store::mebibytes(build.memory_mb),
            disk_limit: store::mebibytes(build.disk_mb),
            app_disk_limit: Some(app.disk()),
            timeout: Some(self.config.staging_timeout_seconds),
            egress_network_rules: bound.egress,
        })
    }

    /// The stager says that it is done: there must be a droplet.
    async fn staged(&self, build: &BuildRow, reply: Reply) -> Result<(), Failure> {
        let row: Option<BuildRow> = store::get(&self.pool, "builds", &build.guid).await?;
        let Some(row) = row else {
            // The app was deleted meanwhile.
            let uploaded: Vec<_> = reply.droplet_sha256.into_iter().collect();
            self.remove_unnamed(&uploaded, &[]).await?;
            return Ok(());
        };
        let (Some(sha256), Some(sha1), Some(size)) = (row.upload_sha256, row.upload_sha1, row.upload_size)
        else {
            return Err(Failure::new(
                "StagingError",
                "the stager says it is done but has uploaded no droplet: push again",
            ));
        };
        if reply.droplet_sha256.as_ref().is_some_and(|said| *said != sha256) {
            let message = "the droplet that was uploaded is not the one that the stager made: push again";
            return Err(Failure::new("StagingError", message));
        }
        let mut process_types = reply.procfile.unwrap_or_default();
        if let Some(command) = reply.detected_start_command {
            process_types.insert("web".to_owned(), command);
        }
        let now = store::now();
        let droplet = DropletRow {
            guid: store::new_guid(),
            app_guid: build.app_guid.clone(),
            package_guid: build.package_guid.clone(),
            build_guid: build.guid.clone(),
            sha256: sha256.clone(),
            sha1,
            size,
            process_types: store::json(&process_types),
            buildpack: reply.buildpack_key,
            detected: reply.detected_buildpack,
            buildpacks: build.buildpacks.clone(),
            stack: build.stack.clone(),
            created_at: now.clone(),
            updated_at: now,
        };
        if store::build_staged(&self.pool, &droplet, &self.id).await? {
            let words = format!(
                "Staging complete: droplet of {}",
                cupola_protocol::Bytes(u64::try_from(size).unwrap_or(0))
            );
            self.log(&AppId::new(build.app_guid.clone()), Stream::Out, words).await;
        } else {
            self.remove_unnamed(&[sha256], &[]).await?;
        }
        Ok(())
    }

    /// Ends a build of this controller with a reason, and leaves nothing of it.
    pub(crate) async fn build_failed(&self, build: &BuildRow, error: &str) -> Result<(), ApiError> {
        if !store::owns_build(&self.pool, &build.guid, &self.id).await? {
            // Another controller has taken it over.
            return Ok(());
        }
        let row: Option<BuildRow> = store::get(&self.pool, "builds", &build.guid).await?;
        let uploaded: Vec<_> = row.and_then(|row| row.upload_sha256).into_iter().collect();
        let droplets = store::droplets_of_app(&self.pool, &build.app_guid).await?;
        // Before the state says so: whoever sees FAILED finds nothing left.
        if !droplets.iter().any(|droplet| droplet.package_guid == build.package_guid) {
            self.expire_package(&build.package_guid).await?;
        }
        if droplets.is_empty() {
            self.blobs.remove(&Key::cache(&build.app_guid)).await?;
        }
        store::build_failed(&self.pool, &build.guid, error, &self.id).await?;
        self.remove_unnamed(&uploaded, &[]).await
    }
}

/// A stager that did not answer: before it took the app, or after.
enum Silent {
    Before(Failure),
    After(Failure),
}

/// Refuses ways of staging that are not built.
pub(crate) fn check_lifecycle(lifecycle: &cupola_protocol::api::Lifecycle) -> Result<(), ApiError> {
    if lifecycle.kind != "buildpack" {
        let detail = format!("Lifecycle type must be buildpack; {:?} is not supported.", lifecycle.kind);
        return Err(ApiError::unprocessable(detail));
    }
    if lifecycle.data.buildpacks.as_ref().is_some_and(|list| list.len() > 1) {
        return Err(ApiError::unprocessable(
            "Several buildpacks for one app are not supported yet: name one, or none.",
        ));
    }
    Ok(())
}

fn no_stager(problem: &NoPlace) -> Failure {
    let kind = match problem {
        NoPlace::NoStack { .. } => "StackNotFound",
        NoPlace::NoRoom { .. } => "InsufficientResources",
        _ => "StagerUnavailable",
    };
    Failure::new(kind, format!("no stager can stage this app: {problem}").replace("no node", "no stager"))
}

/// Why a stager's answer is a failure; none when it is not.
fn failure(reply: &Reply) -> Option<Failure> {
    let info = match (&reply.error_info, &reply.error) {
        (Some(info), _) => info.clone(),
        (None, Some(error)) => ErrorInfo {
            kind: "StagingError".to_owned(),
            message: error.clone(),
            phase: None,
            exit_status: None,
            last_lines: Vec::new(),
        },
        (None, None) => return None,
    };
    let facts: BTreeMap<&str, String> = [
        ("phase", info.phase.filter(|phase| !info.message.contains(phase.as_str()))),
        (
            "exit status",
            info.exit_status
                .map(|status| status.to_string())
                .filter(|_| !info.message.contains("exit status")),
        ),
    ]
    .into_iter()
    .filter_map(|(name, fact)| Some((name, fact?)))
    .collect();
    let mut message = info.message;
    if !facts.is_empty() {
        let facts: Vec<_> = facts.iter().map(|(name, fact)| format!("{name} {fact}")).collect();
        message = format!("{message} ({})", facts.join(", "));
    }
    for line in info.last_lines {
        message.push_str("\n  ");
        message.push_str(&line);
    }
    Some(Failure { kind: info.kind, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_phase_status_and_last_lines_once() {
        let reply: Reply = serde_json::from_value(serde_json::json!({
            "task_id": "t", "done": true, "error": "x",
            "error_info": {"type": "BuildpackCompileFailed", "message": "pip failed", "phase": "compile",
                "exit_status": 2, "last_lines": ["no such package"]},
        }))
        .unwrap();
        let failure = failure(&reply).unwrap();
        assert_eq!(failure.kind, "BuildpackCompileFailed");
        assert_eq!(failure.message, "pip failed (exit status 2, phase compile)\n  no such package");
        let reply = Reply { error_info: None, error: None, ..reply };
        assert!(super::failure(&reply).is_none());
    }
}

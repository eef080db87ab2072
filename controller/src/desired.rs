//! The desired state of apps, and the messages that make it true: start, stop, restart, scale, routes.
//!
//! Each start or restart makes a new version. Instances of an older version are extra: nodes are told to stop
//! them, and the health manager finds what they missed. Every change of a row and every message to a node about
//! an app happens under that app's lock, so that a stop never overtakes a start.

use crate::{
    api::ApiError,
    context::{Context, Shared},
    manifest::{RouteParts, duplicate_app},
    placement::{self, Need, NoPlace},
    quota,
    store::{self, AppRow, DomainRow, DropletRow, RouteRow},
};
use cupola_protocol::{
    AppId, Version,
    api::Scale,
    dea::{self, Limits, Stop, Update},
    logs::Stream,
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// The least pause between two rounds over all nodes.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How long a stop may take to reach the bus.
const FLUSH: Duration = Duration::from_secs(1);

/// What became of one try to place an instance.
enum Tried {
    /// A node runs it, or it is no longer wanted.
    Done,
    /// It may work later: a node may come, or room.
    Later(NoPlace),
    /// It will not work.
    Never(NoPlace),
}

impl Context {
    /// The action `start`: does nothing when the app is started already.
    pub(crate) async fn start_app(self: &Shared, guid: &str) -> Result<AppRow, ApiError> {
        let lock = self.locks.app(guid).await?;
        let app = self.app(guid).await?;
        if app.started() {
            return Ok(app);
        }
        let app = self.start_locked(app).await?;
        drop(lock);
        self.place(&app, (0..app.instances()).collect(), String::new());
        Ok(app)
    }

    /// The action `restart`: new instances of a new version, the old ones stopped.
    pub(crate) async fn restart_app(self: &Shared, guid: &str) -> Result<AppRow, ApiError> {
        let lock = self.locks.app(guid).await?;
        let app = self.app(guid).await?;
        let old = app.started().then(|| app.version());
        let app = self.start_locked(app).await?;
        if let Some(old) = old {
            self.stop_instances(&app.id(), Some(old), None).await?;
        }
        drop(lock);
        self.place(&app, (0..app.instances()).collect(), String::new());
        Ok(app)
    }

    /// The action `stop`.
    pub(crate) async fn stop_app(self: &Shared, guid: &str) -> Result<AppRow, ApiError> {
        let _lock = self.locks.app(guid).await?;
        let mut app = self.app(guid).await?;
        if app.started() {
            app.state = "STOPPED".to_owned();
            store::update_app(&self.pool, &mut app).await?;
            self.log(&app.id(), Stream::Out, format!("Stopping app {}", app.name)).await;
        }
        self.standings.forget(&app.id());
        store::forget_placements(&self.pool, &app.guid, 0).await?;
        // Also when it was stopped already: a node may have missed the first message.
        self.stop_instances(&app.id(), Some(app.version()), None).await?;
        self.tell_updated(&app.id()).await;
        Ok(app)
    }

    /// The action `scale`. Instances take effect at once, sizes at the next start.
    pub(crate) async fn scale_app(self: &Shared, guid: &str, scale: &Scale) -> Result<AppRow, ApiError> {
        let lock = self.locks.app(guid).await?;
        let mut app = self.app(guid).await?;
        let before = app.instances();
        if let Some(instances) = scale.instances {
            self.check_instances(instances)?;
            app.instances = i64::from(instances);
        }
        if let Some(memory) = scale.memory_in_mb {
            app.memory_mb = store::number(memory.0);
        }
        if let Some(disk) = scale.disk_in_mb {
            app.disk_mb = store::number(disk.0);
        }
        self.check_size(&app)?;
        self.save_app(&mut app).await?;
        let after = app.instances();
        if before != after {
            let words = format!("Scaling app {} from {before} to {after} instances", app.name);
            self.log(&app.id(), Stream::Out, words).await;
        }
        if app.started() && after < before {
            store::forget_placements(&self.pool, &app.guid, after).await?;
            self.stop_instances(&app.id(), Some(app.version()), Some((after..before).collect())).await?;
        }
        drop(lock);
        self.tell_updated(&app.id()).await;
        if app.started() && after > before {
            self.place(&app, (before..after).collect(), String::new());
        }
        Ok(app)
    }

    /// The routes of an app have changed: tells the nodes, and through `router.known` the routers.
    pub(crate) async fn routes_of_app_changed(&self, guid: &str) -> Result<(), ApiError> {
        let _lock = self.locks.app(guid).await?;
        self.routes_changed.notify_one();
        let Some(app) = store::get::<AppRow>(&self.pool, "apps", guid).await? else { return Ok(()) };
        if app.started() {
            let uris = store::uris_of_app(&self.pool, guid).await?;
            self.bus.publish(&Update { droplet: app.id(), uris, version: None }).await?;
        }
        Ok(())
    }

    /// Writes an app as it stands, when it fits into the quotas of its space and organization.
    pub(crate) async fn save_app(&self, app: &mut AppRow) -> Result<(), ApiError> {
        let mut room = self.room(&app.space_guid).await?;
        room.check_app(app).await?.map_err(|(owner, exceeded)| quota::refusal(owner, exceeded))?;
        store::update_app(room.connection(), app).await?;
        Ok(room.commit().await?)
    }

    /// The same for a new app.
    pub(crate) async fn make_app(&self, app: &AppRow) -> Result<(), ApiError> {
        let mut room = self.room(&app.space_guid).await?;
        room.check_app(app).await?.map_err(|(owner, exceeded)| quota::refusal(owner, exceeded))?;
        let made = store::insert_app(room.connection(), app).await;
        made.map_err(|error| duplicate_app(error, &app.name))?;
        Ok(room.commit().await?)
    }

    /// Makes a route, when it fits.
    pub(crate) async fn make_route(&self, space: &str, route: &RouteParts) -> Result<RouteRow, ApiError> {
        let mut room = self.room(space).await?;
        room.check_route().await?.map_err(|(owner, exceeded)| quota::refusal(owner, exceeded))?;
        match room.insert_route(&route.host, &route.path, &route.domain_guid).await {
            Ok(row) => {
                room.commit().await?;
                Ok(row)
            }
            Err(error) if store::is_duplicate(&error) => {
                drop(room);
                let domain: Option<DomainRow> = store::get(&self.pool, "domains", &route.domain_guid).await?;
                let domain = domain.map(|domain| domain.name).unwrap_or_default();
                let uri = store::uri(&route.host, &domain, &route.path);
                Err(ApiError::unprocessable(format!("Route already exists: {uri}.")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The lock under which room in the quotas of a space is taken.
    pub(crate) async fn room(&self, space: &str) -> Result<store::Room, ApiError> {
        store::room(&self.pool, space).await?.ok_or_else(|| ApiError::not_found("Space"))
    }

    /// An app, or "not found".
    pub(crate) async fn app(&self, guid: &str) -> Result<AppRow, ApiError> {
        store::get(&self.pool, "apps", guid).await?.ok_or_else(|| ApiError::not_found("App"))
    }

    pub(crate) fn check_instances(&self, instances: u32) -> Result<(), ApiError> {
        let max = self.config.max_instances;
        if instances > max {
            let detail = format!("Instances must not be more than {max}, the platform's limit for one app.");
            return Err(ApiError::unprocessable(detail));
        }
        Ok(())
    }

    /// Refuses at once what no node could ever run.
    pub(crate) fn check_size(&self, app: &AppRow) -> Result<(), ApiError> {
        if app.memory_mb <= 0 || app.disk_mb <= 0 {
            return Err(ApiError::unprocessable("Memory and disk must be more than 0."));
        }
        if app.disk() > self.config.max_disk_mb {
            let max = self.config.max_disk_mb;
            return Err(ApiError::unprocessable(format!(
                "Disk must not be more than {max}, the platform's limit."
            )));
        }
        let ads = self.nodes.fresh(self.config.advertisement_timeout());
        match placement::possible(&ads, app.memory(), app.disk()) {
            // That no node is known may be over in a moment.
            Ok(()) | Err(NoPlace::NoNode) => Ok(()),
            Err(problem) => Err(ApiError::unprocessable(format!("App {} cannot run: {problem}.", app.name))),
        }
    }

    async fn start_locked(&self, mut app: AppRow) -> Result<AppRow, ApiError> {
        if app.droplet_guid.is_none() {
            let detail = "Assign a droplet before starting this app: push it, or stage its package.";
            return Err(ApiError::unprocessable(detail));
        }
        self.check_size(&app)?;
        app.state = "STARTED".to_owned();
        app.version = Version::generate().to_string();
        app.started_at = store::now();
        self.save_app(&mut app).await?;
        store::forget_crashes(&self.pool, &app.guid).await?;
        store::forget_placements(&self.pool, &app.guid, 0).await?;
        self.standings.forget(&app.id());
        // Marked before anyone can ask, so that no instance looks lost between here and its placing.
        for index in 0..app.instances() {
            self.standings.begin(&app.id(), &app.version(), index);
        }
        let words = format!("Starting app {} with {} instances", app.name, app.instances());
        self.log(&app.id(), Stream::Out, words).await;
        self.tell_updated(&app.id()).await;
        self.routes_changed.notify_one();
        Ok(app)
    }

    /// Tells every node to stop instances of an app: of one version, at some indices.
    pub(crate) async fn stop_instances(
        &self,
        app: &AppId,
        version: Option<Version>,
        indices: Option<Vec<u32>>,
    ) -> Result<(), ApiError> {
        let stop = Stop { droplet: app.clone(), version, instances: None, indices, states: None };
        self.bus.publish(&stop).await?;
        // On the server before the lock is free: what another controller sends next comes after it. Without a server
        // it waits here in the client, and so do theirs.
        match tokio::time::timeout(FLUSH, self.bus.flush()).await {
            Ok(flushed) => flushed?,
            Err(_) => tracing::warn!(%app, "the bus is away: a stop waits for it"),
        }
        Ok(())
    }

    /// Finds nodes for these indices, one after the other, without letting the caller wait. An index that somebody has
    /// placed since a time (as rows have it; the empty text is before all) is not placed again.
    pub(crate) fn place(self: &Shared, app: &AppRow, indices: Vec<u32>, since: String) {
        for index in &indices {
            self.standings.begin(&app.id(), &app.version(), *index);
        }
        let (context, id, version) = (self.clone(), app.id(), app.version());
        self.tasks.spawn(async move {
            let deadline = Instant::now() + Duration::from_secs(context.config.node_wait_seconds);
            for index in indices {
                let problem = tokio::select! {
                    () = context.shutdown.cancelled() => return,
                    problem = context.place_one(&id, &version, index, &since, deadline) => problem,
                };
                context.standings.end(&id, &version, index, problem.clone());
                if let Some(problem) = problem {
                    tracing::warn!(app = %id, index, problem, "could not place an instance");
                    context
                        .log(&id, Stream::Err, format!("Could not start instance {index}: {problem}"))
                        .await;
                }
            }
        });
    }

    /// Finds a node for one instance, and goes on trying until the deadline; gives the reason when there is none.
    async fn place_one(
        &self,
        app: &AppId,
        version: &Version,
        index: u32,
        since: &str,
        deadline: Instant,
    ) -> Option<String> {
        let mut asked = false;
        loop {
            let problem = match self.try_nodes(app, version, index, since).await {
                Ok(Tried::Done) => return None,
                Ok(Tried::Never(problem)) => return Some(problem.to_string()),
                Ok(Tried::Later(problem)) if Instant::now() >= deadline => return Some(problem.to_string()),
                Ok(Tried::Later(_)) => None,
                Err(error) if Instant::now() >= deadline => return Some(error.detail().to_owned()),
                Err(error) => Some(error),
            };
            if let Some(error) = problem {
                tracing::warn!(%app, index, error = error.detail(), "a start failed for now");
            }
            if !asked {
                asked = true;
                if let Err(error) = self.bus.publish(&dea::Locate {}).await {
                    tracing::warn!(%error, "could not ask the nodes to advertise");
                }
            }
            // Room comes with an advertisement; the pause bounds the pace when many nodes send some.
            let _ = tokio::time::timeout_at(deadline, self.nodes.news()).await;
            tokio::time::sleep(RETRY_PAUSE.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Asks one node after the other, until one takes the instance.
    async fn try_nodes(
        &self,
        id: &AppId,
        version: &Version,
        index: u32,
        since: &str,
    ) -> Result<Tried, ApiError> {
        let mut tried = BTreeSet::new();
        let mut last = String::new();
        for _ in 0..self.config.tries {
            let _lock = self.locks.app(id.as_str()).await?;
            let Some(app) = store::get::<AppRow>(&self.pool, "apps", id.as_str()).await? else {
                return Ok(Tried::Done);
            };
            if !app.started() || app.version() != *version || index >= app.instances() {
                return Ok(Tried::Done);
            }
            if store::placed(&self.pool, &app.guid, &app.version, index, since).await? {
                return Ok(Tried::Done);
            }
            let Some(droplet) = self.droplet_of(&app).await? else { return Ok(Tried::Done) };
            let need = Need {
                app: id.clone(),
                memory: app.memory(),
                disk: app.disk(),
                stack: droplet.stack.clone(),
            };
            let ads = self.nodes.fresh(self.config.advertisement_timeout());
            let node = match placement::nodes(&ads, &need, &tried) {
                Ok(candidates) => candidates[rand::random_range(0..candidates.len())].id.clone(),
                Err(problem @ NoPlace::TooLarge { .. }) => return Ok(Tried::Never(problem)),
                Err(_) if !tried.is_empty() => break,
                Err(problem) => return Ok(Tried::Later(problem)),
            };
            let start = self.start_message(&app, &droplet, index).await?;
            let timeout = Duration::from_secs(self.config.start_answer_seconds);
            last = match self.bus.request(&dea::start_subject(&node), &start, timeout).await {
                Ok(dea::StartReply { error: None, .. }) => {
                    self.nodes.reserve(&node, id, app.memory(), app.disk());
                    store::record_placement(&self.pool, &app.guid, &app.version, index).await?;
                    tracing::info!(app = %id, index, %node, "placed an instance");
                    return Ok(Tried::Done);
                }
                Ok(dea::StartReply { error: Some(error), .. }) => error,
                Err(error @ cupola_bus::Error::NoResponders { .. }) => {
                    self.nodes.gone(&node);
                    error.to_string()
                }
                Err(error) => error.to_string(),
            };
            tracing::warn!(app = %id, index, %node, error = last, "a node did not take an instance");
            tried.insert(node);
        }
        let tried = tried.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Ok(Tried::Later(NoPlace::Refused { tried: format!("nodes {tried}"), last }))
    }

    /// The current droplet of an app.
    pub(crate) async fn droplet_of(&self, app: &AppRow) -> Result<Option<DropletRow>, ApiError> {
        match &app.droplet_guid {
            Some(guid) => Ok(store::get(&self.pool, "droplets", guid).await?),
            None => Ok(None),
        }
    }

    async fn start_message(
        &self,
        app: &AppRow,
        droplet: &DropletRow,
        index: u32,
    ) -> Result<dea::Start, ApiError> {
        let uris = store::uris_of_app(&self.pool, &app.guid).await?;
        let mut env: Vec<_> =
            app.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.push("CF_PROCESS_TYPE=web".to_owned());
        let bound = self.bound_to(&app.guid).await?;
        let timeout = app.health_check_timeout.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(dea::Start {
            droplet: app.id(),
            name: app.name.clone(),
            index,
            version: app.version(),
            stack: droplet.stack.clone(),
            sha1: droplet.sha1.clone(),
            sha256: Some(droplet.sha256.clone()),
            executable_uri: self.signer.url(
                &self.internal_url,
                "GET",
                &format!("/internal/droplets/{}", droplet.sha256),
            ),
            services: bound.services,
            limits: Limits { mem: app.memory(), disk: app.disk(), fds: self.config.fds },
            cc_partition: dea::default_partition(),
            env,
            start_command: app.command.clone(),
            health_check_timeout: Some(timeout.unwrap_or(self.config.default_health_check_timeout_seconds)),
            health_check_type: Some(app.health_check()),
            health_check_http_endpoint: app.health_check_endpoint.clone(),
            vcap_application: self.vcap_application(app, &uris).await?,
            egress_network_rules: bound.egress,
            uris,
        })
    }

    /// The controller's part of VCAP_APPLICATION.
    pub(crate) async fn vcap_application(
        &self,
        app: &AppRow,
        uris: &[String],
    ) -> Result<serde_json::Map<String, serde_json::Value>, ApiError> {
        let space: Option<store::SpaceRow> = store::get(&self.pool, "spaces", &app.space_guid).await?;
        let space = space.ok_or_else(|| ApiError::not_found("Space"))?;
        let organization: Option<store::OrganizationRow> =
            store::get(&self.pool, "organizations", &space.organization_guid).await?;
        let organization = organization.ok_or_else(|| ApiError::not_found("Organization"))?;
        let api = match &self.config.external_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://api.{}", self.config.domain),
        };
        let value = json!({
            "cf_api": api,
            "application_id": app.guid, "application_name": app.name, "application_uris": uris,
            "application_version": app.version,
            "name": app.name, "uris": uris, "version": app.version, "users": null,
            "space_name": space.name, "space_id": space.guid,
            "organization_name": organization.name, "organization_id": organization.guid,
            "limits": {"mem": app.memory_mb, "disk": app.disk_mb, "fds": self.config.fds},
        });
        match value {
            serde_json::Value::Object(map) => Ok(map),
            _ => Ok(serde_json::Map::new()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A started app with the guid `a`, the version `v` and one instance.
    pub(crate) fn app() -> AppRow {
        AppRow {
            guid: "a".into(),
            name: "app".into(),
            space_guid: "s".into(),
            state: "STARTED".into(),
            version: "v".into(),
            buildpacks: "[]".into(),
            stack: "bookworm".into(),
            environment: "{}".into(),
            droplet_guid: Some("d".into()),
            command: None,
            instances: 1,
            memory_mb: 64,
            disk_mb: 64,
            health_check_type: "port".into(),
            health_check_endpoint: None,
            health_check_timeout: None,
            health_check_invocation_timeout: None,
            started_at: String::new(),
            created_at: String::new(),
            updated_at: String::new(),
        }
    }
}

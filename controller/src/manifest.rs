//! Applying a manifest: everything is checked before anything is changed.

use crate::{
    api::ApiError,
    config::is_label,
    context::{Context, Shared},
    quota,
    services::PlannedBinding,
    staging::check_lifecycle,
    store::{self, AppRow, DomainRow, SpaceRow},
};
use cupola_protocol::{
    Version,
    api::{Lifecycle, Manifest, ManifestApp, Scale},
    dea::HealthCheck,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A route, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteParts {
    pub host: String,
    pub domain_guid: String,
    pub path: String,
}

/// One app of a manifest, checked, with the row that it leads to.
struct Plan {
    row: AppRow,
    is_new: bool,
    instances: Option<u32>,
    routes: Vec<RouteParts>,
    unmap: bool,
    bindings: Vec<PlannedBinding>,
}

/// Reads a manifest as clients send it.
pub(crate) fn parse(yaml: &[u8]) -> Result<Manifest, ApiError> {
    let manifest: Manifest = serde_yaml_ng::from_slice(yaml)
        .map_err(|error| ApiError::unprocessable(format!("The manifest cannot be read: {error}")))?;
    if manifest.applications.is_empty() {
        return Err(ApiError::unprocessable("The manifest names no app: add one under applications."));
    }
    Ok(manifest)
}

impl Context {
    /// Makes the apps of a space what a manifest says.
    pub(crate) async fn apply_manifest(
        self: &Shared,
        space: &SpaceRow,
        manifest: Manifest,
        user: &str,
    ) -> Result<(), ApiError> {
        let domains = store::domains(&self.pool).await?;
        let mut plans = Vec::new();
        let mut names = BTreeSet::new();
        for wish in manifest.applications {
            if !names.insert(wish.name.clone()) {
                return Err(ApiError::unprocessable(format!("The manifest names app {} twice.", wish.name)));
            }
            let name = wish.name.clone();
            let plan = self.plan(space, wish, &domains).await;
            plans.push(plan.map_err(|error| error.about(&format!("For application '{name}'")))?);
        }
        for plan in plans {
            self.carry_out(space, plan, user).await?;
        }
        Ok(())
    }

    async fn plan(
        &self,
        space: &SpaceRow,
        wish: ManifestApp,
        domains: &[DomainRow],
    ) -> Result<Plan, ApiError> {
        let wish = with_web_process(wish)?;
        if let Some(key) = wish.other.keys().next() {
            return Err(ApiError::unprocessable(format!(
                "The manifest's key {key} is not supported: remove it."
            )));
        }
        let existing = store::app_named(&self.pool, &space.guid, &wish.name).await?;
        let is_new = existing.is_none();
        let mut row = match existing {
            Some(row) => row,
            None => self.new_app(&wish.name, &space.guid)?,
        };
        let size = |error: cupola_protocol::size::InvalidSize| ApiError::unprocessable(format!("{error}."));
        if let Some(memory) = wish.memory_size().map_err(size)? {
            row.memory_mb = store::number(memory.0);
        }
        if let Some(disk) = wish.disk_size().map_err(size)? {
            row.disk_mb = store::number(disk.0);
        }
        if let Some(instances) = wish.instances {
            self.check_instances(instances)?;
        }
        if let Some(list) = wish.buildpack_list() {
            check_lifecycle(&Lifecycle::buildpack(list.clone(), None))?;
            row.buildpacks = store::json(&list);
        }
        if let Some(stack) = &wish.stack {
            row.stack.clone_from(stack);
        }
        if let Some(command) = &wish.command {
            row.command =
                Some(command.clone()).filter(|text| !matches!(text.as_str(), "null" | "default" | ""));
        }
        let endpoint = wish.health_check_http_endpoint.clone();
        self.set_health_check(&mut row, wish.health_check_type, endpoint, wish.timeout)?;
        if let Some(seconds) = wish.health_check_invocation_timeout {
            row.health_check_invocation_timeout = Some(store::number(seconds));
        }
        let changes = wish.env.iter().map(|(name, value)| Ok((name.clone(), env_text(name, value)?)));
        set_environment(&mut row, changes.collect::<Result<_, ApiError>>()?)?;
        self.check_size(&row)?;
        // Asked here so that nothing is changed when it cannot be; whoever takes the room asks again.
        let mut then = row.clone();
        then.instances = wish.instances.map_or(then.instances, i64::from);
        let fits = self.room(&space.guid).await?.check_app(&then).await?;
        fits.map_err(|(owner, exceeded)| quota::refusal(owner, exceeded))?;
        let routes = self.planned_routes(space, &row, &wish, is_new, domains).await?;
        let known = (!is_new).then_some(row.guid.as_str());
        let bindings = self.planned_bindings(space, known, &wish.services).await?;
        let unmap = wish.no_route == Some(true);
        Ok(Plan { row, is_new, instances: wish.instances, routes, unmap, bindings })
    }

    async fn planned_routes(
        &self,
        space: &SpaceRow,
        row: &AppRow,
        wish: &ManifestApp,
        is_new: bool,
        domains: &[DomainRow],
    ) -> Result<Vec<RouteParts>, ApiError> {
        if wish.no_route == Some(true) {
            return Ok(Vec::new());
        }
        let mut routes = Vec::new();
        for wanted in wish.routes.iter().flatten() {
            routes.push(parse_route(&wanted.route, domains)?);
        }
        let has_routes = !is_new && !store::routes_of_app(&self.pool, &row.guid).await?.is_empty();
        if routes.is_empty() && !has_routes {
            let host = host_of(&row.name);
            let chosen = match (wish.random_route, wish.default_route) {
                (Some(true), _) => Some(format!("{host}-{:06x}", rand::random_range(0..1 << 24))),
                (_, Some(true)) => Some(host),
                _ => None,
            };
            if let Some(host) = chosen {
                if !is_label(&host) {
                    let detail =
                        format!("No host name can be made of the name {:?}: give the app a route.", row.name);
                    return Err(ApiError::unprocessable(detail));
                }
                let domain = domains.first().ok_or_else(|| ApiError::not_found("Domain"))?;
                routes.push(RouteParts { host, domain_guid: domain.guid.clone(), path: String::new() });
            }
        }
        for route in &routes {
            self.check_route_free(space, route).await?;
        }
        Ok(routes)
    }

    /// Refuses a route that belongs to another space, or to the platform itself.
    pub(crate) async fn check_route_free(
        &self,
        space: &SpaceRow,
        route: &RouteParts,
    ) -> Result<(), ApiError> {
        let domain: Option<DomainRow> = store::get(&self.pool, "domains", &route.domain_guid).await?;
        let domain = domain.ok_or_else(|| ApiError::not_found("Domain"))?;
        if domain.name == self.config.domain && crate::announce::OWN_HOSTS.contains(&route.host.as_str()) {
            let detail = format!("The host {} belongs to the platform: choose another.", route.host);
            return Err(ApiError::unprocessable(detail));
        }
        match store::find_route(&self.pool, &route.host, &route.path, &route.domain_guid).await? {
            Some(other) if other.space_guid != space.guid => {
                let uri = store::uri(&route.host, &domain.name, &route.path);
                let detail = format!("The route {uri} is taken by another space: choose another.");
                Err(ApiError::unprocessable(detail))
            }
            _ => Ok(()),
        }
    }

    async fn carry_out(self: &Shared, space: &SpaceRow, plan: Plan, user: &str) -> Result<(), ApiError> {
        let Plan { mut row, is_new, instances, routes, unmap, bindings } = plan;
        if is_new {
            row.instances = i64::from(instances.unwrap_or(1));
            self.make_app(&row).await?;
        } else {
            let lock = self.locks.app(&row.guid).await?;
            // What a start, a stop or a scale has changed since the plan was made stays.
            let now = self.app(&row.guid).await?;
            row.state = now.state;
            row.version = now.version;
            row.started_at = now.started_at;
            row.droplet_guid = now.droplet_guid;
            row.instances = now.instances;
            row.updated_at = now.updated_at;
            self.save_app(&mut row).await?;
            drop(lock);
            if let Some(instances) = instances.filter(|instances| *instances != row.instances()) {
                self.scale_app(&row.guid, &Scale { instances: Some(instances), ..Scale::default() }).await?;
            }
        }
        let mut changed = false;
        for route in &routes {
            let found = store::find_route(&self.pool, &route.host, &route.path, &route.domain_guid).await?;
            let found = match found {
                Some(found) => found,
                None => self.add_route(space, route).await?,
            };
            changed |= store::insert_destination(&self.pool, &found.guid, &row.guid).await?;
        }
        if unmap {
            let done = sqlx::query("DELETE FROM destinations WHERE app_guid = $1")
                .bind(&row.guid)
                .execute(&self.pool);
            changed |= done.await?.rows_affected() > 0;
        }
        if changed {
            self.routes_of_app_changed(&row.guid).await?;
        }
        self.bind_planned(&row.guid, bindings, user).await
    }

    async fn add_route(&self, space: &SpaceRow, route: &RouteParts) -> Result<store::RouteRow, ApiError> {
        match self.make_route(&space.guid, route).await {
            Ok(made) => Ok(made),
            // Another request may have been faster, for this very space.
            Err(error) => {
                self.check_route_free(space, route).await?;
                store::find_route(&self.pool, &route.host, &route.path, &route.domain_guid)
                    .await?
                    .ok_or(error)
            }
        }
    }

    /// A new app with the platform's defaults; not in the database yet.
    pub(crate) fn new_app(&self, name: &str, space: &str) -> Result<AppRow, ApiError> {
        if name.trim().is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
            let detail = "Name must be 1 to 255 characters, and not all of them blank.";
            return Err(ApiError::unprocessable(detail));
        }
        let now = store::now();
        Ok(AppRow {
            guid: store::new_guid(),
            name: name.to_owned(),
            space_guid: space.to_owned(),
            state: "STOPPED".to_owned(),
            version: Version::generate().to_string(),
            buildpacks: "[]".to_owned(),
            stack: self.config.default_stack.clone(),
            environment: "{}".to_owned(),
            droplet_guid: None,
            command: None,
            instances: 1,
            memory_mb: store::number(self.config.default_memory_mb.0),
            disk_mb: store::number(self.config.default_disk_mb.0),
            health_check_type: "port".to_owned(),
            health_check_endpoint: None,
            health_check_timeout: None,
            health_check_invocation_timeout: None,
            started_at: now.clone(),
            created_at: now.clone(),
            updated_at: now,
        })
    }

    /// Changes how an app's health is found out; what is absent stays.
    pub(crate) fn set_health_check(
        &self,
        row: &mut AppRow,
        kind: Option<HealthCheck>,
        endpoint: Option<String>,
        timeout: Option<u64>,
    ) -> Result<(), ApiError> {
        if let Some(kind) = kind {
            row.health_check_type = store::health_check_name(kind).to_owned();
            if kind != HealthCheck::Http {
                row.health_check_endpoint = None;
            }
        }
        if let Some(endpoint) = endpoint {
            if row.health_check() != HealthCheck::Http {
                return Err(ApiError::unprocessable(
                    "A health check endpoint needs the health check type http.",
                ));
            }
            if !endpoint.starts_with('/') {
                return Err(ApiError::unprocessable(
                    "The health check endpoint must be a path that begins with /.",
                ));
            }
            row.health_check_endpoint = Some(endpoint);
        }
        if row.health_check() == HealthCheck::Http && row.health_check_endpoint.is_none() {
            row.health_check_endpoint = Some("/".to_owned());
        }
        if let Some(seconds) = timeout {
            let max = self.config.max_health_check_timeout_seconds;
            if seconds == 0 || seconds > max {
                let detail =
                    format!("The health check timeout must be 1 to {max} seconds, the platform's limit.");
                return Err(ApiError::unprocessable(detail));
            }
            row.health_check_timeout = Some(store::number(seconds));
        }
        Ok(())
    }
}

/// Tells that a name is taken from other failures.
pub(crate) fn duplicate_app(error: sqlx::Error, name: &str) -> ApiError {
    if store::is_duplicate(&error) {
        ApiError::unprocessable(format!(
            "App with the name '{name}' already exists in this space: choose another."
        ))
    } else {
        error.into()
    }
}

/// Changes an app's variables: none removes one, what is absent stays.
pub(crate) fn set_environment(
    row: &mut AppRow,
    changes: BTreeMap<String, Option<String>>,
) -> Result<(), ApiError> {
    let mut environment = row.environment();
    for (name, value) in changes {
        check_env_name(&name)?;
        match value {
            Some(value) if value.contains('\0') => {
                return Err(ApiError::unprocessable(format!("The variable {name} must not contain a NUL.")));
            }
            Some(value) => drop(environment.insert(name, value)),
            None => drop(environment.remove(&name)),
        }
    }
    row.environment = store::json(&environment);
    Ok(())
}

/// Names that the platform sets itself.
fn check_env_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(ApiError::unprocessable(format!("{name:?} is no name for a variable.")));
    }
    if name == "PORT" || name.starts_with("VCAP_") || name.starts_with("VMC_") {
        let detail = format!(
            "The variable {name} is set by the platform: choose a name other than PORT, VCAP_… and VMC_…."
        );
        return Err(ApiError::unprocessable(detail));
    }
    Ok(())
}

/// A variable's value as text; null removes it.
fn env_text(name: &str, value: &Value) -> Result<Option<String>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Number(_) => Ok(Some(value.to_string())),
        Value::Array(_) | Value::Object(_) => Err(ApiError::unprocessable(format!(
            "The variable {name} must be text, a number, true or false."
        ))),
    }
}

/// Moves what the process `web` says up to its app: ours have no other.
fn with_web_process(mut wish: ManifestApp) -> Result<ManifestApp, ApiError> {
    for process in wish.processes.take().unwrap_or_default() {
        if process.kind != "web" {
            let detail = format!("Process type {} is not supported yet: only web is.", process.kind);
            return Err(ApiError::unprocessable(detail));
        }
        wish.memory = process.memory.or(wish.memory);
        wish.disk_quota = process.disk_quota.or(wish.disk_quota);
        wish.instances = process.instances.or(wish.instances);
        wish.command = process.command.or(wish.command);
        wish.health_check_type = process.health_check_type.or(wish.health_check_type);
        wish.health_check_http_endpoint =
            process.health_check_http_endpoint.or(wish.health_check_http_endpoint);
        wish.timeout = process.timeout.or(wish.timeout);
        wish.other.extend(process.other);
    }
    Ok(wish)
}

/// A host name made of an app's name.
fn host_of(name: &str) -> String {
    let name: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(55)
        .collect();
    name.trim_matches('-').to_owned()
}

/// Takes `host.domain/path` apart: the longest known domain wins.
pub(crate) fn parse_route(route: &str, domains: &[DomainRow]) -> Result<RouteParts, ApiError> {
    let (name, path) = match route.split_once('/') {
        Some((name, path)) => (name, format!("/{path}")),
        None => (route, String::new()),
    };
    let name = name.to_lowercase();
    let fits = |domain: &&DomainRow| name == domain.name || name.ends_with(&format!(".{}", domain.name));
    let Some(domain) = domains.iter().filter(fits).max_by_key(|domain| domain.name.len()) else {
        let known: Vec<_> = domains.iter().map(|domain| domain.name.as_str()).collect();
        let detail = format!("The route {route:?} has no known domain; known: {}.", known.join(", "));
        return Err(ApiError::unprocessable(detail));
    };
    let host = name[..name.len() - domain.name.len()].trim_end_matches('.').to_owned();
    check_host_and_path(&host, &path)?;
    Ok(RouteParts { host, domain_guid: domain.guid.clone(), path: path.trim_end_matches('/').to_owned() })
}

/// Refuses hosts and paths that no route may have.
pub(crate) fn check_host_and_path(host: &str, path: &str) -> Result<(), ApiError> {
    if !(host.is_empty() || host == "*" || host.split('.').all(is_label)) {
        let detail = format!("The host {host:?} must be of letters, digits and hyphens.");
        return Err(ApiError::unprocessable(detail));
    }
    // Nodes serve files at their ids, which are UUIDs: an app there would be sent what is meant for them.
    if host.len() == 36 && Uuid::try_parse(host).is_ok() {
        let detail =
            format!("The host {host:?} has the form that the platform's nodes have: choose another.");
        return Err(ApiError::unprocessable(detail));
    }
    let bad = path.len() > 128 || path.contains(['?', '#', ' ']) || path.chars().any(char::is_control);
    if !path.is_empty() && (!path.starts_with('/') || bad) {
        let detail =
            format!("The path {path:?} must begin with /, have 128 characters at most, and no ? or #.");
        return Err(ApiError::unprocessable(detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::tests::app;
    use cupola_protocol::DeaId;

    fn domain(name: &str) -> DomainRow {
        DomainRow {
            guid: format!("guid of {name}"),
            name: name.to_owned(),
            created_at: String::new(),
            updated_at: String::new(),
        }
    }

    #[test]
    fn a_route_is_taken_apart_at_the_longest_domain() {
        let domains = [domain("test"), domain("apps.test")];
        let parts = parse_route("My.apps.test/a/", &domains).unwrap();
        assert_eq!(parts.host, "my");
        assert_eq!(parts.domain_guid, "guid of apps.test");
        assert_eq!(parts.path, "/a");
        assert_eq!(parse_route("apps.test", &domains).unwrap().host, "");
        for bad in ["x.other", "under_score.test", "a.test/x?y", ".test"] {
            let result = parse_route(bad, &domains);
            assert!(result.is_err() || result.unwrap().host.is_empty(), "{bad}");
        }
    }

    #[test]
    fn hosts_of_nodes_are_not_given_to_apps() {
        check_host_and_path("my-app", "").unwrap();
        let refused = check_host_and_path(&DeaId::generate().to_string(), "").unwrap_err();
        assert!(refused.detail().contains("nodes"), "{}", refused.detail());
    }

    #[test]
    fn variables_of_the_platform_are_refused_and_others_merged() {
        let mut row = AppRow { environment: r#"{"A":"1","B":"2"}"#.to_owned(), ..app() };
        let change =
            |name: &str, value: Option<&str>| BTreeMap::from([(name.to_owned(), value.map(str::to_owned))]);
        set_environment(&mut row, change("A", None)).unwrap();
        set_environment(&mut row, change("C", Some("3"))).unwrap();
        assert_eq!(row.environment, r#"{"B":"2","C":"3"}"#);
        for name in ["PORT", "VCAP_X", "VMC_Y", "", "A=B"] {
            set_environment(&mut row, change(name, Some("x"))).unwrap_err();
        }
    }

    #[test]
    fn manifests_are_read_as_the_cf_cli_sends_them() {
        let yaml = "applications:\n- name: m1\n  health-check-type: http\n  health-check-http-endpoint: /h\n  \
                    instances: 2\n  path: app\n  memory: 128M\n  default-route: true\n  buildpacks:\n  - \
                    binary_buildpack\n  command: ./run\n  env:\n    A: b\n    N: 1\n  routes:\n  - route: m1.apps.test\n";
        let manifest = parse(yaml.as_bytes()).unwrap();
        let app = with_web_process(manifest.applications[0].clone()).unwrap();
        assert!(app.other.is_empty(), "{:?}", app.other);
        assert_eq!(app.memory_size(), Ok(Some(cupola_protocol::Mebibytes(128))));
        assert_eq!(env_text("N", &app.env["N"]).unwrap().as_deref(), Some("1"));
        assert!(parse(b"applications: 3").is_err());
        assert!(parse(b"applications: []").is_err());
        assert_eq!(host_of("My App_1"), "my-app-1");
    }
}

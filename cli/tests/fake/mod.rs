//! A controller that behaves: apps, packages, builds and instances go through their states, in memory.

mod resources;
mod services;
mod tenancy;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Multipart, Path, Query, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    io::{Cursor, Read},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

const TIME: &str = "2026-01-01T00:00:00Z";

/// What the controller holds, and how it is to behave.
#[derive(Default)]
pub(crate) struct Platform {
    /// `METHOD path?query` of every request.
    pub(crate) requests: Vec<String>,
    /// Access tokens that are good.
    pub(crate) tokens: Vec<String>,
    /// App by name.
    pub(crate) apps: HashMap<String, Value>,
    /// The last manifest.
    pub(crate) manifest: String,
    /// SHA-1 digests of files that are here already.
    pub(crate) known: Vec<String>,
    /// Names and content of the last upload's archive.
    pub(crate) uploaded: Vec<(String, Vec<u8>)>,
    /// The last upload's part `resources`.
    pub(crate) resources: Value,
    /// The log: source, output, text.
    pub(crate) log: Vec<(&'static str, &'static str, String)>,
    /// Instances that are wanted.
    pub(crate) instances: u64,
    /// Why staging fails, if it does.
    pub(crate) staging_error: Option<&'static str>,
    /// The state and details that instances come to, instead of running.
    pub(crate) instances_end: Option<(&'static str, &'static str)>,
    /// Organizations, spaces, users, roles, quotas.
    pub(crate) tenants: tenancy::Tenants,
    /// Requests that are lost, once each: how they begin, and whether they are handled all the same.
    pub(crate) lost: Vec<(&'static str, bool)>,
    /// Builds that were begun.
    pub(crate) builds: u32,
    /// Files of every instance, by path; what an app writes while it is followed is added here.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Crashed instances, as they are told.
    pub(crate) crashes: Vec<Value>,
    /// Routes by guid.
    pub(crate) routes: BTreeMap<String, Value>,
    /// Domains by guid.
    pub(crate) domains: BTreeMap<String, String>,
    /// Service instances, bindings and brokers.
    pub(crate) services: services::Services,
    /// Tokens given so far.
    given: u32,
    /// Looks at what takes a while.
    looks: HashMap<String, u32>,
    env: serde_json::Map<String, Value>,
}

/// A controller that listens.
#[derive(Clone)]
pub(crate) struct Fake {
    platform: Arc<Mutex<Platform>>,
    pub(crate) addr: SocketAddr,
}

type Shared = State<Arc<Mutex<Platform>>>;

impl Fake {
    /// Starts one on a runtime of its own.
    pub(crate) fn start() -> Self {
        let platform = Arc::new(Mutex::new(Platform {
            instances: 1,
            routes: BTreeMap::from([(
                "r1".to_owned(),
                resources::route("r1", "hello", "", Some("guid-of-hello")),
            )]),
            domains: BTreeMap::from([("d1".to_owned(), "apps.test".to_owned())]),
            ..Platform::default()
        }));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let app = routes(platform.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, app).await.unwrap();
            });
        });
        Self { platform, addr }
    }

    pub(crate) fn platform(&self) -> MutexGuard<'_, Platform> {
        self.platform.lock().unwrap()
    }
}

impl Platform {
    /// Whether something that takes a while is done by now: at the third look.
    fn done(&mut self, what: &str) -> bool {
        let looks = self.looks.entry(what.to_owned()).or_default();
        *looks += 1;
        *looks > 2
    }

    fn token(&mut self) -> Value {
        self.given += 1;
        let token = format!("token-{}", self.given);
        self.tokens = vec![token.clone()];
        json!({"access_token": token, "token_type": "bearer", "refresh_token": "refresh-me", "expires_in": 600})
    }

    fn say(&mut self, source: &'static str, output: &'static str, text: &str) {
        self.log.push((source, output, text.to_owned()));
    }
}

fn routes(platform: Arc<Mutex<Platform>>) -> Router {
    Router::new()
        .route("/v3/spaces/s1/actions/apply_manifest", post(apply_manifest))
        .merge(tenancy::routes())
        .route("/v3/jobs/{job}", get(job))
        .route("/v3/apps", get(apps))
        .route("/v3/apps/{app}", get(app).patch(rename_app).delete(delete_app))
        .merge(resources::routes())
        .merge(services::routes())
        .route(
            "/v3/apps/{app}/processes",
            get(|State(p): Shared| async move { page(vec![process(&p.lock().unwrap())]) }),
        )
        .route("/v3/processes/{process}/stats", get(stats))
        .route("/v3/apps/{app}/processes/web/stats", get(stats))
        .route("/v3/apps/{app}/droplets/current", get(current_droplet))
        .route("/v3/apps/{app}/relationships/current_droplet", any(set_droplet))
        .route("/v3/apps/{app}/actions/{action}", post(act))
        .route("/v3/apps/{app}/processes/web/actions/scale", post(scale))
        .route("/v3/apps/{app}/env", get(env))
        .route("/v3/apps/{app}/environment_variables", any(set_env))
        .route("/v3/resource_matches", post(matches))
        .route(
            "/v3/packages",
            get(|| async { page(vec![package("READY")]) })
                .post(|| async { (StatusCode::CREATED, Json(package("AWAITING_UPLOAD"))) }),
        )
        .route("/v3/packages/p1", get(package_state))
        .route("/v3/packages/p1/upload", post(upload))
        .route("/v3/builds", get(builds).post(build))
        .route("/v3/builds/b1", get(build_state))
        .route("/api/v1/read/{app}", get(read))
        .route_layer(middleware::from_fn_with_state(platform.clone(), authorized))
        .route("/", get(|| async {
            Json(json!({"links": {"cloud_controller_v3": {"href": "http://unused/v3", "meta": {"version": "3.131.0"}}}}))
        }))
        .route("/v3/info", get(|| async { Json(json!({"name": "cupola", "build": "0.1.0", "description": "a platform"})) }))
        .route("/oauth/token", post(token))
        .layer(middleware::from_fn_with_state(platform.clone(), noted))
        .with_state(platform)
}

async fn noted(State(p): Shared, request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    let lost = {
        let mut p = p.lock().unwrap();
        p.requests.push(line.clone());
        let found = p.lost.iter().position(|(start, _)| line.starts_with(start));
        found.map(|index| p.lost.remove(index).1)
    };
    match lost {
        // The router's word when the controller behind it is gone.
        Some(handled) => {
            if handled {
                next.run(request).await;
            }
            (StatusCode::BAD_GATEWAY, "502 Bad Gateway").into_response()
        }
        None => next.run(request).await,
    }
}

async fn authorized(State(p): Shared, request: Request, next: Next) -> Response {
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if p.lock().unwrap().tokens.iter().any(|good| good == token) {
        next.run(request).await
    } else {
        refused(StatusCode::UNAUTHORIZED, "invalid token")
    }
}

fn refused(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({"errors": [{"code": 10008, "title": "CF-Refused", "detail": detail}]})))
        .into_response()
}

async fn token(State(p): Shared, body: String) -> Response {
    let password = format!("password={}", p.lock().unwrap().tenants.password);
    let good = body.contains(&password) || body.contains("refresh_token=refresh-me");
    if good {
        Json(p.lock().unwrap().token()).into_response()
    } else {
        let wrong = json!({"error": "unauthorized", "error_description": "Bad credentials"});
        (StatusCode::UNAUTHORIZED, Json(wrong)).into_response()
    }
}

fn page(resources: Vec<Value>) -> Json<Value> {
    let link = json!({"href": "http://unused"});
    Json(json!({
        "pagination": {"total_results": resources.len(), "total_pages": 1, "first": link, "last": link, "next": null, "previous": null},
        "resources": resources,
    }))
}

fn named(guid: &str, name: &str) -> Value {
    json!({"guid": guid, "name": name, "created_at": TIME, "updated_at": TIME})
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, [("location", "http://elsewhere/v3/jobs/j1")]).into_response()
}

async fn job(State(p): Shared, Path(guid): Path<String>) -> Json<Value> {
    let mut p = p.lock().unwrap();
    if let Some(job) = p.services.look(&guid) {
        return Json(job);
    }
    let state = if p.done("job") { "COMPLETE" } else { "PROCESSING" };
    Json(json!({"guid": guid, "created_at": TIME, "updated_at": TIME, "operation": "x", "state": state}))
}

async fn apply_manifest(State(p): Shared, yaml: String) -> Response {
    let mut p = p.lock().unwrap();
    if yaml.contains("no-such-buildpack") {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "there is no buildpack \"no-such-buildpack\"");
    }
    for line in yaml.lines() {
        if let Some(name) = line.trim_start_matches("- ").trim().strip_prefix("name: ") {
            let mut app = named(&format!("guid-of-{name}"), name);
            app["state"] = json!("STOPPED");
            app["lifecycle"] = json!({"type": "buildpack", "data": {}});
            p.apps.entry(name.to_owned()).or_insert(app);
        }
        if let Some(count) = line.trim().strip_prefix("instances: ") {
            p.instances = count.parse().unwrap();
        }
    }
    p.manifest = yaml;
    accepted()
}

async fn apps(State(p): Shared, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let p = p.lock().unwrap();
    let mut all: Vec<Value> = p
        .apps
        .iter()
        .filter(|(name, _)| query.get("names").is_none_or(|wanted| wanted == *name))
        .map(|(_, app)| app.clone())
        .collect();
    all.sort_by_key(|app| app["name"].to_string());
    page(all)
}

fn by_guid<'a>(p: &'a mut Platform, guid: &str) -> Option<&'a mut Value> {
    p.apps.values_mut().find(|app| app["guid"] == guid)
}

async fn app(State(p): Shared, Path(guid): Path<String>) -> Response {
    match by_guid(&mut p.lock().unwrap(), &guid) {
        Some(app) => Json(app.clone()).into_response(),
        None => refused(StatusCode::NOT_FOUND, "App not found"),
    }
}

async fn delete_app(State(p): Shared, Path(guid): Path<String>) -> Response {
    p.lock().unwrap().apps.retain(|_, app| app["guid"] != guid.as_str());
    accepted()
}

async fn rename_app(State(p): Shared, Path(guid): Path<String>, Json(body): Json<Value>) -> Response {
    let mut p = p.lock().unwrap();
    let new = body["name"].as_str().unwrap().to_owned();
    if p.apps.contains_key(&new) {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "the name is taken");
    }
    let Some(mut app) = by_guid(&mut p, &guid).cloned() else {
        return refused(StatusCode::NOT_FOUND, "App not found");
    };
    p.apps.retain(|_, app| app["guid"] != guid.as_str());
    app["name"] = json!(new);
    p.apps.insert(new, app.clone());
    Json(app).into_response()
}

fn process(p: &Platform) -> Value {
    json!({"guid": "w1", "created_at": TIME, "updated_at": TIME, "type": "web", "command": null, "instances": p.instances,
           "memory_in_mb": 256, "disk_in_mb": 1024, "health_check": {"type": "port"}})
}

async fn stats(State(p): Shared) -> Json<Value> {
    let mut p = p.lock().unwrap();
    let done = p.done("instances");
    let (state, details) = match p.instances_end {
        _ if !done => ("STARTING", None),
        Some((state, details)) => (state, Some(details)),
        None => ("RUNNING", None),
    };
    let all: Vec<Value> = (0..p.instances)
        .map(|index| {
            let mut one = json!({"type": "web", "index": index, "state": state, "details": details,
                                 "mem_quota": 256 << 20, "disk_quota": 1 << 30, "uptime": 75});
            if state == "RUNNING" {
                one["usage"] = json!({"time": TIME, "cpu": 0.015, "mem": 30 << 20, "disk": 5 << 20});
            }
            one
        })
        .collect();
    Json(json!({"resources": all}))
}

fn droplet() -> Value {
    json!({"guid": "d1", "created_at": TIME, "updated_at": TIME, "state": "STAGED", "stack": "cupola",
           "lifecycle": {"type": "buildpack"}, "buildpacks": [{"name": "python", "buildpack_name": "python"}]})
}

async fn current_droplet(State(p): Shared, Path(guid): Path<String>) -> Response {
    let mut p = p.lock().unwrap();
    match by_guid(&mut p, &guid).is_some_and(|app| app["droplet"] == true) {
        true => Json(droplet()).into_response(),
        false => refused(StatusCode::NOT_FOUND, "Droplet not found"),
    }
}

async fn set_droplet(State(p): Shared, Path(guid): Path<String>, Json(body): Json<Value>) -> Json<Value> {
    assert_eq!(body, json!({"data": {"guid": "d1"}}));
    if let Some(app) = by_guid(&mut p.lock().unwrap(), &guid) {
        app["droplet"] = json!(true);
    }
    Json(body)
}

async fn act(State(p): Shared, Path((guid, action)): Path<(String, String)>) -> Response {
    let mut p = p.lock().unwrap();
    p.looks.remove("instances");
    p.say("APP/PROC/WEB", "ERR", "cannot find the port");
    match by_guid(&mut p, &guid) {
        Some(app) => {
            app["state"] = json!(if action == "stop" { "STOPPED" } else { "STARTED" });
            Json(app.clone()).into_response()
        }
        None => refused(StatusCode::NOT_FOUND, "App not found"),
    }
}

async fn scale(State(p): Shared, Json(body): Json<Value>) -> Json<Value> {
    let mut p = p.lock().unwrap();
    if let Some(count) = body["instances"].as_u64() {
        p.instances = count;
    }
    p.looks.remove("instances");
    Json(process(&p))
}

async fn env(State(p): Shared) -> Json<Value> {
    let p = p.lock().unwrap();
    Json(
        json!({"environment_variables": p.env, "application_env_json": {"VCAP_APPLICATION": {"name": "hello"}}}),
    )
}

async fn set_env(State(p): Shared, Json(body): Json<Value>) -> Json<Value> {
    let mut p = p.lock().unwrap();
    for (name, value) in body["var"].as_object().unwrap() {
        match value {
            Value::Null => drop(p.env.remove(name)),
            value => drop(p.env.insert(name.clone(), value.clone())),
        }
    }
    Json(json!({"var": p.env}))
}

async fn matches(State(p): Shared, Json(body): Json<Value>) -> Response {
    let p = p.lock().unwrap();
    let known = |file: &&Value| p.known.iter().any(|digest| file["checksum"]["value"] == digest.as_str());
    let matched: Vec<Value> = body["resources"].as_array().unwrap().iter().filter(known).cloned().collect();
    (StatusCode::CREATED, Json(json!({"resources": matched}))).into_response()
}

fn package(state: &str) -> Value {
    json!({"guid": "p1", "created_at": TIME, "updated_at": TIME, "type": "bits", "state": state})
}

async fn upload(State(p): Shared, mut parts: Multipart) -> Json<Value> {
    while let Some(part) = parts.next_field().await.unwrap() {
        let name = part.name().unwrap().to_owned();
        let bytes: Bytes = part.bytes().await.unwrap();
        let mut p = p.lock().unwrap();
        if name == "resources" {
            p.resources = serde_json::from_slice(&bytes).unwrap();
        } else {
            let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
            p.uploaded = (0..archive.len())
                .map(|index| {
                    let mut entry = archive.by_index(index).unwrap();
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content).unwrap();
                    (entry.name().unwrap().into_owned(), content)
                })
                .collect();
        }
    }
    Json(package("PROCESSING_UPLOAD"))
}

async fn package_state(State(p): Shared) -> Json<Value> {
    let mut p = p.lock().unwrap();
    if p.uploaded.is_empty() {
        return Json(package("AWAITING_UPLOAD"));
    }
    let done = p.done("package");
    Json(package(if done { "READY" } else { "PROCESSING_UPLOAD" }))
}

fn a_build(state: &str, error: Option<&str>) -> Value {
    let droplet = (state == "STAGED").then(|| json!({"guid": "d1"}));
    json!({"guid": "b1", "created_at": TIME, "updated_at": TIME, "state": state, "error": error, "droplet": droplet,
           "package": {"guid": "p1"}, "lifecycle": {"type": "buildpack"}})
}

async fn builds(State(p): Shared) -> Json<Value> {
    let begun = p.lock().unwrap().builds > 0;
    page(begun.then(|| a_build("STAGING", None)).into_iter().collect())
}

async fn build(State(p): Shared) -> Response {
    let mut p = p.lock().unwrap();
    p.builds += 1;
    p.looks.remove("build");
    p.say("STG", "OUT", "detected python");
    (StatusCode::CREATED, Json(a_build("STAGING", None))).into_response()
}

async fn build_state(State(p): Shared) -> Json<Value> {
    let mut p = p.lock().unwrap();
    if !p.done("build") {
        return Json(a_build("STAGING", None));
    }
    p.say("STG", "OUT", "the last line of staging");
    match p.staging_error {
        Some(error) => Json(a_build("FAILED", Some(error))),
        None => Json(a_build("STAGED", None)),
    }
}

async fn read(
    State(p): Shared,
    Path(app): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    _: HeaderMap,
) -> Json<Value> {
    let p = p.lock().unwrap();
    let number = |name: &str, default: i64| query.get(name).map_or(default, |text| text.parse().unwrap());
    let (start, limit) = (number("start_time", 0), number("limit", 100) as usize);
    let mut lines: Vec<Value> = p
        .log
        .iter()
        .enumerate()
        // Far from the client's clock: only the platform's own times may count.
        .map(|(index, line)| (1_700_000_000_000_000_000 + index as i64, line))
        .filter(|(time, _)| *time >= start)
        .map(|(time, (source, output, text))| {
            json!({"timestamp": time.to_string(), "source_id": app, "instance_id": "0", "tags": {"source_type": source},
                   "log": {"payload": base64(text), "type": output}})
        })
        .collect();
    if query.get("descending").is_some_and(|value| value == "true") {
        lines.reverse();
    }
    lines.truncate(limit);
    Json(json!({"envelopes": {"batch": lines}}))
}

fn base64(text: &str) -> String {
    let line = cupola_protocol::logs::LogLine {
        app: "a".into(),
        instance_id: String::new(),
        source_type: cupola_protocol::logs::Source::App,
        stream: cupola_protocol::logs::Stream::Out,
        timestamp: 0,
        message: text.to_owned(),
    };
    cupola_protocol::api::Envelope::of(&line).log.unwrap().payload
}

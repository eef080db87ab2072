//! Routes, domains, files and crashes, and what the platform offers.

use super::{Platform, Shared, TIME, accepted, named, page, refused};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

pub(super) fn routes() -> Router<Arc<Mutex<Platform>>> {
    Router::new()
        .route("/v3/apps/{app}/routes", get(all_routes))
        .route("/v3/routes", get(all_routes).post(create_route))
        .route("/v3/routes/{route}", delete(delete_route))
        .route("/v3/routes/{route}/destinations", post(map_route))
        .route("/v3/routes/{route}/destinations/{destination}", delete(unmap_route))
        .route("/v3/domains", get(domains).post(create_domain))
        .route("/v3/domains/{domain}", delete(delete_domain))
        .route("/v3/stacks", get(|| async { page(vec![stack()]) }))
        .route("/v3/buildpacks", get(|| async { page(vec![buildpack(1, "static"), buildpack(2, "python")]) }))
        .route(
            "/v2/apps/{app}/crashes",
            get(|State(p): Shared| async move { Json(p.lock().unwrap().crashes.clone()) }),
        )
        .route("/v2/apps/{app}/instances/{instance}/files/", get(home))
        .route("/v2/apps/{app}/instances/{instance}/files/{*path}", get(file))
}

pub(super) fn route(guid: &str, host: &str, path: &str, app: Option<&str>) -> Value {
    let destinations: Vec<Value> =
        app.iter().map(|app| json!({"guid": format!("to-{app}"), "app": {"guid": app}})).collect();
    json!({"guid": guid, "created_at": TIME, "updated_at": TIME, "host": host, "path": path,
           "url": format!("{host}.apps.test{path}"), "destinations": destinations})
}

async fn all_routes(State(p): Shared, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let p = p.lock().unwrap();
    let is = |route: &Value, name: &str, field: &str| {
        query.get(name).is_none_or(|wanted| route[field] == wanted.as_str())
    };
    page(
        p.routes
            .values()
            .filter(|route| is(route, "hosts", "host") && is(route, "paths", "path"))
            .cloned()
            .collect(),
    )
}

async fn create_route(State(p): Shared, Json(body): Json<Value>) -> Response {
    let mut p = p.lock().unwrap();
    let (host, path) = (body["host"].as_str().unwrap(), body["path"].as_str().unwrap());
    let guid = format!("r{}", p.routes.len() + 1);
    let new = route(&guid, host, path, None);
    if p.routes.values().any(|route| route["url"] == new["url"]) {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, &format!("Route already exists: {}.", new["url"]));
    }
    p.routes.insert(guid, new.clone());
    (StatusCode::CREATED, Json(new)).into_response()
}

async fn delete_route(State(p): Shared, Path(guid): Path<String>) -> Response {
    p.lock().unwrap().routes.remove(&guid);
    accepted()
}

async fn map_route(State(p): Shared, Path(guid): Path<String>, Json(body): Json<Value>) -> Json<Value> {
    let mut p = p.lock().unwrap();
    let app = body["destinations"][0]["app"]["guid"].as_str().unwrap();
    p.routes.get_mut(&guid).unwrap()["destinations"] =
        json!([{"guid": format!("to-{app}"), "app": {"guid": app}}]);
    Json(json!({"destinations": p.routes[&guid]["destinations"]}))
}

async fn unmap_route(State(p): Shared, Path((guid, destination)): Path<(String, String)>) -> StatusCode {
    let mut p = p.lock().unwrap();
    let route = p.routes.get_mut(&guid).unwrap();
    assert_eq!(route["destinations"][0]["guid"], destination.as_str());
    route["destinations"] = json!([]);
    StatusCode::NO_CONTENT
}

async fn domains(State(p): Shared, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let p = p.lock().unwrap();
    let wanted = |name: &str| query.get("names").is_none_or(|wanted| wanted == name);
    page(p.domains.iter().filter(|(_, name)| wanted(name)).map(|(guid, name)| named(guid, name)).collect())
}

async fn create_domain(State(p): Shared, Json(body): Json<Value>) -> Response {
    let mut p = p.lock().unwrap();
    let (guid, name) = (format!("d{}", p.domains.len() + 1), body["name"].as_str().unwrap());
    p.domains.insert(guid.clone(), name.to_owned());
    (StatusCode::CREATED, Json(named(&guid, name))).into_response()
}

async fn delete_domain(State(p): Shared, Path(guid): Path<String>) -> Response {
    p.lock().unwrap().domains.remove(&guid);
    accepted()
}

fn stack() -> Value {
    let mut stack = named("s", "cupola");
    stack["default"] = json!(true);
    stack
}

fn buildpack(position: u32, name: &str) -> Value {
    let mut buildpack = named(name, name);
    buildpack["position"] = json!(position);
    buildpack["enabled"] = json!(true);
    buildpack["locked"] = json!(true);
    buildpack
}

async fn home(
    p: Shared,
    query: Query<HashMap<String, String>>,
    headers: HeaderMap,
    Path((app, instance)): Path<(String, String)>,
) -> Response {
    file(p, query, headers, Path((app, instance, String::new()))).await
}

/// A file or a directory, whole, in part, or what was added to it since: as the controller fetches them.
async fn file(
    State(p): Shared,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    Path((_, instance, path)): Path<(String, String, String)>,
) -> Response {
    assert_eq!(query["redirect"], "false");
    let files: BTreeMap<String, Vec<u8>> = p.lock().unwrap().files.clone();
    if instance == "9" {
        return refused(
            StatusCode::BAD_REQUEST,
            "App hello has 1 instances: there is no index 9, the highest is 0.",
        );
    }
    let Some(content) = files.get(&path) else {
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        let inside = files.iter().filter_map(|(file, content)| Some((file.strip_prefix(&below)?, content)));
        let line = |(name, content): (&str, &Vec<u8>)| match name.split_once('/') {
            Some((directory, _)) => format!("{:<35} {:>10}\n", format!("{directory}/"), "-"),
            None => format!("{name:<35} {:>10}\n", format!("{}B", content.len())),
        };
        let mut lines: Vec<String> = inside.map(line).collect();
        lines.dedup();
        return match lines.is_empty() {
            true => refused(
                StatusCode::NOT_FOUND,
                &format!("there is no file or directory {path:?} in the instance."),
            ),
            false => lines.concat().into_response(),
        };
    };
    let size = content.len();
    if query.contains_key("tail") {
        let from = query["tail_offset"].parse::<usize>().unwrap();
        // Once there is more than was seen, it is given, and the file is gone for the next look.
        if from < size {
            p.lock().unwrap().files.remove(&path);
        }
        return Body::from(content[from..].to_vec()).into_response();
    }
    let Some(range) = headers.get("range") else { return content.clone().into_response() };
    let last: usize = range.to_str().unwrap().strip_prefix("bytes=-").unwrap().parse().unwrap();
    if size == 0 {
        return (StatusCode::RANGE_NOT_SATISFIABLE, [("content-range", "bytes */0")]).into_response();
    }
    let from = size.saturating_sub(last);
    let head = [("content-range", format!("bytes {from}-{}/{size}", size - 1))];
    (StatusCode::PARTIAL_CONTENT, head, content[from..].to_vec()).into_response()
}

//! Tenants: organizations, spaces, users, roles and quotas as lists of JSON that can be added to, looked through,
//! changed and removed from.

use super::{Shared, TIME, accepted, page, refused};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post, put},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

const KINDS: [&str; 6] = ["organizations", "spaces", "users", "roles", "organization_quotas", "space_quotas"];

/// What there is.
pub(crate) struct Tenants {
    /// By kind.
    pub(crate) all: BTreeMap<&'static str, Vec<Value>>,
    /// The password of whoever is logged in.
    pub(crate) password: String,
    /// What was sent to `/Users` last.
    pub(crate) uaa: Value,
    made: u32,
}

impl Default for Tenants {
    fn default() -> Self {
        let mut all: BTreeMap<_, _> = KINDS.map(|kind| (kind, Vec::new())).into();
        let relationships = json!({"quota": {"data": {"guid": "q1"}}});
        all.insert(
            "organizations",
            vec![with("o1", json!({"name": "main", "relationships": relationships}))],
        );
        let relationships = json!({"organization": {"data": {"guid": "o1"}}});
        all.insert("spaces", vec![with("s1", json!({"name": "dev", "relationships": relationships}))]);
        let admin = json!({"username": "admin", "presentation_name": "admin", "origin": "uaa"});
        all.insert("users", vec![with("u1", admin)]);
        all.insert("organization_quotas", vec![with("q1", json!({"name": "default"}))]);
        Self { all, password: "right".to_owned(), uaa: Value::Null, made: 10 }
    }
}

/// A resource with what every one has.
fn with(guid: &str, mut fields: Value) -> Value {
    for (name, value) in [("guid", guid), ("created_at", TIME), ("updated_at", TIME)] {
        fields[name] = json!(value);
    }
    fields
}

fn guid_of<'a>(one: &'a Value, side: &str) -> &'a str {
    one["relationships"][side]["data"]["guid"].as_str().unwrap_or_default()
}

/// Whether a resource meets a word of the query.
fn meets(one: &Value, name: &str, wanted: &str) -> bool {
    let found = match name {
        "names" => one["name"].as_str().unwrap_or_default(),
        "usernames" => one["username"].as_str().unwrap_or_default(),
        "types" => one["type"].as_str().unwrap_or_default(),
        "organization_guids" => guid_of(one, "organization"),
        "space_guids" => guid_of(one, "space"),
        "user_guids" => guid_of(one, "user"),
        _ => return true,
    };
    found == wanted
}

pub(super) fn routes() -> Router<Arc<Mutex<super::Platform>>> {
    let lists = KINDS.into_iter().fold(Router::new(), |router, kind| {
        let list = get(async move |p: Shared, query: Query<HashMap<String, String>>| list(kind, p, query));
        let list = list.post(async move |p: Shared, body: Json<Value>| make(kind, p, body));
        let one = get(async move |p: Shared, guid: Path<String>| one(kind, p, guid));
        let one = one.merge(patch(async move |p: Shared, guid: Path<String>, body: Json<Value>| {
            change(kind, p, guid, body)
        }));
        let one = one.merge(delete(async move |p: Shared, guid: Path<String>| remove(kind, p, guid)));
        router.route(&format!("/v3/{kind}"), list).route(&format!("/v3/{kind}/{{guid}}"), one)
    });
    lists
        .route("/v3/{kind}/{guid}/usage_summary", get(usage))
        .route("/v3/organization_quotas/{guid}/relationships/organizations", post(apply))
        .route("/v3/space_quotas/{guid}/relationships/spaces", post(apply))
        .route(
            "/v3/space_quotas/{guid}/relationships/spaces/{space}",
            delete(|| async { StatusCode::NO_CONTENT }),
        )
        .route("/Users", post(make_user))
        .route("/Users/{guid}", delete(|| async { Json(json!({})) }))
        .route("/Users/{guid}/password", put(password))
}

fn list(kind: &str, State(p): Shared, Query(query): Query<HashMap<String, String>>) -> Response {
    let p = p.lock().unwrap();
    let good = |one: &&Value| query.iter().all(|(name, wanted)| meets(one, name, wanted));
    let found: Vec<Value> = p.tenants.all[kind].iter().filter(good).cloned().collect();
    let mut answer = page(found).0;
    if query.get("include").is_some_and(|what| what == "user") {
        answer["included"] = json!({"users": p.tenants.all["users"]});
    }
    Json(answer).into_response()
}

fn make(kind: &'static str, State(p): Shared, Json(mut wish): Json<Value>) -> Response {
    let mut p = p.lock().unwrap();
    let tenants = &mut p.tenants;
    if kind == "users" {
        wish = json!({"username": tenants.uaa["userName"], "presentation_name": tenants.uaa["userName"]});
    }
    if kind == "roles" {
        let name = wish["relationships"]["user"]["data"]["username"].clone();
        let Some(user) = tenants.all["users"].iter().find(|user| user["username"] == name) else {
            return refused(StatusCode::UNPROCESSABLE_ENTITY, "No user exists with that username.");
        };
        wish["relationships"]["user"] = json!({"data": {"guid": user["guid"]}});
        let known = |one: &Value| {
            one["type"] == wish["type"]
                && ["user", "space", "organization"]
                    .iter()
                    .all(|side| guid_of(one, side) == guid_of(&wish, side))
        };
        if tenants.all[kind].iter().any(known) {
            return refused(StatusCode::UNPROCESSABLE_ENTITY, "User already has that role.");
        }
    }
    tenants.made += 1;
    let made = with(&format!("g{}", tenants.made), wish);
    tenants.all.get_mut(kind).unwrap().push(made.clone());
    (StatusCode::CREATED, Json(made)).into_response()
}

fn one(kind: &str, State(p): Shared, Path(guid): Path<String>) -> Response {
    match p.lock().unwrap().tenants.all[kind].iter().find(|one| one["guid"] == guid.as_str()) {
        Some(one) => Json(one.clone()).into_response(),
        None => refused(StatusCode::NOT_FOUND, "not found"),
    }
}

fn merge(into: &mut Value, from: &Value) {
    match from.as_object() {
        Some(fields) if into.is_object() => {
            fields.iter().for_each(|(name, value)| merge(&mut into[name], value))
        }
        _ => *into = from.clone(),
    }
}

fn change(kind: &str, State(p): Shared, Path(guid): Path<String>, Json(wish): Json<Value>) -> Response {
    let mut p = p.lock().unwrap();
    let all = p.tenants.all.get_mut(kind).unwrap();
    match all.iter_mut().find(|one| one["guid"] == guid.as_str()) {
        Some(one) => {
            merge(one, &wish);
            Json(one.clone()).into_response()
        }
        None => refused(StatusCode::NOT_FOUND, "not found"),
    }
}

fn remove(kind: &str, State(p): Shared, Path(guid): Path<String>) -> Response {
    p.lock().unwrap().tenants.all.get_mut(kind).unwrap().retain(|one| one["guid"] != guid.as_str());
    accepted()
}

async fn usage() -> Json<Value> {
    Json(json!({"usage_summary": {"started_instances": 3, "memory_in_mb": 192, "routes": 2}}))
}

async fn apply(Json(wish): Json<Value>) -> Json<Value> {
    Json(wish)
}

async fn make_user(State(p): Shared, Json(wish): Json<Value>) -> Response {
    let mut p = p.lock().unwrap();
    if wish["password"].as_str().is_none_or(|password| password.len() < 8) {
        let detail = "Password must be at least 8 characters in length.";
        return refused(StatusCode::UNPROCESSABLE_ENTITY, detail);
    }
    p.tenants.uaa = wish.clone();
    (StatusCode::CREATED, Json(json!({"id": "new", "userName": wish["userName"]}))).into_response()
}

async fn password(State(p): Shared, Path(guid): Path<String>, Json(wish): Json<Value>) -> Response {
    let mut p = p.lock().unwrap();
    if guid == "u1" && wish["oldPassword"] != p.tenants.password.as_str() {
        let error = json!({"code": 10002, "title": "unauthorized", "detail": "Old password is incorrect"});
        return (StatusCode::UNAUTHORIZED, Json(json!({"error": "unauthorized", "errors": [error]})))
            .into_response();
    }
    p.tenants.password = wish["password"].as_str().unwrap().to_owned();
    // What was granted for the old one is no longer good.
    p.tokens.clear();
    Json(json!({"status": "ok"})).into_response()
}

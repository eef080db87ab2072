//! Brokers, offerings, plans, service instances and bindings, in memory. What a broker is asked for takes a while:
//! its job goes on by itself at the second look, unless it fails.

use super::{Platform, Shared, TIME, page, refused};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

/// What there is, by guid, and how brokers are to behave.
#[derive(Default)]
pub(crate) struct Services {
    pub(crate) brokers: BTreeMap<String, Value>,
    pub(crate) instances: BTreeMap<String, Value>,
    pub(crate) bindings: BTreeMap<String, Value>,
    /// The last body that came.
    pub(crate) body: Value,
    /// Who sees the plan `small`.
    pub(crate) visibility: Value,
    /// Why brokers fail, if they do.
    pub(crate) fails: Option<&'static str>,
    /// Brokers go on by themselves for so many looks.
    pub(crate) slow: u32,
    jobs: BTreeMap<String, u32>,
}

impl Services {
    /// The answer to what a broker has to carry out.
    fn job(&mut self) -> Response {
        let guid = format!("broker-{}", self.jobs.len() + 1);
        self.jobs.insert(guid.clone(), self.slow);
        (StatusCode::ACCEPTED, [("location", format!("http://elsewhere/v3/jobs/{guid}"))]).into_response()
    }

    /// A job of a broker, as it is looked at.
    pub(super) fn look(&mut self, guid: &str) -> Option<Value> {
        let left = self.jobs.get_mut(guid)?;
        let (state, errors) = match (self.fails, *left) {
            (Some(why), _) => {
                ("FAILED", json!([{"code": 10009, "title": "CF-UnableToPerform", "detail": why}]))
            }
            (None, 0) => ("COMPLETE", json!([])),
            (None, _) => ("POLLING", json!([])),
        };
        *left = left.saturating_sub(1);
        Some(
            json!({"guid": guid, "created_at": TIME, "updated_at": TIME, "operation": "x", "state": state, "errors": errors}),
        )
    }
}

pub(super) fn routes() -> Router<Arc<Mutex<Platform>>> {
    Router::new()
        .route("/v3/service_brokers", get(brokers).post(create_broker))
        .route("/v3/service_brokers/{guid}", axum::routing::delete(delete_broker).patch(update_broker))
        .route("/v3/service_offerings", get(offerings))
        .route("/v3/service_plans", get(plans))
        .route(
            "/v3/service_plans/{guid}/visibility",
            get(visibility).patch(set_visibility).post(set_visibility),
        )
        .route("/v3/service_instances", get(instances).post(create_instance))
        .route("/v3/service_instances/{guid}", axum::routing::delete(delete_instance).patch(update_instance))
        .route("/v3/service_credential_bindings", get(bindings).post(create_binding))
        .route("/v3/service_credential_bindings/{guid}", axum::routing::delete(delete_binding))
        .route("/v3/service_credential_bindings/{guid}/details", get(details))
}

type Query_ = Query<HashMap<String, String>>;

fn wants(query: &HashMap<String, String>, name: &str, value: &str) -> bool {
    query.get(name).is_none_or(|wanted| wanted.split(',').any(|one| one == value))
}

fn resource(guid: &str, name: &str) -> Value {
    json!({"guid": guid, "name": name, "created_at": TIME, "updated_at": TIME})
}

fn with(mut resource: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        resource[key] = value.clone();
    }
    resource
}

fn to(guid: &str) -> Value {
    json!({"data": {"guid": guid}})
}

async fn brokers(State(p): Shared, Query(query): Query_) -> Json<Value> {
    let p = p.lock().unwrap();
    let all = p.services.brokers.values();
    page(all.filter(|one| wants(&query, "names", one["name"].as_str().unwrap())).cloned().collect())
}

async fn create_broker(State(p): Shared, Json(body): Json<Value>) -> Response {
    let services = &mut p.lock().unwrap().services;
    let name = body["name"].as_str().unwrap().to_owned();
    services.brokers.insert(name.clone(), with(resource(&name, &name), json!({"url": body["url"]})));
    services.body = body;
    services.job()
}

async fn update_broker(State(p): Shared, Json(body): Json<Value>) -> Response {
    let services = &mut p.lock().unwrap().services;
    services.body = body;
    services.job()
}

async fn delete_broker(State(p): Shared, Path(guid): Path<String>) -> Response {
    let services = &mut p.lock().unwrap().services;
    services.brokers.remove(&guid);
    services.job()
}

async fn offerings(Query(query): Query_) -> Json<Value> {
    let offering = |guid: &str, name: &str| {
        let catalog = json!({"id": guid, "features": {"bindable": true}});
        let more = json!({"description": format!("A {name}"), "available": true, "broker_catalog": catalog,
                          "relationships": {"service_broker": to("theirs")}});
        with(resource(guid, name), more)
    };
    let all = vec![offering("o-db", "db"), offering("o-cache", "cache")];
    page(all.into_iter().filter(|one| wants(&query, "names", one["name"].as_str().unwrap())).collect())
}

fn plan(guid: &str, name: &str, offering: &str, free: bool) -> Value {
    let catalog = json!({"id": guid, "features": {"bindable": true}});
    let more = json!({"description": format!("The {name} one"), "visibility_type": "public", "available": true,
                      "free": free, "broker_catalog": catalog,
                      "relationships": {"service_offering": to(offering)}});
    with(resource(guid, name), more)
}

async fn plans(State(p): Shared, Query(query): Query_) -> Json<Value> {
    let p = p.lock().unwrap();
    let all = [
        (plan("p-small", "small", "o-db", true), "db"),
        (plan("p-large", "large", "o-db", false), "db"),
        (plan("p-one", "one", "o-cache", true), "cache"),
    ];
    let of_instances = |guid: &str| {
        query.get("service_instance_guids").is_none_or(|wanted| {
            let mut guids = wanted.split(',');
            guids.any(|one| {
                p.services
                    .instances
                    .get(one)
                    .is_some_and(|one| one["relationships"]["service_plan"] == to(guid))
            })
        })
    };
    let fits = |plan: &Value, offering: &str| {
        let guid = plan["guid"].as_str().unwrap();
        wants(&query, "names", plan["name"].as_str().unwrap())
            && wants(&query, "service_offering_names", offering)
            && wants(&query, "service_offering_guids", &format!("o-{offering}"))
            && of_instances(guid)
    };
    page(all.into_iter().filter(|(plan, offering)| fits(plan, offering)).map(|(plan, _)| plan).collect())
}

async fn visibility(State(p): Shared, Path(guid): Path<String>) -> Json<Value> {
    let p = p.lock().unwrap();
    let known = guid == "p-small" && p.services.visibility.is_object();
    Json(if known { p.services.visibility.clone() } else { json!({"type": "admin"}) })
}

async fn set_visibility(State(p): Shared, Path(guid): Path<String>, Json(body): Json<Value>) -> Json<Value> {
    if guid == "p-small" {
        p.lock().unwrap().services.visibility = body.clone();
    }
    Json(body)
}

async fn instances(State(p): Shared, Query(query): Query_) -> Json<Value> {
    let p = p.lock().unwrap();
    let all = p.services.instances.values();
    page(all.filter(|one| wants(&query, "names", one["name"].as_str().unwrap())).cloned().collect())
}

async fn create_instance(State(p): Shared, Json(body): Json<Value>) -> Response {
    let services = &mut p.lock().unwrap().services;
    let name = body["name"].as_str().unwrap().to_owned();
    let guid = format!("i-{name}");
    if services.instances.contains_key(&guid) {
        let taken = format!("The service instance name is taken: {name}.");
        return refused(StatusCode::UNPROCESSABLE_ENTITY, &taken);
    }
    let (state, words) = match (services.fails, services.slow) {
        (Some(why), _) => ("failed", why),
        (None, 0) => ("succeeded", "Operation succeeded"),
        (None, _) => ("in progress", "half way"),
    };
    let last = json!({"type": "create", "state": state, "description": words, "created_at": TIME, "updated_at": TIME});
    let more = json!({"type": body["type"], "tags": body.get("tags").cloned().unwrap_or(json!([])),
                      "relationships": body["relationships"], "last_operation": last});
    let instance = with(resource(&guid, &name), more);
    services.instances.insert(guid, instance.clone());
    let managed = body["type"] == "managed";
    services.body = body;
    if managed { services.job() } else { (StatusCode::CREATED, Json(instance)).into_response() }
}

async fn update_instance(State(p): Shared, Path(guid): Path<String>, Json(body): Json<Value>) -> Response {
    let services = &mut p.lock().unwrap().services;
    let instance = services.instances.get_mut(&guid).unwrap();
    if let Some(name) = body.get("name") {
        instance["name"] = name.clone();
    }
    let instance = instance.clone();
    let asks = body.get("parameters").is_some() || body.get("relationships").is_some();
    services.body = body;
    if asks { services.job() } else { Json(instance).into_response() }
}

async fn delete_instance(State(p): Shared, Path(guid): Path<String>, Query(query): Query_) -> Response {
    let services = &mut p.lock().unwrap().services;
    let bound = services.bindings.values().any(|one| one["relationships"]["service_instance"] == to(&guid));
    if bound && !query.contains_key("recursive") {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "Please delete the service_bindings associations");
    }
    let managed = services.instances.remove(&guid).is_some_and(|one| one["type"] == "managed");
    if managed { services.job() } else { StatusCode::NO_CONTENT.into_response() }
}

async fn bindings(State(p): Shared, Query(query): Query_) -> Json<Value> {
    let p = p.lock().unwrap();
    let guid = |one: &Value, of: &str| {
        one["relationships"][of]["data"]["guid"].as_str().unwrap_or_default().to_owned()
    };
    let fits = |one: &&Value| {
        wants(&query, "names", one["name"].as_str().unwrap_or_default())
            && wants(&query, "type", one["type"].as_str().unwrap())
            && wants(&query, "service_instance_guids", &guid(one, "service_instance"))
            && wants(&query, "app_guids", &guid(one, "app"))
    };
    page(p.services.bindings.values().filter(fits).cloned().collect())
}

async fn create_binding(State(p): Shared, Json(body): Json<Value>) -> Response {
    let services = &mut p.lock().unwrap().services;
    let guid = format!("b-{}", services.bindings.len() + 1);
    let last = json!({"type": "create", "state": "succeeded", "created_at": TIME, "updated_at": TIME});
    let more = json!({"type": body["type"], "relationships": body["relationships"], "last_operation": last});
    let name = body.get("name").cloned().unwrap_or(Value::Null);
    let mut binding = with(resource(&guid, ""), more);
    binding["name"] = name;
    services.bindings.insert(guid, binding);
    services.body = body;
    services.job()
}

async fn delete_binding(State(p): Shared, Path(guid): Path<String>) -> Response {
    let services = &mut p.lock().unwrap().services;
    services.bindings.remove(&guid);
    services.job()
}

async fn details() -> Json<Value> {
    Json(json!({"credentials": {"uri": "postgres://u:p@10.0.0.1/d"}}))
}

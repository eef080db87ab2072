//! `GET /`, `/v3`, `/v3/info`, `/healthz`.

use super::{endpoints::Endpoints, input::Base};
use crate::{access::Access, context::Shared};
use axum::{Json, extract::State, http::StatusCode};
use cupola_protocol::api::{Info, Link, Root};
use std::collections::BTreeMap;

/// The version of the API that is served: what `cf` 8 looks at to know what it may ask for.
const API_VERSION: &str = "3.131.0";

/// Resources that `GET /v3` names: CLI 7 finds each of them there or not at all.
const RESOURCES: [&str; 32] = [
    "apps",
    "audit_events",
    "buildpacks",
    "builds",
    "deployments",
    "domains",
    "droplets",
    "environment_variable_groups",
    "feature_flags",
    "info",
    "isolation_segments",
    "jobs",
    "organization_quotas",
    "organizations",
    "packages",
    "processes",
    "resource_matches",
    "roles",
    "routes",
    "security_groups",
    "service_brokers",
    "service_credential_bindings",
    "service_instances",
    "service_offerings",
    "service_plans",
    "service_route_bindings",
    "sidecars",
    "space_quotas",
    "spaces",
    "stacks",
    "tasks",
    "users",
];

pub(super) fn routes() -> Endpoints {
    Endpoints::new()
        .get("/", Access::Public, root)
        .get("/v3", Access::Public, v3)
        .get("/v3/info", Access::Public, info)
        .get("/healthz", Access::Public, healthz)
}

async fn root(base: Base) -> Json<Root> {
    let here = || Some(Link::get(base.url("")));
    let v3 = Link {
        href: base.url("/v3"),
        method: None,
        meta: BTreeMap::from([("version".to_owned(), API_VERSION.to_owned())]),
    };
    let links = [
        ("self", here()),
        ("cloud_controller_v2", None),
        ("cloud_controller_v3", Some(v3)),
        ("network_policy_v0", None),
        ("network_policy_v1", None),
        ("login", here()),
        ("uaa", here()),
        ("credhub", None),
        ("routing", None),
        ("logging", None),
        ("log_cache", here()),
        ("log_stream", None),
        ("app_ssh", None),
    ];
    Json(Root { links: links.into_iter().map(|(name, link)| (name.to_owned(), link)).collect() })
}

async fn v3(base: Base) -> Json<Root> {
    let mut links: BTreeMap<_, _> = RESOURCES
        .iter()
        .map(|name| ((*name).to_owned(), Some(Link::get(base.url(&format!("/v3/{name}"))))))
        .collect();
    links.insert("self".to_owned(), Some(Link::get(base.url("/v3"))));
    Json(Root { links })
}

async fn info(base: Base) -> Json<Info> {
    Json(Info {
        build: env!("CARGO_PKG_VERSION").to_owned(),
        description: "Cupola, an open Platform-as-a-Service".to_owned(),
        name: "cupola".to_owned(),
        links: BTreeMap::from([("self".to_owned(), Link::get(base.url("/v3/info")))]),
        ..Info::default()
    })
}

/// Whether requests can be served: the database answers and the bus is connected.
async fn healthz(State(context): State<Shared>) -> (StatusCode, String) {
    let bus = *context.bus.connected().borrow();
    let database = sqlx::query("SELECT 1").execute(&context.pool).await.is_ok();
    let word = |good| if good { "ok" } else { "down" };
    let status = if bus && database { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("database {}\nbus {}\n", word(database), word(bus)))
}

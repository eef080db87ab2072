//! What is sent to each endpoint that does more than answer a GET of what its path names. An endpoint of the router
//! that needs a row and has none fails the test.

use super::world::World;
use controller::access::{Access, Action, Kind};
use serde_json::{Value, json};

/// What is made for each request that would consume it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    Nothing,
    App,
    Package,
    Droplet,
    Route,
    Destination,
    Space,
    Organization,
    Domain,
    Role,
    User,
    /// One that the controller does not know yet.
    UaaUser,
    /// A service instance that nobody runs.
    Service,
    /// A key of acme's service instance.
    Binding,
    OrganizationQuota,
    SpaceQuota,
    /// A space with a quota.
    SpaceWithQuota,
    /// Nothing, once no build is at work.
    NoBuild,
}

/// By which rule an endpoint lets users in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// By the table of the router.
    Table,
    /// Its handler asks; the outcome is the same as of this.
    As(Access),
    /// There for an administrator alone, for others it does not exist: a job of somebody else.
    OwnJob,
}

pub(super) struct Row {
    pub method: &'static str,
    pub path: &'static str,
    /// The body; a text is sent as it is. `n` makes names unique.
    pub body: fn(world: &World, n: u32) -> Value,
    /// What is answered to who may.
    pub good: &'static [u16],
    pub fresh: Fresh,
    pub rule: Rule,
}

fn nothing(_: &World, _: u32) -> Value {
    Value::Null
}

fn empty(_: &World, _: u32) -> Value {
    json!({})
}

const fn row(
    method: &'static str,
    path: &'static str,
    body: fn(&World, u32) -> Value,
    good: &'static [u16],
) -> Row {
    Row { method, path, body, good, fresh: Fresh::Nothing, rule: Rule::Table }
}

const fn consuming(method: &'static str, path: &'static str, good: &'static [u16], fresh: Fresh) -> Row {
    Row { fresh, ..row(method, path, nothing, good) }
}

const fn asking(method: &'static str, path: &'static str, good: &'static [u16], rule: Rule) -> Row {
    Row { rule, ..row(method, path, nothing, good) }
}

/// Every endpoint but the GETs that are answered 200 by the router's own table.
pub(super) const ROWS: &[Row] = &[
    // Logging in: what is wrong is the client's name, not the user.
    row("POST", "/oauth/token", nothing, &[401]),
    asking(
        "DELETE",
        "/oauth/token/revoke/user/{guid}",
        &[200],
        Rule::As(Access::Platform(Action::Administer)),
    ),
    asking("GET", "/oauth/token/revoke/user/{guid}", &[200], Rule::As(Access::Platform(Action::Administer))),
    // Organizations and spaces.
    row("POST", "/v3/organizations", |_, n| json!({"name": format!("organization-{n}")}), &[201]),
    row("PATCH", "/v3/organizations/{guid}", empty, &[200]),
    consuming("DELETE", "/v3/organizations/{guid}", &[202], Fresh::Organization),
    row(
        "POST",
        "/v3/spaces",
        |world, n| json!({"name": format!("space-{n}"), "relationships": {"organization": one(&world.organization)}}),
        &[201],
    ),
    row("PATCH", "/v3/spaces/{guid}", empty, &[200]),
    consuming("DELETE", "/v3/spaces/{guid}", &[202], Fresh::Space),
    row(
        "POST",
        "/v3/spaces/{guid}/actions/apply_manifest",
        |_, _| json!("applications:\n- name: acme-app\n"),
        &[202],
    ),
    row("POST", "/v3/spaces/{guid}/manifest_diff", |_, _| json!("applications:\n- name: acme-app\n"), &[202]),
    // Users and roles.
    Row {
        fresh: Fresh::UaaUser,
        ..row("POST", "/v3/users", |world, _| json!({"guid": world.fresh.lock().unwrap().clone()}), &[201])
    },
    asking(
        "GET",
        "/v3/users/{guid}",
        &[200],
        Rule::As(Access::On(Kind::Organization, Action::ReadOrganization)),
    ),
    row("PATCH", "/v3/users/{guid}", empty, &[200]),
    consuming("DELETE", "/v3/users/{guid}", &[202], Fresh::User),
    Row {
        fresh: Fresh::User,
        rule: Rule::As(Access::Named(Kind::Space, Action::ManageSpaceRoles)),
        ..row(
            "POST",
            "/v3/roles",
            |world, _| {
                let user = json!({"data": {"guid": world.fresh.lock().unwrap().clone()}});
                json!({"type": "space_auditor", "relationships": {"user": user, "space": one(&world.space)}})
            },
            &[201],
        )
    },
    asking("GET", "/v3/roles/{guid}", &[200], Rule::As(Access::On(Kind::Space, Action::ReadSpace))),
    Row {
        rule: Rule::As(Access::On(Kind::Space, Action::ManageSpaceRoles)),
        ..consuming("DELETE", "/v3/roles/{guid}", &[202], Fresh::Role)
    },
    row(
        "POST",
        "/Users",
        |_, n| json!({"userName": format!("user-{n}"), "password": "a long password"}),
        &[201],
    ),
    asking("GET", "/Users/{guid}", &[200], Rule::As(Access::Platform(Action::ReadPlatform))),
    consuming("DELETE", "/Users/{guid}", &[200], Fresh::User),
    Row {
        rule: Rule::As(Access::Platform(Action::Administer)),
        ..row(
            "PUT",
            "/Users/{guid}/password",
            |_, n| json!({"password": format!("new password {n}")}),
            &[200],
        )
    },
    asking("GET", "/v3/jobs/{guid}", &[200], Rule::OwnJob),
    // Quotas.
    row("POST", "/v3/organization_quotas", |_, n| json!({"name": format!("quota-{n}")}), &[201]),
    asking(
        "GET",
        "/v3/organization_quotas/{guid}",
        &[200],
        Rule::As(Access::On(Kind::Organization, Action::ReadOrganization)),
    ),
    row("PATCH", "/v3/organization_quotas/{guid}", empty, &[200]),
    consuming("DELETE", "/v3/organization_quotas/{guid}", &[202], Fresh::OrganizationQuota),
    row(
        "POST",
        "/v3/organization_quotas/{guid}/relationships/organizations",
        |_, _| json!({"data": []}),
        &[200],
    ),
    row(
        "POST",
        "/v3/space_quotas",
        |world, n| json!({"name": format!("quota-{n}"), "relationships": {"organization": one(&world.organization)}}),
        &[201],
    ),
    asking("GET", "/v3/space_quotas/{guid}", &[200], Rule::As(Access::On(Kind::Space, Action::ReadSpace))),
    row("PATCH", "/v3/space_quotas/{guid}", empty, &[200]),
    consuming("DELETE", "/v3/space_quotas/{guid}", &[202], Fresh::SpaceQuota),
    row("POST", "/v3/space_quotas/{guid}/relationships/spaces", |_, _| json!({"data": []}), &[200]),
    consuming(
        "DELETE",
        "/v3/space_quotas/{guid}/relationships/spaces/{space}",
        &[204],
        Fresh::SpaceWithQuota,
    ),
    // Domains and routes.
    row("POST", "/v3/domains", |_, n| json!({"name": format!("d{n}.test")}), &[201]),
    consuming("DELETE", "/v3/domains/{guid}", &[202], Fresh::Domain),
    row(
        "POST",
        "/v3/routes",
        |world, n| {
            let sides = json!({"space": one(&world.space), "domain": one(&world.domain)});
            json!({"host": format!("host-{n}"), "relationships": sides})
        },
        &[201],
    ),
    consuming("DELETE", "/v3/routes/{guid}", &[202], Fresh::Route),
    row(
        "POST",
        "/v3/routes/{guid}/destinations",
        |world, _| json!({"destinations": [{"app": {"guid": world.app}}]}),
        &[200],
    ),
    row(
        "PATCH",
        "/v3/routes/{guid}/destinations",
        |world, _| json!({"destinations": [{"app": {"guid": world.app}}]}),
        &[200],
    ),
    consuming("DELETE", "/v3/routes/{guid}/destinations/{destination}", &[204], Fresh::Destination),
    // Apps and processes.
    row(
        "POST",
        "/v3/apps",
        |world, n| json!({"name": format!("app-{n}"), "relationships": {"space": one(&world.space)}}),
        &[201],
    ),
    row("PATCH", "/v3/apps/{guid}", empty, &[200]),
    consuming("DELETE", "/v3/apps/{guid}", &[202], Fresh::App),
    row("PATCH", "/v3/apps/{guid}/environment_variables", |_, _| json!({"var": {}}), &[200]),
    row("POST", "/v3/apps/{guid}/actions/{action}", nothing, &[200]),
    row("PATCH", "/v3/apps/{guid}/relationships/current_droplet", |world, _| one(&world.droplet), &[200]),
    row("PATCH", "/v3/processes/{guid}", empty, &[200]),
    row("POST", "/v3/processes/{guid}/actions/scale", empty, &[202]),
    row("DELETE", "/v3/processes/{guid}/instances/{index}", nothing, &[204]),
    row("PATCH", "/v3/apps/{guid}/processes/{kind}", empty, &[200]),
    row("POST", "/v3/apps/{guid}/processes/{kind}/actions/scale", empty, &[202]),
    row("DELETE", "/v3/apps/{guid}/processes/{kind}/instances/{index}", nothing, &[204]),
    row("POST", "/v3/deployments", empty, &[422]),
    // Packages, builds, droplets.
    row(
        "POST",
        "/v3/packages",
        |world, _| json!({"type": "bits", "relationships": {"app": one(&world.app)}}),
        &[201],
    ),
    consuming("DELETE", "/v3/packages/{guid}", &[202], Fresh::Package),
    // Not a form: who may upload is told that.
    row("POST", "/v3/packages/{guid}/upload", empty, &[400]),
    row("POST", "/v3/resource_matches", |_, _| json!({"resources": []}), &[201]),
    Row {
        fresh: Fresh::NoBuild,
        ..row("POST", "/v3/builds", |world, _| json!({"package": {"guid": world.package}}), &[201])
    },
    consuming("DELETE", "/v3/droplets/{guid}", &[202], Fresh::Droplet),
    // Files: the fake node has none, and says so to who may ask.
    row("GET", "/v2/apps/{guid}/instances/{instance}/files", nothing, &[302]),
    row("GET", "/v2/apps/{guid}/instances/{instance}/files/", nothing, &[302]),
    row("GET", "/v2/apps/{guid}/instances/{instance}/files/{*path}", nothing, &[302]),
    // Services.
    row("POST", "/v3/service_brokers", |world, n| world.registration(n), &[202]),
    row("PATCH", "/v3/service_brokers/{guid}", empty, &[200]),
    // It has instances: who may is told that.
    row("DELETE", "/v3/service_brokers/{guid}", nothing, &[422]),
    row("DELETE", "/v3/service_offerings/{guid}", nothing, &[422]),
    row("PATCH", "/v3/service_plans/{guid}/visibility", |_, _| json!({"type": "public"}), &[200]),
    row("POST", "/v3/service_plans/{guid}/visibility", |_, _| json!({"type": "public"}), &[200]),
    row("DELETE", "/v3/service_plans/{guid}/visibility/{organization}", nothing, &[422]),
    row(
        "POST",
        "/v3/service_instances",
        |world, n| {
            let sides = json!({"space": one(&world.space)});
            json!({"type": "user-provided", "name": format!("service-{n}"), "relationships": sides})
        },
        &[201],
    ),
    row("PATCH", "/v3/service_instances/{guid}", empty, &[200]),
    consuming("DELETE", "/v3/service_instances/{guid}", &[204], Fresh::Service),
    // It is not user-provided, and its broker tells no parameters.
    row("GET", "/v3/service_instances/{guid}/credentials", nothing, &[404]),
    row("GET", "/v3/service_instances/{guid}/parameters", nothing, &[200]),
    row("POST", "/v3/service_instances/{guid}/relationships/shared_spaces", empty, &[422]),
    row(
        "POST",
        "/v3/service_credential_bindings",
        |world, n| crate::services::key(&world.service, &format!("key-{n}")),
        &[202],
    ),
    consuming("DELETE", "/v3/service_credential_bindings/{guid}", &[202], Fresh::Binding),
    // For nodes and stagers.
    row("POST", "/internal/builds/{guid}/droplet", nothing, &[]),
    row("POST", "/internal/caches/{app}", nothing, &[]),
];

fn one(guid: &str) -> Value {
    json!({"data": {"guid": guid}})
}

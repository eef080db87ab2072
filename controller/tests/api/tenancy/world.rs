//! Two tenants: `acme`, whose organization and space the walk looks at, and `rival`, which must learn nothing of it.

use super::rows::Fresh;
use crate::{
    broker::{Broker, PASSWORD as BROKER_PASSWORD, USER as BROKER_USER},
    fakes::{FakeDea, FakeStager, STACK},
    platform::{Platform, text, zip},
};
use controller::access::{Held, Role};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

const PASSWORD: &str = "correct horse battery";

/// Somebody who asks.
pub(super) struct Who {
    pub name: String,
    /// None for somebody who has not logged in.
    pub token: Option<String>,
    pub held: Vec<Held>,
}

/// What there is.
pub(super) struct World {
    pub platform: Platform,
    _stager: FakeStager,
    _node: FakeDea,
    pub offers: Broker,
    pub organization: String,
    pub space: String,
    pub app: String,
    pub package: String,
    pub build: String,
    pub droplet: String,
    pub route: String,
    pub destination: String,
    pub domain: String,
    /// A user of acme, and that user's role in the space.
    pub user: String,
    pub role: String,
    pub quota: String,
    pub space_quota: String,
    pub broker: String,
    pub offering: String,
    pub plan: String,
    pub service: String,
    pub binding: String,
    /// A job of the administrator's.
    pub job: String,
    /// What was made last for a request.
    pub fresh: Mutex<String>,
    count: AtomicU32,
}

impl World {
    pub(super) async fn make() -> Self {
        let platform = Platform::with(|config| {
            config.organization = "acme-organization".to_owned();
            config.space = "acme-space".to_owned();
            // What the walk uses up must not push out what it looks at.
            (config.packages_kept, config.droplets_kept) = (10_000, 10_000);
            config.advertisement_timeout_seconds = 3600;
            config.log_wait_ms = 1;
            config.find_timeout_ms = 1;
        })
        .await;
        let stager = FakeStager::start(&platform.bus).await;
        let node = FakeDea::start(&platform.bus, "dea-1", 1 << 20).await;
        let p = &platform;
        let manifest = "applications:\n- name: acme-app\n  memory: 64M\n  env: {ACME: acme-secret}\n  routes:\n  \
                        - route: acme-host.apps.test\n";
        let app = p.push(manifest, "acme-app").await;
        p.until_states(&app, &["RUNNING"]).await;
        let first = |page: Value| text(&page["resources"][0], "guid");
        let (organization, space) = (
            p.named("/v3/organizations", "acme-organization").await,
            p.named("/v3/spaces", "acme-space").await,
        );
        let route = first(p.get(&format!("/v3/apps/{app}/routes")).await);
        let destinations = p.get(&format!("/v3/routes/{route}/destinations")).await;
        let user = p.make_user("acme-user", PASSWORD, json!([])).await;
        p.give_role("organization_user", &user, &organization).await;
        let role = p.give_role("space_auditor", &user, &space).await;
        let quota = text(&p.post("/v3/organization_quotas", json!({"name": "acme-quota"})).await, "guid");
        let path = format!("/v3/organization_quotas/{quota}/relationships/organizations");
        p.post(&path, json!({"data": [{"guid": organization}]})).await;
        let sides =
            json!({"organization": {"data": {"guid": organization}}, "spaces": {"data": [{"guid": space}]}});
        let wish = json!({"name": "acme-space-quota", "relationships": sides});
        let space_quota = text(&p.post("/v3/space_quotas", wish).await, "guid");
        let offers = Broker::start().await;
        let broker = p.broker("acme-broker", &offers).await;
        let plan = p.plan("db", "small").await;
        p.ok(Method::PATCH, &format!("/v3/service_plans/{plan}/visibility"), json!({"type": "public"})).await;
        let service = p.instance("acme-service").await;
        let binding = p.bind(&service, &app).await;
        let wish = json!({"name": "gone", "relationships": {"space": {"data": {"guid": space}}}});
        let gone = text(&p.post("/v3/apps", wish).await, "guid");
        let answer = p.request(Method::DELETE, &format!("/v3/apps/{gone}")).send().await.unwrap();
        let job = answer.headers()["location"].to_str().unwrap().rsplit('/').next().unwrap().to_owned();
        Self {
            package: first(p.get(&format!("/v3/apps/{app}/packages")).await),
            build: first(p.get(&format!("/v3/apps/{app}/builds")).await),
            droplet: first(p.get(&format!("/v3/apps/{app}/droplets")).await),
            destination: text(&destinations["destinations"][0], "guid"),
            domain: first(p.get("/v3/domains").await),
            offering: p.guid("/v3/service_offerings?names=db").await,
            offers,
            broker,
            plan,
            service,
            binding,
            _stager: stager,
            _node: node,
            organization,
            space,
            app,
            route,
            user,
            role,
            quota,
            space_quota,
            job,
            fresh: Mutex::default(),
            count: AtomicU32::new(0),
            platform,
        }
    }

    /// What registers a broker.
    pub(super) fn registration(&self, n: u32) -> Value {
        let credentials = json!({"username": BROKER_USER, "password": BROKER_PASSWORD});
        json!({"name": format!("broker-{n}"), "url": self.offers.url(),
            "authentication": {"type": "basic", "credentials": credentials}})
    }

    /// One user of each role in acme, two administrators, one of another tenant, one without any role, and nobody.
    pub(super) async fn people(&self) -> Vec<Who> {
        let p = &self.platform;
        let rival = text(&p.post("/v3/organizations", json!({"name": "rival"})).await, "guid");
        let sides = json!({"organization": {"data": {"guid": rival}}});
        let rival_space =
            text(&p.post("/v3/spaces", json!({"name": "rival-space", "relationships": sides})).await, "guid");
        let mut people = vec![Who { name: "nobody".to_owned(), token: None, held: Vec::new() }];
        let held = |role: Role, organization: &str, space: &str| Held {
            role,
            organization: organization.to_owned(),
            space: role.is_of_space().then(|| space.to_owned()),
        };
        for name in ["without-role", "rival-user"] {
            let guid = p.make_user(name, PASSWORD, json!([])).await;
            let mut roles = Vec::new();
            if name == "rival-user" {
                for role in [Role::OrganizationManager, Role::SpaceManager, Role::SpaceDeveloper] {
                    let place = if role.is_of_space() { &rival_space } else { &rival };
                    p.give_role(role.name(), &guid, place).await;
                    roles.push(held(role, &rival, &rival_space));
                }
            }
            people.push(self.who(name, roles).await);
        }
        for role in Role::ALL {
            // Not the user names of acme's own, which strangers must not see: these are seen by themselves.
            let name = role.name().replace(['.', '_'], "-");
            let groups = if role.is_of_platform() { json!([{"display": role.name()}]) } else { json!([]) };
            let guid = p.make_user(&name, PASSWORD, groups).await;
            let mut roles = Vec::new();
            if role.is_of_space() {
                p.give_role("organization_user", &guid, &self.organization).await;
                roles.push(held(Role::OrganizationUser, &self.organization, ""));
            }
            if !role.is_of_platform() {
                let place = if role.is_of_space() { &self.space } else { &self.organization };
                p.give_role(role.name(), &guid, place).await;
                roles.push(held(role, &self.organization, &self.space));
            } else {
                roles.push(Held { role, organization: String::new(), space: None });
            }
            people.push(self.who(&name, roles).await);
        }
        people
    }

    async fn who(&self, name: &str, held: Vec<Held>) -> Who {
        let token = self.platform.login_as(name, PASSWORD).await.expect("a user logs in");
        Who { name: name.to_owned(), token: Some(token.access_token), held }
    }

    pub(super) fn next(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// A path with acme's things in it.
    pub(super) fn fill(&self, path: &str) -> String {
        let kind = path
            .trim_start_matches("/v3/")
            .trim_start_matches("/v2/")
            .trim_start_matches('/')
            .split('/')
            .next()
            .unwrap();
        let guid: &str = match kind {
            "organizations" => &self.organization,
            "spaces" => &self.space,
            "apps" | "processes" | "api" => &self.app,
            "packages" => &self.package,
            "builds" => &self.build,
            "droplets" => &self.droplet,
            "routes" => &self.route,
            "domains" => &self.domain,
            "users" | "Users" | "oauth" => &self.user,
            "roles" => &self.role,
            "organization_quotas" => &self.quota,
            "space_quotas" => &self.space_quota,
            "jobs" => &self.job,
            "service_brokers" => &self.broker,
            "service_offerings" => &self.offering,
            "service_plans" => &self.plan,
            "service_instances" => &self.service,
            "service_credential_bindings" => &self.binding,
            "internal" => "x",
            "stacks" => &format!("stack-{STACK}"),
            "buildpacks" => "buildpack-procfile",
            _ if !path.contains("{guid}") => "",
            other => panic!("say what {{guid}} of {other} is: World::fill"),
        };
        let filled = path
            .replace("{guid}", guid)
            .replace("{source}", &self.app)
            .replace("{kind}", "web")
            .replace("{index}", "0")
            .replace("{instance}", "0")
            .replace("{*path}", "logs")
            .replace("{organization}", &self.organization)
            .replace("{action}", "start")
            .replace("{name}", "running")
            .replace("{destination}", &self.destination)
            .replace("{space}", &self.space)
            .replace("{sha256}", "x")
            .replace("{app}", "x");
        assert!(!filled.contains('{'), "say what the parameters of {path} are: World::fill");
        filled
    }

    /// Makes what a request would use up, as the administrator, and says at which path.
    pub(super) async fn freshen(&self, fresh: Fresh, path: &str) -> String {
        let (p, n) = (&self.platform, self.next());
        let in_space = json!({"space": {"data": {"guid": self.space}}});
        let in_organization = json!({"organization": {"data": {"guid": self.organization}}});
        let made = async |path: &str, wish: Value| text(&p.post(path, wish).await, "guid");
        let space = async |name: &str| {
            made(
                "/v3/spaces",
                json!({"name": format!("{name}-{n}"), "relationships": in_organization.clone()}),
            )
            .await
        };
        let guid = match fresh {
            Fresh::Nothing => return self.fill(path),
            Fresh::NoBuild => {
                p.until("/v3/builds?states=STAGING", |page| page["pagination"]["total_results"] == 0).await;
                return self.fill(path);
            }
            Fresh::App => {
                made("/v3/apps", json!({"name": format!("fresh-{n}"), "relationships": in_space})).await
            }
            Fresh::Package => {
                let sides = json!({"app": {"data": {"guid": self.app}}});
                made("/v3/packages", json!({"type": "bits", "relationships": sides})).await
            }
            Fresh::Droplet => {
                let content = format!("web: ./run {n}");
                let (package, status, answer) =
                    p.upload(&self.app, zip(&[("Procfile", content.as_bytes())]), json!([])).await;
                assert!(status.is_success(), "{answer}");
                p.until("/v3/builds?states=STAGING", |page| page["pagination"]["total_results"] == 0).await;
                text(&p.stage(&package).await["droplet"], "guid")
            }
            Fresh::Route | Fresh::Destination => {
                let sides = json!({"space": {"data": {"guid": self.space}}, "domain": {"data": {"guid": self.domain}}});
                made("/v3/routes", json!({"host": format!("fresh-{n}"), "relationships": sides})).await
            }
            Fresh::Space => space("fresh").await,
            Fresh::Organization => made("/v3/organizations", json!({"name": format!("fresh-{n}")})).await,
            Fresh::Domain => made("/v3/domains", json!({"name": format!("fresh{n}.test")})).await,
            Fresh::User | Fresh::Role => {
                let user = p.make_user(&format!("fresh-{n}"), PASSWORD, json!([])).await;
                p.give_role("organization_user", &user, &self.organization).await;
                if fresh == Fresh::Role {
                    p.give_role("space_auditor", &user, &self.space).await
                } else {
                    user
                }
            }
            Fresh::UaaUser => {
                let wish = json!({"userName": format!("fresh-{n}"), "password": PASSWORD});
                text(&p.post("/Users", wish).await, "id")
            }
            Fresh::Service => {
                let wish =
                    json!({"type": "user-provided", "name": format!("fresh-{n}"), "relationships": in_space});
                made("/v3/service_instances", wish).await
            }
            Fresh::Binding => {
                let name = format!("fresh-{n}");
                let wish = crate::services::key(&self.service, &name);
                p.done(Method::POST, "/v3/service_credential_bindings", wish).await;
                p.guid(&format!("/v3/service_credential_bindings?names={name}")).await
            }
            Fresh::OrganizationQuota => {
                made("/v3/organization_quotas", json!({"name": format!("fresh-{n}")})).await
            }
            Fresh::SpaceQuota | Fresh::SpaceWithQuota => {
                let wish = json!({"name": format!("fresh-{n}"), "relationships": in_organization.clone()});
                made("/v3/space_quotas", wish).await
            }
        };
        *self.fresh.lock().unwrap() = guid.clone();
        let mut path = path.replacen("{guid}", &guid, 1);
        if fresh == Fresh::Destination {
            let wish = json!({"destinations": [{"app": {"guid": self.app}}]});
            let all = p.post(&format!("/v3/routes/{guid}/destinations"), wish).await;
            path = path.replace("{destination}", &text(&all["destinations"][0], "guid"));
        }
        if fresh == Fresh::SpaceWithQuota {
            let space = space("with-quota").await;
            let apply = format!("/v3/space_quotas/{guid}/relationships/spaces");
            p.post(&apply, json!({"data": [{"guid": space}]})).await;
            path = path.replace("{space}", &space);
        }
        self.fill(&path)
    }
}

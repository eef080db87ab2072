//! Every endpoint × everybody: the router's own table is walked, and each request is answered as the table of roles
//! and actions says; what somebody does not see is in no answer to him.

mod rows;
mod world;

use controller::{
    Endpoint,
    access::{self, Access, Action, Kind, Place, Verdict},
};
use reqwest::Method;
use rows::{Fresh, ROWS, Row, Rule};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use world::{Who, World};

/// What must come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// One of the row's statuses.
    Good,
    /// 401.
    Anonymous,
    /// 404, as if it did not exist.
    Hidden,
    /// 422: the body names something that does not exist.
    Invalid,
    /// 403.
    Refused,
    /// 403, saying that the organization is suspended.
    Suspended,
    /// 401 or 403: credentials of another kind are missing.
    Credentials,
}

impl World {
    fn place(&self, kind: Kind, suspended: bool) -> Place {
        let organization = self.organization.clone();
        match kind {
            Kind::Organization | Kind::SpaceQuota => Place::Organization { organization, suspended },
            _ => Place::Space { space: self.space.clone(), organization, suspended },
        }
    }

    /// What is shown to whom: guids, names and secrets of acme, with what one must be allowed to see each.
    fn secrets(&self) -> Vec<(&str, Kind, Action)> {
        let of_organization =
            ["acme-organization", &self.organization, "acme-user", &self.user, "acme-quota", &self.quota];
        let of_space = [
            "acme-space",
            &self.space,
            "acme-app",
            &self.app,
            &self.package,
            &self.build,
            &self.droplet,
            "acme-host",
            &self.route,
            &self.destination,
            "acme-space-quota",
            &self.space_quota,
            &self.role,
            "acme-service",
            &self.service,
            &self.binding,
        ];
        let mut all: Vec<(&str, Kind, Action)> = Vec::new();
        all.extend(of_organization.map(|secret| (secret, Kind::Organization, Action::ReadOrganization)));
        all.extend(of_space.map(|secret| (secret, Kind::Space, Action::ReadSpace)));
        all.push(("acme-secret", Kind::Space, Action::ReadVariables));
        // In every credential of the fake broker's.
        all.push((":secret@", Kind::Space, Action::ReadSecrets));
        all
    }
}

fn sees(world: &World, who: &Who, kind: Kind, action: Action) -> bool {
    access::decide(&who.held, &world.place(kind, false), action) == Verdict::Allowed
}

fn expected(world: &World, who: &Who, endpoint: &Endpoint, row: Option<&Row>, suspended: bool) -> Expected {
    let rule = row.map_or(Rule::Table, |row| row.rule);
    let access = match rule {
        Rule::As(access) => {
            assert_eq!(endpoint.access, Access::Handler, "{endpoint:?} needs no rule");
            access
        }
        Rule::Table | Rule::OwnJob => endpoint.access,
    };
    match access {
        Access::Public => return Expected::Good,
        Access::Credentials => return Expected::Credentials,
        _ if who.token.is_none() => return Expected::Anonymous,
        _ => {}
    }
    let (verdict, named) = match access {
        Access::Platform(action) => (access::decide(&who.held, &Place::Platform, action), false),
        Access::On(kind, action) => (access::decide(&who.held, &world.place(kind, suspended), action), false),
        Access::Named(kind, action) => {
            (access::decide(&who.held, &world.place(kind, suspended), action), true)
        }
        Access::Handler if rule == Rule::OwnJob => {
            let admin = access::decide(&who.held, &Place::Platform, Action::Administer);
            (if admin == Verdict::Allowed { admin } else { Verdict::Hidden }, false)
        }
        Access::Handler => panic!("give a rule to {} {}: rows.rs", endpoint.method, endpoint.path),
        _ => (Verdict::Allowed, false),
    };
    match verdict {
        Verdict::Allowed => Expected::Good,
        Verdict::Hidden if named => Expected::Invalid,
        Verdict::Hidden => Expected::Hidden,
        Verdict::Refused => Expected::Refused,
        Verdict::Suspended => Expected::Suspended,
    }
}

fn row_of(endpoint: &Endpoint) -> Option<&'static Row> {
    let row = ROWS.iter().find(|row| row.method == endpoint.method.as_str() && row.path == endpoint.path);
    let needed = endpoint.method != Method::GET || endpoint.access == Access::Handler;
    assert!(
        row.is_some() || !needed,
        "the tenancy test has no row for {} {}: add one to tests/api/tenancy/rows.rs",
        endpoint.method,
        endpoint.path
    );
    row
}

/// Sends one request, and compares status and body with what must be.
async fn probe(world: &World, who: &Who, endpoint: &Endpoint, suspended: bool) {
    let p = &world.platform;
    let row = row_of(endpoint);
    let expected = expected(world, who, endpoint, row, suspended);
    let fresh = row.map_or(Fresh::Nothing, |row| row.fresh);
    // Whoever is refused is shown the real thing, which must still be there after all.
    let path = match (expected, fresh) {
        (Expected::Good, _) | (_, Fresh::UaaUser | Fresh::User) => world.freshen(fresh, endpoint.path).await,
        _ => world.fill(endpoint.path),
    };
    let body = row.map_or(Value::Null, |row| (row.body)(world, world.next()));
    let (status, answer) = p.send_as(who.token.as_deref(), &endpoint.method, &path, &body).await;
    let what = format!("{} {} {path} {body}: {status} {answer}", who.name, endpoint.method);
    let code = serde_json::from_str::<Value>(&answer)
        .map_or(0, |answer| answer["errors"][0]["code"].as_u64().unwrap_or(0));
    match expected {
        Expected::Good => {
            let good = row.map_or(&[200][..], |row| row.good);
            assert!(good.contains(&status.as_u16()), "should be one of {good:?}: {what}");
        }
        Expected::Anonymous => assert_eq!((status.as_u16(), code), (401, 10002), "{what}"),
        Expected::Hidden => assert_eq!((status.as_u16(), code), (404, 10010), "{what}"),
        Expected::Invalid => assert_eq!((status.as_u16(), code), (422, 10008), "{what}"),
        Expected::Refused => assert_eq!((status.as_u16(), code), (403, 10003), "{what}"),
        Expected::Suspended => assert_eq!((status.as_u16(), code), (403, 10017), "{what}"),
        Expected::Credentials => assert!(matches!(status.as_u16(), 401 | 403), "{what}"),
    }
    // The same is said of what does not exist.
    if expected == Expected::Hidden {
        let nowhere = "00000000-0000-4000-8000-00000000dead";
        let path = world.fill(&endpoint.path.replacen("{guid}", nowhere, 1).replace("{source}", nowhere));
        let unknown = p.send_as(who.token.as_deref(), &endpoint.method, &path, &body).await;
        assert_eq!(
            unknown,
            (status, answer.clone()),
            "what is hidden must look like what is not there: {what}"
        );
    }
    let sent = format!("{path} {body}");
    for (secret, kind, action) in world.secrets() {
        // What somebody sent may be repeated to him.
        let known = sent.contains(secret) || sees(world, who, kind, action);
        assert!(known || !answer.contains(secret), "{secret} is not for {}: {what}", who.name);
    }
}

#[tokio::test]
async fn every_endpoint_serves_whom_the_table_says() {
    let world = World::make().await;
    let people = world.people().await;
    let endpoints = controller::endpoints();
    let known: BTreeSet<_> = endpoints.iter().map(|e| (e.method.to_string(), e.path)).collect();
    assert_eq!(known.len(), endpoints.len(), "an endpoint is registered twice");
    for row in ROWS {
        assert!(
            known.contains(&(row.method.to_owned(), row.path)),
            "{} {} is not served",
            row.method,
            row.path
        );
    }
    for endpoint in &endpoints {
        for who in &people {
            probe(&world, who, endpoint, false).await;
        }
    }
    // All is there that nobody was allowed to remove.
    let p = &world.platform;
    for path in [
        format!("/v3/organizations/{}", world.organization),
        format!("/v3/spaces/{}", world.space),
        format!("/v3/apps/{}", world.app),
        format!("/v3/packages/{}", world.package),
        format!("/v3/droplets/{}", world.droplet),
        format!("/v3/routes/{}", world.route),
        format!("/v3/users/{}", world.user),
        format!("/v3/roles/{}", world.role),
        format!("/v3/space_quotas/{}", world.space_quota),
        format!("/v3/domains/{}", world.domain),
    ] {
        p.get(&path).await;
    }
    // What is suspended can be read and not changed, but by administrators.
    let path = format!("/v3/organizations/{}", world.organization);
    p.ok(Method::PATCH, &path, json!({"suspended": true})).await;
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.method != Method::DELETE) {
        for who in people.iter().filter(|who| !who.held.iter().any(|held| held.role.is_of_platform())) {
            probe(&world, who, endpoint, true).await;
        }
    }
}

#[tokio::test]
async fn lists_show_what_one_sees_and_nothing_else() {
    let world = World::make().await;
    let people = world.people().await;
    let of_space = (Kind::Space, Action::ReadSpace);
    let of_organization = (Kind::Organization, Action::ReadOrganization);
    let lists = [
        ("/v3/organizations", &world.organization, of_organization),
        ("/v3/users", &world.user, of_organization),
        ("/v3/organization_quotas", &world.quota, of_organization),
        ("/v3/spaces", &world.space, of_space),
        ("/v3/apps", &world.app, of_space),
        ("/v3/processes", &world.app, of_space),
        ("/v3/packages", &world.package, of_space),
        ("/v3/builds", &world.build, of_space),
        ("/v3/droplets", &world.droplet, of_space),
        ("/v3/routes", &world.route, of_space),
        ("/v3/roles", &world.role, of_space),
        ("/v3/space_quotas", &world.space_quota, of_space),
        ("/v3/service_instances", &world.service, of_space),
        ("/v3/service_credential_bindings", &world.binding, of_space),
        // The plan is public; of brokers only administrators know.
        ("/v3/service_offerings", &world.offering, (Kind::App, Action::Administer)),
        ("/v3/service_plans", &world.plan, (Kind::App, Action::Administer)),
        ("/v3/service_brokers", &world.broker, (Kind::App, Action::ReadPlatform)),
    ];
    for endpoint in controller::endpoints().into_iter().filter(|endpoint| endpoint.access == Access::Listed) {
        assert!(
            lists.iter().any(|(path, ..)| *path == endpoint.path),
            "say what {} lists of acme's, and who sees it",
            endpoint.path
        );
    }
    for (path, guid, (kind, action)) in lists {
        for who in people.iter().filter(|who| who.token.is_some()) {
            let path = format!("{path}?per_page=5000");
            let (status, answer) =
                world.platform.send_as(who.token.as_deref(), &Method::GET, &path, &Value::Null).await;
            assert_eq!(status.as_u16(), 200, "{path}");
            let found = answer.contains(guid.as_str());
            let wanted = match action {
                Action::Administer => true,
                Action::ReadPlatform => {
                    access::decide(&who.held, &Place::Platform, action) == Verdict::Allowed
                }
                _ => sees(&world, who, kind, action),
            };
            assert_eq!(found, wanted, "{} {path}: {answer}", who.name);
        }
    }
}

/// Naming the digest of somebody else's file neither tells that it is there nor brings it.
#[tokio::test]
async fn a_digest_is_no_key_to_a_file_of_another_tenant() {
    use crate::platform::{text, zip};
    use sha1::Digest;
    let world = World::make().await;
    let people = world.people().await;
    let p = &world.platform;
    let content = vec![7; 100_000];
    let (_, status, answer) = p.upload(&world.app, zip(&[("large", &content)]), json!([])).await;
    assert!(status.is_success(), "{answer}");
    let sha1 = hex::encode(sha1::Sha1::digest(&content));
    let file = json!({"path": "mine", "mode": "644", "size_in_bytes": 100_000, "checksum": {"value": sha1}});
    let wish = json!({"resources": [file]});
    for who in people.iter().filter(|who| who.token.is_some()) {
        let (_, answer) = p.send_as(who.token.as_deref(), &Method::POST, "/v3/resource_matches", &wish).await;
        let told = answer.contains(&sha1);
        assert_eq!(told, sees(&world, who, Kind::Space, Action::ReadSecrets), "{}: {answer}", who.name);
    }
    // In a space of his own, the rival asks for a package with acme's file in it.
    let rival = people.iter().find(|who| who.name == "rival-user").unwrap();
    let token = rival.token.as_deref();
    let space = p.named("/v3/spaces", "rival-space").await;
    let wish = json!({"name": "thief", "relationships": {"space": {"data": {"guid": space}}}});
    let (status, app) = p.send_as(token, &Method::POST, "/v3/apps", &wish).await;
    assert_eq!(status.as_u16(), 201, "{app}");
    let app: Value = serde_json::from_str(&app).unwrap();
    let wish = json!({"type": "bits", "relationships": {"app": {"data": {"guid": app["guid"]}}}});
    let (_, package) = p.send_as(token, &Method::POST, "/v3/packages", &wish).await;
    let package = text(&serde_json::from_str(&package).unwrap(), "guid");
    let form = reqwest::multipart::Form::new().text("resources", json!([file]).to_string());
    let url = format!("{}/v3/packages/{package}/upload", p.base);
    let answer = p.client.post(url).bearer_auth(token.unwrap()).multipart(form).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 422, "{}", answer.text().await.unwrap());
}

/// A route of one space leads to no app of another, and an app of another tenant is not even there.
#[tokio::test]
async fn routes_lead_to_apps_of_their_own_space() {
    use crate::platform::text;
    let world = World::make().await;
    let people = world.people().await;
    let p = &world.platform;
    let token = people.iter().find(|who| who.name == "rival-user").unwrap().token.as_deref();
    let space = p.named("/v3/spaces", "rival-space").await;
    let sides = json!({"space": {"data": {"guid": space}}, "domain": {"data": {"guid": world.domain}}});
    let route = text(&p.post("/v3/routes", json!({"host": "mine", "relationships": sides})).await, "guid");
    let path = format!("/v3/routes/{route}/destinations");
    let to = |guid: &str| json!({"destinations": [{"app": {"guid": guid}}]});
    for guid in [world.app.as_str(), "00000000-0000-4000-8000-00000000dead"] {
        let (status, answer) = p.send_as(token, &Method::POST, &path, &to(guid)).await;
        assert_eq!(status.as_u16(), 422, "{answer}");
        assert!(answer.contains("do not exist or you do not have access"), "{answer}");
    }
    let detail = p.refused(Method::POST, &path, to(&world.app), 422).await;
    assert!(detail.contains("different spaces"), "{detail}");
    // A host that another space has is taken, whoever it is.
    let sides = json!({"space": {"data": {"guid": space}}, "domain": {"data": {"guid": world.domain}}});
    let wish = json!({"host": "acme-host", "relationships": sides});
    let (status, answer) = p.send_as(token, &Method::POST, "/v3/routes", &wish).await;
    assert_eq!(status.as_u16(), 422, "{answer}");
}

//! Services as developers and administrators meet them, with a broker that is not ours.

use crate::{
    broker::{Behaviour, Broker, PASSWORD, USER},
    fakes::{FakeDea, FakeStager},
    platform::Platform,
};
use reqwest::Method;
use serde_json::{Value, json};

impl Platform {
    /// Sends a request that goes on as a job; the job when it has ended.
    pub(crate) async fn job_of(&self, method: Method, path: &str, body: Value) -> Value {
        let mut request = self.request(method.clone(), path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let job = answer.headers().get("location").map(|job| job.to_str().unwrap().to_owned());
        assert_eq!(status, 202, "{method} {path}: {}", answer.text().await.unwrap());
        self.until(&job.unwrap(), |job| job["state"] == "COMPLETE" || job["state"] == "FAILED").await
    }

    /// The same for one that ends well.
    pub(crate) async fn done(&self, method: Method, path: &str, body: Value) {
        let job = self.job_of(method, path, body).await;
        assert_eq!(job["state"], "COMPLETE", "{job}");
    }

    /// The same for one that does not; the details.
    pub(crate) async fn fails(&self, method: Method, path: &str, body: Value) -> String {
        let job = self.job_of(method, path, body).await;
        assert_eq!(job["state"], "FAILED", "{job}");
        job["errors"][0]["detail"].as_str().unwrap().to_owned()
    }

    /// Registers a broker.
    pub(crate) async fn broker(&self, name: &str, broker: &Broker) -> String {
        self.done(Method::POST, "/v3/service_brokers", registration(name, &broker.url())).await;
        self.guid(&format!("/v3/service_brokers?names={name}")).await
    }

    /// The guid of the only resource of a list.
    pub(crate) async fn guid(&self, list: &str) -> String {
        let found = self.get(list).await;
        assert_eq!(found["resources"].as_array().unwrap().len(), 1, "{list}: {found}");
        found["resources"][0]["guid"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn plan(&self, offering: &str, plan: &str) -> String {
        self.guid(&format!("/v3/service_plans?names={plan}&service_offering_names={offering}")).await
    }

    /// What makes an instance of a plan.
    pub(crate) async fn wish(&self, name: &str, offering: &str, plan: &str) -> Value {
        let plan = self.plan(offering, plan).await;
        let relationships = json!({"space": {"data": {"guid": self.space().await}}, "service_plan": {"data": {"guid": plan}}});
        json!({"type": "managed", "name": name, "relationships": relationships})
    }

    /// Makes an instance of the plan `small`; its guid.
    pub(crate) async fn instance(&self, name: &str) -> String {
        let wish = self.wish(name, "db", "small").await;
        self.done(Method::POST, "/v3/service_instances", wish).await;
        self.guid(&format!("/v3/service_instances?names={name}")).await
    }

    /// Binds an instance to an app; the guid of the binding.
    pub(crate) async fn bind(&self, instance: &str, app: &str) -> String {
        self.done(Method::POST, "/v3/service_credential_bindings", binding(instance, app)).await;
        self.guid(&format!(
            "/v3/service_credential_bindings?service_instance_guids={instance}&app_guids={app}"
        ))
        .await
    }

    /// An app that was not pushed.
    pub(crate) async fn bare_app(&self, name: &str) -> String {
        self.apply(&format!("applications:\n- name: {name}\n  no-route: true\n")).await;
        self.app(name).await
    }
}

pub(crate) fn registration(name: &str, url: &str) -> Value {
    json!({"name": name, "url": url, "authentication": {"type": "basic", "credentials": {"username": USER, "password": PASSWORD}}})
}

pub(crate) fn binding(instance: &str, app: &str) -> Value {
    json!({"type": "app", "relationships": {"service_instance": {"data": {"guid": instance}}, "app": {"data": {"guid": app}}}})
}

pub(crate) fn key(instance: &str, name: &str) -> Value {
    json!({"type": "key", "name": name, "relationships": {"service_instance": {"data": {"guid": instance}}}})
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    let mut names: Vec<_> =
        list["resources"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn an_instance_is_made_changed_and_deleted() {
    let platform = Platform::with(|config| config.services.poll_ms = 20).await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    let mut wish = p.wish("mine", "db", "small").await;
    wish["parameters"] = json!({"encoding": "utf8"});
    wish["tags"] = json!(["precious"]);
    p.done(Method::POST, "/v3/service_instances", wish.clone()).await;
    let guid = p.guid("/v3/service_instances?names=mine").await;
    let path = format!("/v3/service_instances/{guid}");
    let sent = broker.last("PUT ");
    assert_eq!(sent.query, "accepts_incomplete=true");
    assert_eq!((&sent.body["service_id"], &sent.body["plan_id"]), (&json!("db-id"), &json!("db-small")));
    assert_eq!(sent.body["parameters"], json!({"encoding": "utf8"}));
    assert_eq!(sent.body["context"]["instance_name"], "mine");
    assert_eq!(sent.body["context"]["space_name"], "dev");
    let shown = p.get(&path).await;
    assert_eq!(shown["last_operation"]["state"], "succeeded");
    assert_eq!(shown["dashboard_url"], format!("http://dashboard/{guid}"));
    assert_eq!(p.get(&format!("{path}/parameters")).await, json!({"encoding": "utf8"}));
    // As `cf services` asks.
    let list = p
        .get(
            "/v3/service_instances?fields[service_plan.service_offering.service_broker]=guid,name\
             &fields[service_plan.service_offering]=guid,name,relationships.service_broker\
             &fields[service_plan]=guid,name,relationships.service_offering&order_by=name",
        )
        .await;
    assert_eq!(list["included"]["service_plans"][0]["name"], "small");
    assert_eq!(list["included"]["service_offerings"][0]["name"], "db");
    assert_eq!(list["included"]["service_brokers"][0]["name"], "theirs");

    // What cannot be.
    let taken = p.refused(Method::POST, "/v3/service_instances", wish.clone(), 422).await;
    assert_eq!(taken, "The service instance name is taken: mine.");
    wish["name"] = json!("other");
    wish["relationships"]["service_plan"]["data"]["guid"] = json!("no-such-plan");
    let unknown = p.refused(Method::POST, "/v3/service_instances", wish.clone(), 422).await;
    assert!(unknown.starts_with("Invalid service plan."), "{unknown}");
    wish["type"] = json!("imagined");
    p.refused(Method::POST, "/v3/service_instances", wish.clone(), 422).await;

    // A new name stays with the platform; a new plan does not.
    let renamed = p.ok(Method::PATCH, &path, json!({"name": "yours"})).await;
    assert_eq!((&renamed["name"], &renamed["last_operation"]["type"]), (&json!("yours"), &json!("update")));
    assert_eq!(broker.count("PATCH "), 0);
    let large = p.plan("db", "large").await;
    let change =
        json!({"relationships": {"service_plan": {"data": {"guid": large}}}, "parameters": {"a": 1}});
    broker.switch_times("update", Behaviour::Later(2, "succeeded"), 1);
    p.done(Method::PATCH, &path, change.clone()).await;
    assert_eq!(broker.last("PATCH ").body["previous_values"]["plan_id"], "db-small");
    assert_eq!(p.get(&path).await["relationships"]["service_plan"]["data"]["guid"], large);
    let foreign = p.plan("cache", "one").await;
    let change = json!({"relationships": {"service_plan": {"data": {"guid": foreign}}}});
    p.refused(Method::PATCH, &path, change, 422).await;
    // An update that fails leaves what was, and is never cleaned up after.
    broker.switch("update", Behaviour::DoneAndSays(500, r#"{"description": "half way"}"#));
    let detail = p.fails(Method::PATCH, &path, json!({"parameters": {"b": 2}})).await;
    assert!(
        detail.starts_with("update could not be completed: Service broker theirs answered 500: half way"),
        "{detail}"
    );
    let shown = p.get(&path).await;
    assert_eq!(
        (&shown["last_operation"]["type"], &shown["last_operation"]["state"]),
        (&json!("update"), &json!("failed"))
    );
    assert_eq!((broker.count("DELETE "), p.rows("service_operations").await), (0, 0));

    // A deletion that fails can be repeated; one that finds nothing has succeeded.
    broker.switch_times("deprovision", Behaviour::Says(500, "{}"), 1);
    let detail = p.fails(Method::DELETE, &path, Value::Null).await;
    assert!(
        detail.contains("deprovision could not be completed: Service broker theirs answered 500"),
        "{detail}"
    );
    let shown = p.get(&path).await;
    assert_eq!(
        (&shown["last_operation"]["type"], &shown["last_operation"]["state"]),
        (&json!("delete"), &json!("failed"))
    );
    broker.switch_times("deprovision", Behaviour::DoneAndSays(204, ""), 1);
    assert!(p.fails(Method::DELETE, &path, Value::Null).await.contains("answered 204"));
    p.done(Method::DELETE, &path, Value::Null).await;
    p.refused(Method::GET, &path, Value::Null, 404).await;
}

#[tokio::test]
async fn what_goes_on_by_itself_is_followed_and_others_wait() {
    let platform = Platform::with(|config| config.services.poll_ms = 50).await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    broker.switch_times("provision", Behaviour::Later(1_000_000, "succeeded"), 1);
    let wish = p.wish("slow", "db", "small").await;
    let (status, _) = p.send(Method::POST, "/v3/service_instances", wish).await;
    assert_eq!(status, 202);
    let guid = p.guid("/v3/service_instances?names=slow").await;
    let path = format!("/v3/service_instances/{guid}");
    p.until(&path, |one| {
        one["last_operation"]["description"].as_str().is_some_and(|text| text.ends_with("to go"))
    })
    .await;
    let polled = broker.last("GET /v2/service_instances/");
    assert!(
        polled.query.contains("operation=task+of+provision") && polled.query.contains("plan_id=db-small"),
        "{}",
        polled.query
    );
    // Whatever else is wished for has to wait.
    let app = p.bare_app("one").await;
    for (method, path, body) in [
        (Method::DELETE, path.as_str(), Value::Null),
        (Method::PATCH, &path, json!({"parameters": {}})),
        (Method::POST, "/v3/service_credential_bindings", binding(&guid, &app)),
    ] {
        let detail = p.refused(method, path, body, 409).await;
        assert_eq!(
            detail,
            "An operation for service instance slow is in progress. Try again when it has ended."
        );
    }
    broker.brain().finish();
    p.until(&path, |one| one["last_operation"]["state"] == "succeeded").await;
    // Bindings and deletions too.
    broker.switch("bind", Behaviour::Later(2, "succeeded"));
    broker.switch("unbind", Behaviour::Later(2, "succeeded"));
    broker.switch("deprovision", Behaviour::Later(2, "succeeded"));
    let binding = format!("/v3/service_credential_bindings/{}", p.bind(&guid, &app).await);
    assert_eq!(p.get(&format!("{binding}/details")).await["credentials"]["password"], "secret");
    p.done(Method::DELETE, &binding, Value::Null).await;
    p.done(Method::DELETE, &path, Value::Null).await;
    assert_eq!((p.rows("service_bindings").await, p.rows("service_instances").await), (0, 0));
}

#[tokio::test]
async fn an_app_gets_what_it_is_bound_to() {
    let platform = Platform::start().await;
    let stager = FakeStager::start(&platform.bus).await;
    let node = FakeDea::start(&platform.bus, "dea-1", 1000).await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    let app = p.push("applications:\n- name: one\n  no-route: true\n", "one").await;
    node.until_indices(&[0]).await;
    let instance = p.instance("mine").await;
    let bound = p.bind(&instance, &app).await;
    assert_eq!(broker.last("PUT ").body["bind_resource"]["app_guid"], app);
    let provided = json!({
        "type": "user-provided", "name": "ours", "tags": ["t"], "credentials": {"host": "10.66.66.66", "port": 25, "uri": "smtp://x"},
        "syslog_drain_url": "syslog://drain:514", "relationships": {"space": {"data": {"guid": p.space().await}}},
    });
    let provided = p.post("/v3/service_instances", provided).await;
    let provided = provided["guid"].as_str().unwrap();
    let (status, _) = p.send(Method::POST, "/v3/service_credential_bindings", binding(provided, &app)).await;
    assert_eq!(status, 201);

    let env = p.get(&format!("/v3/apps/{app}/env")).await;
    let services = &env["system_env_json"]["VCAP_SERVICES"];
    let db = &services["db"][0];
    assert_eq!(
        (&db["label"], &db["name"], &db["plan"], &db["instance_guid"], &db["binding_guid"], &db["tags"]),
        (
            &json!("db"),
            &json!("mine"),
            &json!("small"),
            &json!(instance),
            &json!(bound),
            &json!(["sql", "relational"])
        )
    );
    let uri = db["credentials"]["uri"].as_str().unwrap();
    assert_eq!(env["system_env_json"]["DATABASE_URL"], uri);
    let ours = &services["user-provided"][0];
    assert_eq!((&ours["instance_name"], &ours["tags"]), (&json!("ours"), &json!(["t"])));
    assert_eq!(ours["syslog_drain_url"], "syslog://drain:514");

    // Running and staging see the same, and the way is open to what a broker names, not to what a user writes.
    p.post(&format!("/v3/apps/{app}/actions/restart"), Value::Null).await;
    let deadline = std::time::Instant::now() + crate::platform::PATIENCE;
    let start = loop {
        let started = node.instances().into_iter().find(|one| !one.start.services.is_empty());
        if let Some(one) = started {
            break one.start;
        }
        assert!(std::time::Instant::now() < deadline, "no start has services");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(start.services.len(), 2);
    assert_eq!(start.services[0]["credentials"]["uri"], uri);
    let rules = json!(start.egress_network_rules);
    assert_eq!(rules, json!([{"protocol": "tcp", "destination": "10.20.30.40", "ports": "5432"}]));
    let (package, ..) = p.upload(&app, crate::platform::zip(&[("Procfile", b"web: ./run")]), json!([])).await;
    p.stage(&package).await;
    let staged = stager.seen.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        (json!(staged.properties.services), json!(staged.egress_network_rules)),
        (json!(start.services), rules)
    );

    // What is bound cannot be bound again, and cannot be deleted.
    let twice =
        p.refused(Method::POST, "/v3/service_credential_bindings", binding(&instance, &app), 422).await;
    assert_eq!(twice, "The app is already bound to the service instance.");
    p.done(Method::POST, "/v3/service_credential_bindings", key(&instance, "admin")).await;
    let path = format!("/v3/service_instances/{instance}");
    let (status, answer) = p.send(Method::DELETE, &path, Value::Null).await;
    assert_eq!((status.as_u16(), &answer["errors"][0]["code"]), (422, &json!(10006)));
    let detail = answer["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("is bound to one and has the keys admin"), "{detail}");
    let refusal =
        p.refused(Method::DELETE, &format!("/v3/service_instances/{provided}"), Value::Null, 422).await;
    assert!(refusal.contains("is bound to one"), "{refusal}");

    // An app that goes takes its bindings along, at the broker too.
    p.delete(&format!("/v3/apps/{app}")).await;
    broker.until("the app is unbound", |brain| brain.bindings.len() == 1).await;
    let gone =
        p.refused(Method::POST, "/v3/service_credential_bindings", binding(&instance, &app), 422).await;
    assert_eq!(gone, format!("The app could not be found: '{app}'."));
    // With its bindings, when that is wished.
    p.done(Method::DELETE, &format!("{path}?recursive=true"), Value::Null).await;
    assert_eq!(broker.has(), (0, 0));
    assert_eq!(
        p.send(Method::DELETE, &format!("/v3/service_instances/{provided}"), Value::Null).await.0,
        204
    );
    for table in ["service_bindings", "service_instances"] {
        assert_eq!(p.rows(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn keys_and_provided_instances_have_rules_of_their_own() {
    let platform = Platform::start().await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    let instance = p.instance("mine").await;
    let bindings = "/v3/service_credential_bindings";
    p.done(Method::POST, bindings, key(&instance, "k")).await;
    assert!(broker.last("PUT ").body.get("bind_resource").is_none());
    let taken = p.refused(Method::POST, bindings, key(&instance, "k"), 422).await;
    assert!(taken.contains("already has a key binding with name 'k'"), "{taken}");
    let guid = p.guid(&format!("{bindings}?type=key&service_instance_names=mine&names=k")).await;
    assert_eq!(p.get(&format!("{bindings}/{guid}/details")).await["credentials"]["password"], "secret");
    assert!(!p.get(&format!("{bindings}/{guid}")).await.to_string().contains("secret"));
    let mut nameless = key(&instance, "");
    nameless.as_object_mut().unwrap().remove("name");
    p.refused(Method::POST, bindings, nameless, 422).await;
    let included = p.get(&format!("{bindings}?include=service_instance,app")).await;
    assert_eq!(included["included"]["service_instances"][0]["name"], "mine");
    p.done(Method::DELETE, &format!("{bindings}/{guid}"), Value::Null).await;
    p.refused(Method::GET, &format!("{bindings}/{guid}"), Value::Null, 404).await;

    // A plan that cannot be bound; an app elsewhere; an instance that is not there.
    let wish = p.wish("raw", "cache", "raw").await;
    p.done(Method::POST, "/v3/service_instances", wish).await;
    let raw = p.guid("/v3/service_instances?names=raw").await;
    let app = p.bare_app("one").await;
    let detail = p.refused(Method::POST, bindings, binding(&raw, &app), 422).await;
    assert_eq!(detail, "Service plan does not allow bindings.");
    let organization = p.guid("/v3/organizations").await;
    let wish = json!({"name": "other", "relationships": {"organization": {"data": {"guid": organization}}}});
    let other = p.post("/v3/spaces", wish).await;
    let wish = json!({"name": "far", "relationships": {"space": {"data": {"guid": other["guid"]}}}});
    let far = p.post("/v3/apps", wish).await;
    let detail =
        p.refused(Method::POST, bindings, binding(&instance, far["guid"].as_str().unwrap()), 422).await;
    assert!(detail.contains("different spaces"), "{detail}");
    let detail = p.refused(Method::POST, bindings, binding("nothing", &app), 422).await;
    assert_eq!(detail, "The service instance could not be found: 'nothing'.");

    // Provided by the user.
    let space = json!({"space": {"data": {"guid": p.space().await}}});
    let wish =
        json!({"type": "user-provided", "name": "ours", "credentials": {"a": 1}, "relationships": space});
    let ours = p.post("/v3/service_instances", wish.clone()).await;
    let path = format!("/v3/service_instances/{}", ours["guid"].as_str().unwrap());
    assert_eq!(p.get(&format!("{path}/credentials")).await, json!({"a": 1}));
    p.refused(Method::POST, "/v3/service_instances", wish, 422).await;
    p.refused(Method::POST, bindings, key(ours["guid"].as_str().unwrap(), "k"), 422).await;
    p.refused(Method::PATCH, &path, json!({"syslog_drain_url": "nowhere"}), 422).await;
    p.refused(Method::PATCH, &path, json!({"parameters": {}}), 422).await;
    let changed = p.ok(Method::PATCH, &path, json!({"credentials": {"b": 2}, "name": "still-ours"})).await;
    assert_eq!(changed["name"], "still-ours");
    assert_eq!(p.get(&format!("{path}/credentials")).await, json!({"b": 2}));
    p.refused(Method::GET, &format!("/v3/service_instances/{instance}/credentials"), Value::Null, 404).await;
    // A space that goes takes its services along, at the broker too.
    let space = p.space().await;
    p.delete(&format!("/v3/spaces/{space}")).await;
    broker.until("the instances are gone", |brain| brain.instances.is_empty()).await;
    assert_eq!(p.rows("service_instances").await, 0);
}

#[tokio::test]
async fn quotas_limit_what_brokers_are_asked_for() {
    let platform = Platform::start().await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    let organization = p.guid("/v3/organizations").await;
    let services = json!({"paid_services_allowed": false, "total_service_instances": 1});
    let relationships = json!({"organizations": {"data": [{"guid": organization}]}});
    p.post(
        "/v3/organization_quotas",
        json!({"name": "tight", "services": services, "relationships": relationships}),
    )
    .await;
    let paid = p.wish("dear", "db", "large").await;
    let detail = p.refused(Method::POST, "/v3/service_instances", paid, 400).await;
    assert!(detail.contains("paid service plans are not allowed"), "{detail}");
    p.instance("one").await;
    let two = p.wish("two", "db", "small").await;
    let detail = p.refused(Method::POST, "/v3/service_instances", two, 400).await;
    assert!(detail.contains("services limit, which is 1"), "{detail}");
    assert_eq!((p.rows("service_instances").await, broker.count("PUT ")), (1, 1));
}

#[tokio::test]
async fn a_manifest_binds_what_it_names() {
    let platform = Platform::with(|config| config.services.poll_ms = 20).await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    p.instance("mine").await;
    let space = json!({"space": {"data": {"guid": p.space().await}}});
    p.post("/v3/service_instances", json!({"type": "user-provided", "name": "ours", "relationships": space}))
        .await;
    broker.switch_times("bind", Behaviour::Later(3, "succeeded"), 1);
    let manifest = "applications:\n- name: one\n  no-route: true\n  services:\n  - ours\n  - name: mine\n    parameters: {role: reader}\n    binding_name: db\n";
    p.apply(manifest).await;
    let app = p.app("one").await;
    let services = p.get(&format!("/v3/apps/{app}/env")).await["system_env_json"]["VCAP_SERVICES"].clone();
    assert_eq!(
        (&services["db"][0]["name"], &services["user-provided"][0]["name"]),
        (&json!("db"), &json!("ours"))
    );
    assert_eq!(broker.last("PUT ").body["parameters"], json!({"role": "reader"}));
    // Once more changes nothing; what is not there changes nothing either.
    p.apply(manifest).await;
    assert_eq!((p.rows("service_bindings").await, broker.has()), (2, (1, 1)));
    let path = format!("/v3/spaces/{}/actions/apply_manifest", p.space().await);
    let apply = async |yaml: &str| {
        let answer = p.request(Method::POST, &path).body(yaml.to_owned()).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 422);
        answer.json::<Value>().await.unwrap()["errors"][0]["detail"].as_str().unwrap().to_owned()
    };
    let detail = apply("applications:\n- name: two\n  services: [nothing]\n").await;
    assert!(detail.contains("Service instance 'nothing' not found"), "{detail}");
    assert_eq!(p.rows("apps").await, 1);
    broker.switch("bind", Behaviour::Says(400, r#"{"description": "no more users"}"#));
    let detail = apply("applications:\n- name: two\n  no-route: true\n  services: [mine]\n").await;
    assert!(detail.contains("mine could not be bound") && detail.contains("no more users"), "{detail}");
}

#[tokio::test]
async fn a_developer_uses_what_is_visible_and_no_more() {
    let platform = Platform::start().await;
    let broker = Broker::start().await;
    let p = &platform;
    p.broker("theirs", &broker).await;
    p.instance("given").await;
    // A developer of the space.
    let wish = json!({"userName": "dora", "password": "of-doras-own", "emails": [{"value": "dora"}]});
    let user = p.post("/Users", wish).await["id"].clone();
    p.post("/v3/users", json!({"guid": user})).await;
    let (space, organization) = (p.space().await, p.guid("/v3/organizations").await);
    for (kind, place, guid) in
        [("organization_user", "organization", &organization), ("space_developer", "space", &space)]
    {
        let relationships = json!({"user": {"data": {"guid": user}}, place: {"data": {"guid": guid}}});
        p.post("/v3/roles", json!({"type": kind, "relationships": relationships})).await;
    }
    let form = [("grant_type", "password"), ("username", "dora"), ("password", "of-doras-own")];
    let answer = p.client.post(format!("{}/oauth/token", p.base)).basic_auth("cf", Some("")).form(&form);
    let token: Value = answer.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    let token = token["access_token"].as_str().unwrap().to_owned();
    let ask = async |method: Method, path: &str, body: Value| {
        let mut request = p.client.request(method, format!("{}{path}", p.base)).bearer_auth(&token);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    // She sees the plan of what is there, and can have no other one of it.
    let (_, plans) = ask(Method::GET, "/v3/service_plans", Value::Null).await;
    assert_eq!(names(&plans), ["small"]);
    let usable = format!("/v3/service_plans?available=true&space_guids={space}");
    assert_eq!(names(&ask(Method::GET, &usable, Value::Null).await.1), Vec::<&str>::new());
    assert_eq!(names(&ask(Method::GET, "/v3/service_brokers", Value::Null).await.1), Vec::<&str>::new());
    let wish = p.wish("more", "db", "small").await;
    let (status, answer) = ask(Method::POST, "/v3/service_instances", wish.clone()).await;
    assert_eq!(status, 422, "{answer}");
    assert!(answer["errors"][0]["detail"].as_str().unwrap().starts_with("Invalid service plan."), "{answer}");
    // Her organization may see it: then she can.
    let path = format!("/v3/service_plans/{}/visibility", p.plan("db", "small").await);
    let to = json!({"type": "organization", "organizations": [{"guid": organization}]});
    p.ok(Method::PATCH, &path, to).await;
    assert_eq!(names(&ask(Method::GET, &usable, Value::Null).await.1), ["small"]);
    assert_eq!(ask(Method::POST, "/v3/service_instances", wish).await.0, 202);
    assert_eq!(ask(Method::POST, "/v3/service_brokers", registration("hers", &broker.url())).await.0, 403);
    let given = p.guid("/v3/service_instances?names=given").await;
    let purge = format!("/v3/service_instances/{given}?purge=true");
    assert_eq!(ask(Method::DELETE, &purge, Value::Null).await.0, 403);
}

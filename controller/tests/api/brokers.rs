//! Service brokers: who registers them, what they offer, and what is made of nonsense.

use crate::{
    broker::{Behaviour, Broker, PASSWORD, USER},
    platform::Platform,
    services::{names, registration},
};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_broker_is_registered_and_what_it_offers_can_be_read() {
    let platform = Platform::start().await;
    let broker = Broker::start().await;
    let p = &platform;
    let guid = p.broker("theirs", &broker).await;
    let shown = p.get("/v3/service_brokers").await;
    assert_eq!(shown["resources"][0]["url"], broker.url());
    assert!(!shown.to_string().contains(PASSWORD), "{shown}");
    let seen = broker.last("GET /v2/catalog");
    assert_eq!(seen.headers["x-broker-api-version"], "2.17");
    assert!(seen.headers["x-broker-api-originating-identity"].starts_with("cloudfoundry "));
    assert!(!seen.headers["x-broker-api-request-identity"].is_empty());

    assert_eq!(names(&p.get("/v3/service_offerings").await), ["cache", "db"]);
    let found = p.get("/v3/service_offerings?names=db&fields[service_broker]=name").await;
    assert_eq!(found["resources"][0]["broker_catalog"]["id"], "db-id");
    assert_eq!(found["resources"][0]["tags"], json!(["sql", "relational"]));
    assert_eq!(found["included"]["service_brokers"], json!([{"name": "theirs"}]));
    // As `cf marketplace` asks.
    let path = format!(
        "/v3/service_plans?available=true&fields[service_offering.service_broker]=name,guid&include=service_offering\
         &per_page=5000&space_guids={}",
        p.space().await
    );
    let plans = p.get(&path).await;
    assert_eq!(names(&plans), ["large", "one", "raw", "small"]);
    assert_eq!(plans["included"]["service_offerings"].as_array().unwrap().len(), 2);
    assert_eq!(plans["included"]["service_brokers"], json!([{"name": "theirs", "guid": guid}]));
    let large = p.get("/v3/service_plans?names=large").await;
    assert_eq!(
        (&large["resources"][0]["free"], &large["resources"][0]["visibility_type"]),
        (&json!(false), &json!("admin"))
    );
    assert_eq!(
        names(&p.get("/v3/service_plans?service_broker_names=theirs&service_offering_names=cache").await),
        ["one", "raw"]
    );
    assert_eq!(names(&p.get("/v3/service_plans?available=false").await), Vec::<&str>::new());

    // Visibility.
    let plan = format!("/v3/service_plans/{}/visibility", p.plan("db", "small").await);
    assert_eq!(p.get(&plan).await, json!({"type": "admin"}));
    assert_eq!(p.ok(Method::PATCH, &plan, json!({"type": "public"})).await, json!({"type": "public"}));
    let organization = p.guid("/v3/organizations").await;
    let wish = json!({"type": "organization", "organizations": [{"guid": organization}]});
    assert_eq!(p.ok(Method::POST, &plan, wish).await["organizations"][0]["name"], "cupola");
    assert_eq!(p.send(Method::DELETE, &format!("{plan}/{organization}"), Value::Null).await.0, 204);
    p.refused(Method::PATCH, &plan, json!({"type": "friends"}), 422).await;

    // The same name again, and what can be no broker.
    let again = p
        .refused(Method::POST, "/v3/service_brokers", registration("theirs", "http://127.0.0.1:1"), 422)
        .await;
    assert!(again.contains("unique"), "{again}");
    for url in ["nowhere", "ftp://x", "http://u:p@x", "https://x", "http://x?y"] {
        p.refused(Method::POST, "/v3/service_brokers", registration("bad", url), 422).await;
    }

    // A new catalog: what is gone goes, unless there is an instance of it.
    p.instance("mine").await;
    let mut catalog = crate::broker::catalog();
    catalog["services"][0]["plans"] = json!([{"id": "db-new", "name": "new", "description": "New"}]);
    catalog["services"].as_array_mut().unwrap().remove(1);
    broker.brain().catalog = catalog;
    let path = format!("/v3/service_brokers/{guid}");
    p.done(Method::PATCH, &path, json!({"name": "renamed"})).await;
    assert_eq!(names(&p.get("/v3/service_brokers").await), ["renamed"]);
    assert_eq!(names(&p.get("/v3/service_plans").await), ["new", "small"]);
    assert_eq!(names(&p.get("/v3/service_plans?available=true").await), ["new"]);
    assert_eq!(names(&p.get("/v3/service_offerings").await), ["db"]);
    let old = p.wish("another", "db", "small").await;
    assert!(p.refused(Method::POST, "/v3/service_instances", old, 422).await.contains("no longer offered"));

    let in_use = p.refused(Method::DELETE, &path, Value::Null, 422).await;
    assert!(in_use.contains("renamed") && in_use.contains("mine"), "{in_use}");
    let mine = p.guid("/v3/service_instances").await;
    p.done(Method::DELETE, &format!("/v3/service_instances/{mine}"), Value::Null).await;
    p.done(Method::DELETE, &path, Value::Null).await;
    for table in
        ["service_brokers", "service_offerings", "service_plans", "service_instances", "service_operations"]
    {
        assert_eq!(p.rows(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn a_broker_that_answers_nonsense_is_named_with_its_reason_and_not_kept() {
    let platform = Platform::with(|config| {
        config.services.broker_timeout_seconds = 1;
        config.services.max_answer_bytes = 64 << 10;
    })
    .await;
    let broker = Broker::start().await;
    let wish = registration("odd", &broker.url());
    let cases = [
        (Behaviour::Says(200, "<html>"), "not JSON"),
        (Behaviour::Says(200, "[]"), "no object"),
        (Behaviour::Says(200, r#"{"services": 3}"#), "cannot be read"),
        (Behaviour::Says(200, r#"{"services": []}"#), "offers no service"),
        (
            Behaviour::Says(
                200,
                r#"{"services": [{"id": "1", "name": "a", "description": "", "bindable": true, "plans": [
                    {"id": "p", "name": "x", "description": ""}, {"id": "p", "name": "y", "description": ""}]}]}"#,
            ),
            "two plans have the id \"p\"",
        ),
        (Behaviour::Endless, "larger than 65536 bytes"),
        (Behaviour::Silent, "did not answer within 1 s"),
        (Behaviour::Says(500, r#"{"description": "on fire"}"#), "answered 500: on fire"),
        (Behaviour::Says(302, "{}"), "answered 302"),
    ];
    for (behaviour, reason) in cases {
        broker.switch("catalog", behaviour);
        let detail = platform.fails(Method::POST, "/v3/service_brokers", wish.clone()).await;
        assert!(detail.starts_with("Service broker odd ") && detail.contains(reason), "{detail}");
        assert_eq!(platform.rows("service_brokers").await, 0);
    }
    broker.behave();
    let mut wrong = wish.clone();
    wrong["authentication"]["credentials"]["password"] = json!("guessed");
    let detail = platform.fails(Method::POST, "/v3/service_brokers", wrong).await;
    assert!(detail.contains("user name and password"), "{detail}");
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = registration("away", &format!("http://{nowhere}"));
    let detail = platform.fails(Method::POST, "/v3/service_brokers", away).await;
    assert!(detail.contains("could not be reached") && detail.contains("refused"), "{detail}");

    // A broker that works stays as it is when its new address does not.
    let guid = platform.broker("good", &broker).await;
    let path = format!("/v3/service_brokers/{guid}");
    platform.fails(Method::PATCH, &path, json!({"url": format!("http://{nowhere}")})).await;
    assert_eq!(platform.get(&path).await["url"], broker.url());
}

#[tokio::test]
async fn a_gateway_registers_itself_and_its_plans_are_everybodys() {
    let platform = Platform::start().await;
    let broker = Broker::start().await;
    let registration = cupola_protocol::services::RegisterBroker {
        name: "gateway".to_owned(),
        url: broker.url(),
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
    };
    let ask = async |registration: &cupola_protocol::services::RegisterBroker| {
        let subject = cupola_protocol::Subject::of::<cupola_protocol::services::RegisterBroker>();
        platform.bus.request(&subject, registration, crate::platform::PATIENCE).await.unwrap().error
    };
    assert_eq!(ask(&registration).await, None);
    platform.until("/v3/service_plans", |plans| plans["resources"].as_array().unwrap().len() == 4).await;
    let plan = platform.get("/v3/service_plans?names=small").await;
    assert_eq!(plan["resources"][0]["visibility_type"], "public");
    // It comes again at another address, with a new plan.
    let moved = Broker::start().await;
    moved.brain().catalog["services"][0]["plans"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": "db-huge", "name": "huge", "description": "A huge one"}));
    let registration = cupola_protocol::services::RegisterBroker { url: moved.url(), ..registration };
    assert_eq!(ask(&registration).await, None);
    platform.until("/v3/service_plans", |plans| plans["resources"].as_array().unwrap().len() == 5).await;
    let brokers = platform.get("/v3/service_brokers").await;
    assert_eq!(brokers["resources"].as_array().unwrap().len(), 1);
    assert_eq!(brokers["resources"][0]["url"], moved.url());
    // What an administrator has registered is not taken over.
    platform.broker("theirs", &broker).await;
    let stolen =
        cupola_protocol::services::RegisterBroker { name: "theirs".to_owned(), ..registration.clone() };
    assert!(ask(&stolen).await.unwrap().contains("administrator"), "a gateway takes over another's name");
    let bad = cupola_protocol::services::RegisterBroker { url: "nowhere".to_owned(), ..registration };
    assert!(ask(&bad).await.unwrap().contains("nowhere"));
}

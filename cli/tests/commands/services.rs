//! Services, their bindings and keys, brokers.

use crate::Developer;
use serde_json::json;
use std::fs;

#[test]
fn the_marketplace_shows_offerings_and_their_plans() {
    let developer = Developer::new();
    insta::assert_snapshot!(developer.ok(&["marketplace"]), @r"
    offering   plans           description   broker
    cache      one             A cache
    db         small, large*   A db

    * costs something
    `cupola marketplace -e OFFERING` tells more of its plans; `cupola create-service` makes an instance
    ");
    insta::assert_snapshot!(developer.ok(&["m", "-e", "db"]), @r"
    offering   plan    description     costs   bindable
    db         small   The small one   free    yes
    db         large   The large one   paid    yes
    ");
    let none = developer.refused(&["marketplace", "-e", "none"]);
    assert_eq!(none, "there is no service offering \"none\" here; `cupola marketplace` lists what there is");
}

#[test]
fn a_service_is_made_bound_and_deleted() {
    let developer = Developer::new();
    let folder = developer.app("hello");
    developer.ok(&["push", "hello", "-p", &folder]);
    assert!(developer.ok(&["services"]).starts_with("no services in space dev"));
    fs::write(developer.home.path().join("p.json"), r#"{"version": 15}"#).unwrap();
    insta::assert_snapshot!(developer.ok(&["cs", "db", "small", "mine", "-c", "p.json", "-t", "a, b"]), @r"
    Creating service instance mine in space dev ...
    OK
    `cupola bind-service APP mine` gives its credentials to an app
    ");
    let sent = developer.fake.platform().services.body.clone();
    assert_eq!((&sent["parameters"], &sent["tags"]), (&json!({"version": 15}), &json!(["a", "b"])));
    assert_eq!(sent["relationships"]["service_plan"]["data"]["guid"], "p-small");
    assert_eq!(
        developer.refused(&["cs", "db", "small", "mine"]),
        "The service instance name is taken: mine."
    );
    let none = developer.refused(&["cs", "db", "huge", "other"]);
    assert_eq!(none, "db has no plan \"huge\"; `cupola marketplace -e db` lists what there is");
    assert!(developer.refused(&["cs", "none", "huge", "other"]).contains("no service offering \"none\""));

    insta::assert_snapshot!(developer.ok(&["bind-service", "hello", "mine", "-c", r#"{"role": "reader"}"#]), @r"
    Binding service instance mine to app hello ...
    OK
    `cupola restart hello` lets the app see it; `cupola restage hello` its buildpack too
    ");
    assert_eq!(developer.fake.platform().services.body["parameters"], json!({"role": "reader"}));
    insta::assert_snapshot!(developer.ok(&["services"]), @r"
    name   offering   plan    bound apps   last operation
    mine   db         small   hello        create succeeded
    ");
    insta::assert_snapshot!(developer.ok(&["service", "mine"]), @r"
    name             mine
    guid             i-mine
    type             managed
    offering         db
    plan             small
    tags             a, b
    last operation   create succeeded
    since            2026-01-01T00:00:00Z

    binding   app     name   last operation     why
    app       hello          create succeeded
    ");
    assert_eq!(developer.ok(&["service", "mine", "--guid"]), "i-mine\n");
    let bound = developer.refused(&["delete-service", "mine", "-f"]);
    assert_eq!(bound, "Please delete the service_bindings associations");
    developer.ok(&["unbind-service", "hello", "mine"]);
    assert_eq!(developer.ok(&["us", "hello", "mine"]), "app hello is not bound to mine\nOK\n");

    developer.ok(&["update-service", "mine", "-p", "large", "--wait"]);
    let sent = developer.fake.platform().services.body.clone();
    assert_eq!(sent, json!({"relationships": {"service_plan": {"data": {"guid": "p-large"}}}}));
    assert!(developer.refused(&["update-service", "mine"]).contains("nothing is to be changed"));
    developer.ok(&["rename-service", "mine", "yours"]);
    assert!(developer.refused(&["service", "mine"]).contains("no service instance \"mine\""));
    let asked = developer.refused(&["delete-service", "yours"]);
    assert!(asked.contains("there is no terminal"), "{asked}");
    assert_eq!(developer.ok(&["ds", "yours", "-f", "-r"]), "Deleting service instance yours ...\nOK\n");
    assert_eq!(developer.ok(&["ds", "yours", "-f"]), "there is no service instance yours\nOK\n");
}

#[test]
fn a_slow_broker_is_left_alone_or_waited_for() {
    let developer = Developer::new();
    developer.fake.platform().services.slow = 2;
    insta::assert_snapshot!(developer.ok(&["create-service", "db", "small", "slow"]), @r"
    Creating service instance slow in space dev ...
    the broker is at work; `cupola service slow` says how far it is
    ");
    let shown = developer.ok(&["service", "slow"]);
    assert!(shown.contains("last operation   create in progress\n                 half way\n"), "{shown}");
    let waited = developer.ok(&["create-service", "db", "small", "other", "--wait"]);
    assert!(waited.contains("OK\n"), "{waited}");
    developer.fake.platform().services.fails =
        Some("provision could not be completed: Service broker b answered 500");
    let failed = developer.refused(&["create-service", "db", "small", "bad"]);
    assert_eq!(
        failed,
        "creating bad failed: provision could not be completed: Service broker b answered 500"
    );
}

#[test]
fn keys_show_their_credentials() {
    let developer = Developer::new();
    developer.ok(&["create-service", "db", "small", "mine"]);
    assert!(developer.ok(&["service-keys", "mine"]).contains("mine has no keys"));
    developer.ok(&["create-service-key", "mine", "k"]);
    insta::assert_snapshot!(developer.ok(&["sk", "mine"]), @r"
    key   last operation
    k     create succeeded
    ");
    assert_eq!(
        developer.ok(&["service-key", "mine", "k"]),
        "{\n  \"uri\": \"postgres://u:p@10.0.0.1/d\"\n}\n"
    );
    let none = developer.refused(&["service-key", "mine", "none"]);
    assert_eq!(none, "mine has no key \"none\"; `cupola service-keys mine` lists what there is");
    developer.ok(&["delete-service-key", "mine", "k", "-f"]);
    assert!(developer.fake.platform().services.bindings.is_empty());
}

#[test]
fn what_a_user_provides_is_sent_as_it_is() {
    let developer = Developer::new();
    developer.ok(&["cups", "ours", "-p", r#"{"uri": "mysql://x"}"#, "-l", "syslog://drain:514"]);
    let sent = developer.fake.platform().services.body.clone();
    assert_eq!(
        (&sent["type"], &sent["credentials"]),
        (&json!("user-provided"), &json!({"uri": "mysql://x"}))
    );
    assert_eq!(sent["syslog_drain_url"], "syslog://drain:514");
    developer.ok(&["uups", "ours", "-p", "{}"]);
    assert_eq!(developer.fake.platform().services.body, json!({"credentials": {}}));
    assert!(developer.refused(&["uups", "ours"]).contains("nothing is to be changed"));
    assert!(developer.refused(&["cups", "more", "-p", "user,password"]).contains("there is no terminal"));
    assert!(developer.refused(&["cups", "more", "-p", "{oops"]).starts_with("-p: it is not JSON"));
    developer.ok(&["create-service", "db", "small", "mine"]);
    let refused = developer.refused(&["uups", "mine", "-p", "{}"]);
    assert_eq!(refused, "mine is not user provided: `cupola update-service` changes it");
}

#[test]
fn brokers_are_registered_opened_and_removed() {
    let developer = Developer::new();
    developer.ok(&["create-service-broker", "theirs", "user", "secret", "http://broker:1"]);
    let sent = developer.fake.platform().services.body.clone();
    assert_eq!(sent["authentication"]["credentials"], json!({"username": "user", "password": "secret"}));
    insta::assert_snapshot!(developer.ok(&["service-brokers"]), @r"
    name     url
    theirs   http://broker:1
    ");
    let none = developer.refused(&["create-service-broker", "more", "user", "http://broker:1"]);
    assert!(none.contains("CF_BROKER_PASSWORD"), "{none}");
    developer.ok(&["update-service-broker", "theirs", "user", "other", "http://broker:2"]);
    assert_eq!(developer.fake.platform().services.body["url"], "http://broker:2");
    insta::assert_snapshot!(developer.ok(&["service-access"]), @r"
    offering   plan    access   organizations
    cache      one     none
    db         large   none
    db         small   none
    ");
    developer.ok(&["enable-service-access", "db", "-p", "small", "-o", "main"]);
    let sent = developer.fake.platform().services.visibility.clone();
    assert_eq!(sent, json!({"type": "organization", "organizations": [{"guid": "o1"}]}));
    developer.ok(&["enable-service-access", "db"]);
    assert!(developer.ok(&["service-access"]).contains("db         small   all"));
    developer.ok(&["disable-service-access", "db"]);
    assert_eq!(developer.fake.platform().services.visibility, json!({"type": "admin"}));
    assert!(developer.refused(&["enable-service-access", "none"]).contains("no service offering"));
    developer.ok(&["delete-service-broker", "theirs", "-f"]);
    assert!(developer.fake.platform().services.brokers.is_empty());
    let broken = Developer::new();
    broken.fake.platform().services.fails =
        Some("Service broker odd has an invalid catalog: it offers no service");
    let refused = broken.refused(&["csb", "odd", "user", "secret", "http://broker:1"]);
    assert_eq!(
        refused,
        "fetching the catalog of odd failed: Service broker odd has an invalid catalog: it offers no service"
    );
}

#[test]
fn a_manifest_says_what_an_app_is_bound_to() {
    let developer = Developer::new();
    developer.app("hello");
    let manifest = "applications:\n- name: hello\n  path: hello\n  services:\n  - mine\n  - name: other\n    parameters: {a: 1}\n";
    fs::write(developer.home.path().join("manifest.yml"), manifest).unwrap();
    developer.ok(&["push"]);
    let sent = developer.fake.platform().manifest.clone();
    for said in ["- mine", "name: other", "a: 1"] {
        assert!(sent.contains(said), "{said} in {sent}");
    }
}

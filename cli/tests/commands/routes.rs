//! Routes and domains.

use crate::Developer;

#[test]
fn routes_are_made_mapped_unmapped_and_deleted() {
    let developer = Developer::new();
    let folder = developer.app("hello");
    developer.ok(&["push", "hello", "-p", &folder]);
    assert_eq!(
        developer.ok(&["map", "hello", "www.apps.test/shop"]),
        "app hello answers at www.apps.test/shop\nOK\n"
    );
    assert_eq!(
        developer.ok(&["create-route", "apps.test", "-n", "spare"]),
        "route spare.apps.test: `cupola map-route APP spare.apps.test` gives it an app\nOK\n"
    );
    assert!(developer.refused(&["create-route", "spare.apps.test"]).contains("Route already exists"));
    insta::assert_snapshot!(developer.ok(&["routes"]), @r"
    route                apps
    hello.apps.test      hello
    www.apps.test/shop   hello
    spare.apps.test
    ");
    // One that is there already is mapped, not made.
    developer.ok(&["map-route", "hello", "apps.test", "--hostname", "spare"]);
    assert_eq!(developer.fake.platform().routes.len(), 3);
    let none = developer.refused(&["unmap-route", "hello", "apps.test", "-n", "none"]);
    assert_eq!(none, "there is no route \"none.apps.test\" here; `cupola routes` lists what there is");
    developer.ok(&["unmap", "hello", "spare.apps.test"]);
    let twice = developer.refused(&["unmap", "hello", "spare.apps.test"]);
    assert_eq!(twice, "app hello does not answer at spare.apps.test: nothing was changed");

    let asks = developer.refused(&["delete-orphaned-routes"]);
    assert!(asks.contains("give it with -f"), "{asks}");
    assert_eq!(developer.ok(&["delete-orphaned-routes", "-f"]), "deleted spare.apps.test\nOK\n");
    assert!(developer.ok(&["delete-orphaned-routes", "-f"]).contains("every route"));
    developer.ok(&["delete-route", "apps.test", "-n", "www", "--path", "/shop", "-f"]);
    assert_eq!(developer.fake.platform().routes.len(), 1);
    assert!(developer.ok(&["delete-route", "www.apps.test", "-f"]).contains("there is no route"));
    let unknown = developer.refused(&["map-route", "hello", "elsewhere.org"]);
    assert!(unknown.contains("cupola domains"), "{unknown}");
}

#[test]
fn domains_are_made_and_deleted() {
    let developer = Developer::new();
    developer.ok(&["create-domain", "example.org"]);
    insta::assert_snapshot!(developer.ok(&["domains"]), @r"
    domain        kind
    apps.test     shared
    example.org   shared
    ");
    developer.ok(&["delete-shared-domain", "example.org", "-f"]);
    assert!(developer.refused(&["delete-domain", "example.org", "-f"]).contains("cupola domains"));
}

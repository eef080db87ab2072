use super::*;
use crate::routes::table::Lookup;
use proptest::prelude::*;

const STALE: u64 = 120_000;

fn register(port: u16, instance: &str, uris: &[&str]) -> Register {
    Register {
        host: "10.0.0.1".to_owned(),
        port,
        uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        tags: BTreeMap::new(),
        app: Some("app".into()),
        dea: None,
        private_instance_id: Some(instance.into()),
        private_instance_index: Some("0".to_owned()),
        stale_threshold_in_seconds: None,
    }
}

fn book() -> Book {
    Book::new(Arc::new(Table::default()), STALE)
}

/// The instances that serve a request, sorted; `None` for an unknown route.
fn serving(book: &Book, host: &str, path: &str) -> Option<Vec<String>> {
    match book.table.lookup(host, path) {
        Lookup::Unknown => None,
        Lookup::NoEndpoints => Some(Vec::new()),
        Lookup::Found(route) => {
            let mut all: Vec<String> = route
                .endpoints
                .iter()
                .filter_map(|endpoint| endpoint.instance.clone())
                .map(|id| id.to_string())
                .collect();
            all.sort();
            Some(all)
        }
    }
}

fn ids(ids: &[&str]) -> Option<Vec<String>> {
    Some(ids.iter().map(|id| (*id).to_owned()).collect())
}

#[test]
fn routes_come_and_go() {
    let mut book = book();
    assert!(book.register(&register(1, "i1", &["A.com", "a.com/x"]), 0, None));
    assert!(book.register(&register(2, "i2", &["a.com"]), 0, None));
    assert!(!book.register(&register(2, "i2", &["a.com"]), 5, None));
    assert_eq!(serving(&book, "a.com", "/"), ids(&["i1", "i2"]));
    assert_eq!(serving(&book, "a.com", "/x/y"), ids(&["i1"]));
    assert_eq!(serving(&book, "a.com", "/xy"), ids(&["i1", "i2"]));
    assert_eq!(serving(&book, "b.com", "/"), None);
    assert!(book.unregister(&register(1, "i1", &["a.com/x"])));
    assert_eq!(serving(&book, "a.com", "/x/y"), ids(&["i1", "i2"]));
    assert!(book.unregister(&register(1, "i1", &["a.com"])));
    assert!(book.unregister(&register(2, "i2", &["a.com"])));
    assert_eq!(serving(&book, "a.com", "/"), None);
    assert!(book.registrations().is_empty());
}

#[test]
fn a_wildcard_serves_what_nothing_else_does() {
    let mut book = book();
    book.register(&register(1, "wild", &["*.a.com"]), 0, None);
    book.register(&register(2, "exact", &["b.a.com"]), 0, None);
    assert_eq!(serving(&book, "b.a.com", "/"), ids(&["exact"]));
    assert_eq!(serving(&book, "c.a.com", "/"), ids(&["wild"]));
    assert_eq!(serving(&book, "d.c.a.com", "/"), ids(&["wild"]));
    assert_eq!(serving(&book, "a.com", "/"), None);
}

#[test]
fn another_instance_on_the_same_address_replaces_the_first_on_every_route() {
    let mut book = book();
    book.register(&register(1, "old", &["a.com", "b.com"]), 0, None);
    book.register(&register(1, "new", &["c.com"]), 0, None);
    assert_eq!(serving(&book, "a.com", "/"), None);
    assert_eq!(serving(&book, "b.com", "/"), None);
    assert_eq!(serving(&book, "c.com", "/"), ids(&["new"]));
    assert!(!book.unregister(&register(1, "old", &["c.com"])), "a late unregistration of the old instance");
    assert_eq!(serving(&book, "c.com", "/"), ids(&["new"]));
}

#[test]
fn silence_is_pruned_unless_nobody_could_speak() {
    let mut book = book();
    book.register(&register(1, "i1", &["a.com"]), 0, None);
    let short = Register { stale_threshold_in_seconds: Some(10), ..register(2, "i2", &["a.com"]) };
    book.register(&short, 0, None);
    assert_eq!(book.prune(10_000), 0);
    assert_eq!(book.prune(10_001), 1);
    assert_eq!(serving(&book, "a.com", "/"), ids(&["i1"]));
    book.refresh(500_000);
    assert_eq!(book.prune(500_000 + STALE), 0);
    assert_eq!(book.prune(500_001 + STALE), 1);
    assert_eq!(serving(&book, "a.com", "/"), None);
}

#[test]
fn a_restored_registration_must_be_confirmed_soon() {
    let mut book = book();
    book.register(&register(1, "i1", &["a.com"]), 0, Some(60_000));
    book.register(&register(2, "i2", &["a.com"]), 0, Some(60_000));
    book.register(&register(2, "i2", &["a.com"]), 30_000, None);
    assert_eq!(book.prune(60_001), 1);
    assert_eq!(serving(&book, "a.com", "/"), ids(&["i2"]));
}

#[test]
fn a_known_route_exists_without_endpoints() {
    let mut book = book();
    book.register(&register(9, "wild", &["*.com"]), 0, None);
    assert!(book.know(&["a.com".to_owned(), "b.com/x".to_owned()]));
    assert!(!book.know(&["B.com/x".to_owned(), "a.com".to_owned()]));
    assert_eq!(serving(&book, "a.com", "/"), ids(&[]), "known, so the wildcard does not serve it");
    assert_eq!(serving(&book, "b.com", "/x"), ids(&[]));
    assert_eq!(serving(&book, "b.com", "/"), ids(&["wild"]));
    book.register(&register(1, "i1", &["a.com"]), 0, None);
    assert_eq!(serving(&book, "a.com", "/"), ids(&["i1"]));
    book.unregister(&register(1, "i1", &["a.com"]));
    assert_eq!(serving(&book, "a.com", "/"), ids(&[]));
    book.know(&[]);
    assert_eq!(serving(&book, "a.com", "/"), ids(&["wild"]));
}

#[test]
fn turns_go_round_and_avoid_who_failed() {
    let mut book = book();
    for port in 1..=3 {
        book.register(&register(port, &format!("i{port}"), &["a.com"]), 0, None);
    }
    let Lookup::Found(route) = book.table.lookup("a.com", "/") else { panic!("no route") };
    let picks: HashSet<u16> = (0..3).map(|_| route.pick(0, &[]).unwrap().port).collect();
    assert_eq!(picks.len(), 3);
    let failed = route.instance(b"i2").unwrap();
    failed.avoid(100);
    assert!((0..9).all(|_| route.pick(50, &[]).unwrap().port != 2));
    assert!((0..9).any(|_| route.pick(100, &[]).unwrap().port == 2));
    let others = [route.instance(b"i1").unwrap(), route.instance(b"i3").unwrap()];
    assert_eq!(route.pick(50, &others).unwrap().port, 2, "better one that failed than none");
    assert!(route.pick(50, &route.endpoints).is_none());
    assert_eq!(route.index("app", "0").unwrap().port, 1);
    assert!(route.index("app", "7").is_none() && route.index("other", "0").is_none());
}

/// What may happen to a table.
#[derive(Debug, Clone)]
enum Step {
    Register { port: u16, instance: u8, routes: Vec<u8> },
    Unregister { port: u16, instance: u8, routes: Vec<u8> },
    Wait(u64),
    Refresh,
    Know(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let routes = || proptest::collection::vec(0u8..4, 0..3);
    prop_oneof![
        4 => (1u16..4, 0u8..2, routes()).prop_map(|(port, instance, routes)| Step::Register { port, instance, routes }),
        2 => (1u16..4, 0u8..2, routes()).prop_map(|(port, instance, routes)| Step::Unregister { port, instance, routes }),
        2 => (0u64..80_000).prop_map(Step::Wait),
        1 => Just(Step::Refresh),
        1 => routes().prop_map(Step::Know),
    ]
}

proptest! {
    /// The table against a list of (port, instance, route, time) that is searched from end to end.
    #[test]
    fn the_table_says_what_a_plain_list_says(steps in proptest::collection::vec(step(), 0..60)) {
        let spell = |route: u8| format!("r{route}.com");
        let mut book = book();
        let mut list: Vec<(u16, u8, u8, u64)> = Vec::new();
        let mut known: Vec<u8> = Vec::new();
        let mut now = 0;
        for step in steps {
            let message = |port, instance: u8, routes: &[u8]| {
                let uris: Vec<String> = routes.iter().map(|route| spell(*route)).collect();
                register(port, &format!("i{instance}"), &uris.iter().map(String::as_str).collect::<Vec<_>>())
            };
            match step {
                Step::Register { port, instance, routes } => {
                    book.register(&message(port, instance, &routes), now, None);
                    if !routes.is_empty() {
                        list.retain(|row| row.0 != port || row.1 == instance && !routes.contains(&row.2));
                        list.extend(routes.iter().map(|route| (port, instance, *route, now)));
                    }
                }
                Step::Unregister { port, instance, routes } => {
                    book.unregister(&message(port, instance, &routes));
                    list.retain(|row| (row.0, row.1) != (port, instance) || !routes.contains(&row.2));
                }
                Step::Wait(time) => {
                    now += time;
                    book.prune(now);
                    list.retain(|row| now - row.3 <= STALE);
                }
                Step::Refresh => {
                    book.refresh(now);
                    list.iter_mut().for_each(|row| row.3 = now);
                }
                Step::Know(routes) => {
                    book.know(&routes.iter().map(|route| spell(*route)).collect::<Vec<_>>());
                    known = routes;
                }
            }
            for route in 0..4 {
                let mut rows: Vec<(u16, String)> =
                    list.iter().filter(|row| row.2 == route).map(|row| (row.0, format!("i{}", row.1))).collect();
                rows.sort();
                rows.dedup();
                let mut expected: Vec<String> = rows.into_iter().map(|row| row.1).collect();
                expected.sort();
                let exists = !expected.is_empty() || known.contains(&route);
                prop_assert_eq!(serving(&book, &spell(route), "/any"), exists.then_some(expected));
            }
            // What is written to disk makes the same table again.
            let mut copy = Book::new(Arc::new(Table::default()), STALE);
            copy.know(&book.known());
            for saved in book.registrations() {
                copy.register(&saved, 0, None);
            }
            for route in 0..4 {
                prop_assert_eq!(serving(&copy, &spell(route), "/"), serving(&book, &spell(route), "/"));
            }
        }
    }
}

//! Whether a catalog can be used.

use cupola_protocol::osb::{Catalog, Offering};
use std::collections::BTreeSet;

/// What an offering may require of the platform.
const PERMISSIONS: [&str; 3] = ["syslog_drain", "route_forwarding", "volume_mount"];

/// The longest name or id, in characters.
const LONGEST: usize = 255;

/// Everything that is wrong with a catalog, as half sentences.
pub(crate) fn problems(catalog: &Catalog) -> Vec<String> {
    let mut found = Vec::new();
    if catalog.services.is_empty() {
        found.push("it offers no service".to_owned());
    }
    let (mut ids, mut names, mut plan_ids) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for offering in &catalog.services {
        let name = &offering.name;
        text(&mut found, "a service's id", offering.id.as_str());
        text(&mut found, "a service's name", name);
        if !ids.insert(offering.id.as_str()) {
            found.push(format!("two services have the id {:?}", offering.id.as_str()));
        }
        if !names.insert(name.as_str()) {
            found.push(format!("two services have the name {name:?}"));
        }
        for wish in offering.requires.iter().filter(|wish| !PERMISSIONS.contains(&wish.as_str())) {
            found.push(format!("service {name:?} requires {wish:?}, which is no permission"));
        }
        of_plans(&mut found, offering, &mut plan_ids);
    }
    found
}

fn of_plans<'a>(found: &mut Vec<String>, offering: &'a Offering, ids: &mut BTreeSet<&'a str>) {
    let name = &offering.name;
    if offering.plans.is_empty() {
        found.push(format!("service {name:?} has no plan"));
    }
    let mut names = BTreeSet::new();
    for plan in &offering.plans {
        text(found, &format!("a plan's id of service {name:?}"), plan.id.as_str());
        text(found, &format!("a plan's name of service {name:?}"), &plan.name);
        if !ids.insert(plan.id.as_str()) {
            found.push(format!("two plans have the id {:?}", plan.id.as_str()));
        }
        if !names.insert(plan.name.as_str()) {
            found.push(format!("service {name:?} has two plans with the name {:?}", plan.name));
        }
    }
}

fn text(found: &mut Vec<String>, what: &str, text: &str) {
    if text.trim().is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
        found.push(format!("{what} is {text:?}: it must be 1 to {LONGEST} printable characters"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems_of(services: serde_json::Value) -> Vec<String> {
        problems(&serde_json::from_value(json!({"services": services})).unwrap())
    }

    fn service(id: &str, name: &str, plans: serde_json::Value) -> serde_json::Value {
        json!({"id": id, "name": name, "description": "d", "bindable": true, "plans": plans})
    }

    fn plan(id: &str, name: &str) -> serde_json::Value {
        json!({"id": id, "name": name, "description": "d"})
    }

    #[test]
    fn a_good_catalog_has_no_problem() {
        let services = json!([
            service("1", "a", json!([plan("1-1", "small"), plan("1-2", "large")])),
            service("2", "b", json!([plan("2-1", "small")])),
        ]);
        assert_eq!(problems_of(services), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(problems_of(json!([])), ["it offers no service"]);
        assert_eq!(problems_of(json!([service("1", "a", json!([]))])), ["service \"a\" has no plan"]);
        let twice = json!([
            service("1", "a", json!([plan("p", "x"), plan("q", "x")])),
            service("1", "a", json!([plan("p", "x")])),
        ]);
        assert_eq!(
            problems_of(twice),
            [
                "service \"a\" has two plans with the name \"x\"",
                "two services have the id \"1\"",
                "two services have the name \"a\"",
                "two plans have the id \"p\"",
            ]
        );
        let mut odd = service("1", " ", json!([plan("", "x\n")]));
        odd["requires"] = json!(["root"]);
        let found = problems_of(json!([odd])).join("; ");
        assert!(found.contains("no permission") && found.contains("a plan's id"), "{found}");
        assert!(found.contains("a service's name") && found.contains("\"x\\n\""), "{found}");
    }
}

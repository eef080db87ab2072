//! What apps are told of their services: the controller, the node agent and the stager say the same.

use serde_json::{Map, Value};

/// What a bound service shows to its app; everything else stays with the platform.
const FIELDS: [&str; 12] = [
    "name",
    "label",
    "tags",
    "plan",
    "plan_option",
    "credentials",
    "instance_guid",
    "instance_name",
    "binding_guid",
    "binding_name",
    "syslog_drain_url",
    "volume_mounts",
];

/// VCAP_SERVICES: bound services by label.
pub fn services(bound: &[Value]) -> Map<String, Value> {
    let mut by_label = Map::new();
    for service in bound {
        let shown: Map<_, _> = FIELDS
            .iter()
            .filter_map(|field| Some(((*field).to_owned(), service.get(*field)?.clone())))
            .collect();
        let label = service.get("label").and_then(Value::as_str).unwrap_or("user-provided");
        if let Value::Array(others) = by_label.entry(label).or_insert_with(|| Value::Array(Vec::new())) {
            others.push(Value::Object(shown));
        }
    }
    by_label
}

/// DATABASE_URL: address of the first relational database among the services, with the scheme that Rails calls its
/// adapter by.
pub fn database_url(bound: &[Value]) -> Option<String> {
    bound.iter().find_map(|service| {
        let uri = service.get("credentials")?.get("uri")?.as_str()?;
        let (scheme, rest) = uri.split_once("://")?;
        let adapter = match scheme {
            "mysql" | "mysql2" => "mysql2",
            "postgres" | "postgresql" => "postgres",
            "db2" | "informix" => "ibmdb",
            _ => return None,
        };
        Some(format!("{adapter}://{rest}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_are_grouped_and_show_only_what_is_the_apps() {
        let bound = [
            json!({"label": "pg", "name": "db", "credentials": {"uri": "postgresql://u:p@h/d"}, "secret_id": 1}),
            json!({"label": "pg", "name": "other", "instance_name": "other"}),
            json!({"name": "mine", "credentials": {}}),
        ];
        let services = Value::Object(services(&bound));
        let expected = json!({
            "pg": [
                {"label": "pg", "name": "db", "credentials": {"uri": "postgresql://u:p@h/d"}},
                {"label": "pg", "name": "other", "instance_name": "other"},
            ],
            "user-provided": [{"name": "mine", "credentials": {}}],
        });
        assert_eq!(services, expected);
    }

    #[test]
    fn the_first_relational_database_is_the_database() {
        let of = |uri: &str| json!({"credentials": {"uri": uri}});
        let url = |uris: &[&str]| database_url(&uris.iter().map(|uri| of(uri)).collect::<Vec<_>>());
        assert_eq!(url(&["redis://h", "postgresql://h/a", "mysql://h/b"]).as_deref(), Some("postgres://h/a"));
        assert_eq!(url(&["mysql://h/b"]).as_deref(), Some("mysql2://h/b"));
        assert_eq!(url(&["redis://h", "no address"]), None);
        assert_eq!(database_url(&[json!({"credentials": {"uri": 3}}), json!(null)]), None);
    }
}

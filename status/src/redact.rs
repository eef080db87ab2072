//! The configuration without its secrets.
//!
//! Three rules, all on the safe side: what stands under a name that speaks of secrets is not shown, whatever it is;
//! tables of free content, such as variables for apps, show their names alone; addresses lose user, password, query
//! and fragment. A path to a file that holds a secret is no secret, and is shown.

use serde_json::Value;

/// Stands where something was taken out.
pub(crate) const REMOVED: &str = "(removed)";

/// Words in the names of keys whose values are not shown.
const SECRET_WORDS: [&str; 10] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "private",
    "access_key",
    "api_key",
    "signing",
    "encryption",
];

/// Ends of names that only sound like secrets: a place or a figure.
const HARMLESS_ENDS: [&str; 6] = ["_file", "_path", "_dir", "_seconds", "_ms", "_bytes"];

/// Tables with names that an operator chose and values that may be anything.
const FREE_TABLES: [&str; 3] = ["environment", "env", "headers"];

/// Takes the secrets out.
pub(crate) fn redact(value: Value) -> Value {
    match value {
        Value::Object(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key.clone(), under(&key, value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(redact).collect()),
        Value::String(text) => Value::String(address(text)),
        other => other,
    }
}

fn under(key: &str, value: Value) -> Value {
    let key = key.to_ascii_lowercase();
    let sounds_secret = SECRET_WORDS.iter().any(|word| key.contains(word));
    let harmless =
        HARMLESS_ENDS.iter().any(|end| key.ends_with(end)) && !value.is_object() && !value.is_array();
    match value {
        Value::Null => Value::Null,
        _ if sounds_secret && !harmless => REMOVED.into(),
        Value::Object(table) if FREE_TABLES.contains(&key.as_str()) => {
            Value::Object(table.into_iter().map(|(name, _)| (name, REMOVED.into())).collect())
        }
        value => redact(value),
    }
}

/// A text that is an address, without what it may carry besides the place.
fn address(text: String) -> String {
    let lower = text.to_ascii_lowercase();
    if ["password=", "secret=", "token="].iter().any(|word| lower.contains(word)) && !lower.contains("://") {
        // A connection string: `host=db password=...`.
        return REMOVED.to_owned();
    }
    if !text.contains("://") {
        return text;
    }
    let Ok(mut url) = url::Url::parse(&text) else {
        // What claims to be an address and is none may hold anything.
        return REMOVED.to_owned();
    };
    if url.path().contains('@') {
        // Several addresses in one text, or a mistake.
        return REMOVED.to_owned();
    }
    let carries = !url.username().is_empty() || url.password().is_some();
    if !carries && url.query().is_none() && url.fragment().is_none() {
        return text;
    }
    if carries && url.set_username("").and_then(|()| url.set_password(None)).is_err() {
        return REMOVED.to_owned();
    }
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        let config = json!({
            "listen": "127.0.0.1:80",
            "admin_password_file": "/secrets/admin",
            "access_token_seconds": 600,
            "internal_url": "http://10.0.0.1:9022/",
            "limits": {"fds": 16384, "tags": ["a", null]},
            "password_file": null,
        });
        assert_eq!(redact(config.clone()), config);
    }

    #[test]
    fn secrets_go_by_name_by_address_and_by_table() {
        let config = json!({
            "database_password": "S3CRET",
            "s3": {"secret_access_key": "S3CRET", "access_key_id": "S3CRET", "bucket": "kept"},
            "tokens": ["S3CRET"],
            "token_file": {"not": "S3CRET"},
            "database": "postgres://cupola:S3CRET@db:5432/cc?sslpassword=S3CRET",
            "servers": ["nats://S3CRET@bus:4222", "nats://bus:4222"],
            "broken": "http://S3CRET@[not an address",
            "opaque": "mailto://S3CRET:S3CRET@host",
            "list": "nats://bus:4222,nats://user:S3CRET@bus:4222",
            "dsn": "host=db user=cupola Password=S3CRET",
            "environment": {"PIP_INDEX_URL": "S3CRET"},
        });
        let shown = redact(config);
        assert!(!shown.to_string().contains("S3CRET"), "{shown}");
        assert_eq!(shown["database"], "postgres://db:5432/cc");
        assert_eq!(shown["servers"][1], "nats://bus:4222");
        assert_eq!(shown["s3"]["bucket"], "kept");
        assert_eq!(shown["environment"], json!({"PIP_INDEX_URL": REMOVED}));
    }

    proptest! {
        /// However deep it stands and however it is spelled.
        #[test]
        fn no_value_under_a_secret_name_is_shown(
            path in prop::collection::vec("[a-z_]{1,12}", 0..4),
            before in "[a-zA-Z_]{0,8}", after in "[a-z]{0,3}",
            word in prop::sample::select(SECRET_WORDS.to_vec()),
            upper: bool,
            in_list: bool,
        ) {
            let word = if upper { word.to_ascii_uppercase() } else { word.to_owned() };
            let value = if in_list { json!(["S3CRET", {"x": "S3CRET"}]) } else { json!("S3CRET") };
            let mut tree = json!({ format!("{before}{word}{after}"): value });
            for key in path {
                tree = json!({ key: tree });
            }
            prop_assert!(!redact(tree).to_string().contains("S3CRET"));
        }
    }
}

//! What a process gets to know. Everything goes as environment of the job, never as text into a script.

use super::{Address, Record};
use cupola_protocol::{dea::Start, vcap};
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Home of the user inside.
pub(crate) const HOME: &str = "/home/vcap";

/// Variable that carries the start command to [`LAUNCH_SCRIPT`], which removes it.
const COMMAND: &str = "CUPOLA_START_COMMAND";

/// What bash reads in the container: profile scripts, then the start command in the same process. The order is
/// that of Cloud Foundry's launcher (buildpackapplifecycle, `launcher/`).
pub(crate) const LAUNCH_SCRIPT: &str = r#"umask 077
command=$CUPOLA_START_COMMAND
unset CUPOLA_START_COMMAND GEM_PATH
cd "$HOME" || exit 1
for profile in ../profile.d/*.sh .profile.d/*.sh .profile; do
  [ -r "$profile" ] && . "$profile" </dev/null
done
exec /bin/bash -c "$command" </dev/null
"#;

/// Names that a developer cannot set, as the controller refuses them too.
fn is_ours(name: &str) -> bool {
    name == "PORT" || name == COMMAND || name.starts_with("VCAP_") || name.starts_with("CF_INSTANCE_")
}

/// The environment as `NAME=value`; a later pair wins.
pub(crate) fn environment(record: &Record, address: &Address, command: &str) -> Vec<String> {
    let message = &record.message;
    let (host, port, inside) = (&address.host, address.port, address.container_port);
    let mut pairs = vec![
        ("HOME", format!("{HOME}/app")),
        ("TMPDIR", format!("{HOME}/tmp")),
        ("DEPS_DIR", format!("{HOME}/deps")),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("MEMORY_LIMIT", format!("{}m", message.limits.mem.0)),
    ];
    if let Some(url) = vcap::database_url(&message.services) {
        pairs.push(("DATABASE_URL", url));
    }
    let own = |pairs: Vec<(&str, String)>| {
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    let mut environment = own(pairs);
    let user = message.env.iter().filter(|pair| {
        let name = pair.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| !name.is_empty() && !is_ours(name)) && !pair.contains('\0')
    });
    environment.extend(user.cloned());
    environment.extend(own(vec![
        ("VCAP_APPLICATION", vcap_application(record, inside).to_string()),
        ("VCAP_SERVICES", Value::Object(vcap::services(&message.services)).to_string()),
        ("VCAP_APP_HOST", "0.0.0.0".to_owned()),
        ("VCAP_APP_PORT", inside.to_string()),
        ("PORT", inside.to_string()),
        ("CF_INSTANCE_GUID", record.instance.to_string()),
        ("CF_INSTANCE_INDEX", message.index.to_string()),
        ("CF_INSTANCE_IP", host.clone()),
        ("CF_INSTANCE_INTERNAL_IP", address.container_host.clone()),
        ("CF_INSTANCE_PORT", port.to_string()),
        ("CF_INSTANCE_ADDR", format!("{host}:{port}")),
        ("CF_INSTANCE_PORTS", json!([{"external": port, "internal": inside}]).to_string()),
        (COMMAND, command.to_owned()),
    ]));
    environment
}

/// The controller's part, completed with what only the agent knows. What the controller has said stays.
fn vcap_application(record: &Record, port: u16) -> Value {
    let message = &record.message;
    let mut application = default_application(message);
    application.extend(message.vcap_application.clone());
    let started = OffsetDateTime::from_unix_timestamp(record.accepted as i64)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default();
    let timestamp = record.accepted as i64;
    let ours = json!({
        "application_id": message.droplet,
        "instance_id": record.instance,
        "instance_index": message.index,
        "host": "0.0.0.0",
        "port": port,
        "started_at": started,
        "started_at_timestamp": timestamp,
        "start": started,
        "state_timestamp": timestamp,
    });
    if let Value::Object(ours) = ours {
        application.extend(ours);
    }
    Value::Object(application)
}

fn default_application(message: &Start) -> Map<String, Value> {
    let defaults = json!({
        "name": message.name,
        "application_name": message.name,
        "uris": message.uris,
        "application_uris": message.uris,
        "version": message.version,
        "application_version": message.version,
        "limits": message.limits,
    });
    match defaults {
        Value::Object(defaults) => defaults,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cupola_protocol::{
        AppId, Mebibytes, Version,
        dea::{Limits, default_partition},
    };

    fn record(env: &[&str], services: Vec<Value>) -> Record {
        let message = Start {
            droplet: AppId::new("app-guid"),
            name: "hello".to_owned(),
            index: 2,
            version: Version::new("v1"),
            uris: vec!["hello.example".to_owned()],
            stack: "default".to_owned(),
            sha1: String::new(),
            sha256: None,
            executable_uri: String::new(),
            services,
            limits: Limits { mem: Mebibytes(64), disk: Mebibytes(128), fds: 1024 },
            cc_partition: default_partition(),
            env: env.iter().map(|pair| (*pair).to_owned()).collect(),
            start_command: None,
            health_check_timeout: None,
            health_check_type: None,
            health_check_http_endpoint: None,
            vcap_application: Map::from_iter([
                ("name".to_owned(), json!("told")),
                ("space_name".to_owned(), json!("dev")),
            ]),
            egress_network_rules: vec![],
        };
        Record::new(message, 1_400_000_000.0)
    }

    fn made(record: &Record) -> std::collections::HashMap<String, String> {
        let address = Address {
            host: "10.0.0.1".to_owned(),
            port: 61001,
            container_host: "10.0.0.2".to_owned(),
            container_port: 8080,
        };
        environment(record, &address, "run 'this'")
            .into_iter()
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect()
    }

    #[test]
    fn an_app_learns_where_and_what_it_is() {
        let record = record(&[], vec![]);
        let made = made(&record);
        for (name, value) in [
            ("PORT", "8080"),
            ("VCAP_APP_PORT", "8080"),
            ("VCAP_APP_HOST", "0.0.0.0"),
            ("MEMORY_LIMIT", "64m"),
            ("HOME", "/home/vcap/app"),
            ("TMPDIR", "/home/vcap/tmp"),
            ("CF_INSTANCE_INDEX", "2"),
            ("CF_INSTANCE_ADDR", "10.0.0.1:61001"),
            ("CF_INSTANCE_PORTS", r#"[{"external":61001,"internal":8080}]"#),
            ("VCAP_SERVICES", "{}"),
            ("CUPOLA_START_COMMAND", "run 'this'"),
        ] {
            assert_eq!(made[name], value, "{name}");
        }
        let application: Value = serde_json::from_str(&made["VCAP_APPLICATION"]).unwrap();
        assert_eq!(application["name"], "told");
        assert_eq!(application["space_name"], "dev");
        assert_eq!(application["application_id"], "app-guid");
        assert_eq!(application["instance_index"], 2);
        assert_eq!(application["port"], 8080);
        assert_eq!(application["started_at"], "2014-05-13T16:53:20Z");
        assert_eq!(application["limits"]["mem"], 64);
    }

    #[test]
    fn a_developer_sets_what_is_theirs_and_nothing_else() {
        let made = made(&record(
            &["PORT=1", "VCAP_APPLICATION={}", "HOME=/x", "A=$(id) '\" \n b=c", "=x", "novalue", "TMPDIR=/t"],
            vec![],
        ));
        assert_eq!(made["PORT"], "8080");
        assert!(made["VCAP_APPLICATION"].contains("app-guid"));
        assert_eq!(made["A"], "$(id) '\" \n b=c");
        assert_eq!(made["TMPDIR"], "/t");
        assert!(!made.contains_key(""));
    }

    #[test]
    fn services_are_grouped_by_label_and_the_first_database_is_named() {
        let postgres = json!({"label": "pg", "name": "db", "credentials": {"uri": "postgresql://u:p@h/d"}});
        let redis = json!({"label": "redis", "name": "cache", "credentials": {"uri": "redis://h"}});
        let made = made(&record(&[], vec![redis, postgres]));
        let services: Value = serde_json::from_str(&made["VCAP_SERVICES"]).unwrap();
        assert_eq!(services["pg"][0]["name"], "db");
        assert_eq!(services["redis"][0]["name"], "cache");
        assert_eq!(made["DATABASE_URL"], "postgres://u:p@h/d");
    }
}

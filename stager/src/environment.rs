//! The variables of a staging container.

use crate::Config;
use cupola_protocol::{Mebibytes, staging::Start, vcap};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// Where the operator's certificates lie in the container.
pub(crate) const CA_BUNDLE: &str = "/tmp/staging/ca.crt";

/// The variables by which programs that bring their own certificates can be told of others.
const CA_VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
];

/// Where programs are, unless the developer says more: servers such as nginx are in sbin.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All variables as `NAME=value`. The operator's come first, then the developer's, then those of the platform, and
/// each may replace one before it.
pub(crate) fn variables(
    config: &Config,
    request: &Start,
    memory: Mebibytes,
    limit: Duration,
    with_ca_bundle: bool,
) -> Vec<String> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(variables.insert(name.to_owned(), value));
    set("LANG", "C.UTF-8".into());
    set("PATH", PATH.into());
    if with_ca_bundle {
        CA_VARIABLES.iter().for_each(|name| set(name, CA_BUNDLE.into()));
    }
    config.environment.iter().for_each(|(name, value)| set(name, value.clone()));
    let bound = &request.properties.services;
    if let Some(url) = vcap::database_url(bound) {
        set("DATABASE_URL", url);
    }
    of_developer(request).for_each(|(name, value)| set(name, value.to_owned()));
    set("HOME", "/home/vcap".into());
    set("USER", "vcap".into());
    set("TMPDIR", "/tmp".into());
    set("CF_STACK", request.stack.clone());
    set("STACK", request.stack.clone());
    set("MEMORY_LIMIT", format!("{}m", memory.0));
    set("STAGING_TIMEOUT", limit.as_secs().to_string());
    set("VCAP_APPLICATION", Value::Object(request.properties.vcap_application.clone()).to_string());
    set("VCAP_SERVICES", Value::Object(vcap::services(bound)).to_string());
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// The developer's variables that can be variables: the controller has refused others already.
pub(crate) fn of_developer(request: &Start) -> impl Iterator<Item = (&str, &str)> {
    let pairs = request.properties.environment.iter().filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, value)| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(letters) && !value.contains('\0')
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cupola_protocol::staging::{Meta, Properties};
    use serde_json::{Map, json};

    pub(crate) fn request() -> Start {
        Start {
            app_id: "app".into(),
            task_id: "task".into(),
            properties: Properties {
                services: vec![
                    json!({"label": "postgres-15", "name": "db", "secret_id": 7, "credentials": {"uri": "postgresql://u@h/d"}}),
                ],
                environment: vec![
                    "A=1=2".into(),
                    "HOME=/evil".into(),
                    "LANG=de".into(),
                    "bad-name=x".into(),
                    "none".into(),
                ],
                meta: Meta::default(),
                buildpack: None,
                vcap_application: Map::new(),
            },
            stack: "bookworm".into(),
            download_uri: String::new(),
            upload_uri: String::new(),
            buildpack_cache_download_uri: None,
            buildpack_cache_upload_uri: None,
            memory_limit: Mebibytes(64),
            disk_limit: Mebibytes(64),
            app_disk_limit: None,
            timeout: None,
            egress_network_rules: vec![],
        }
    }

    fn found(config: &Config, with_ca_bundle: bool) -> BTreeMap<String, String> {
        variables(config, &request(), Mebibytes(1024), Duration::from_secs(900), with_ca_bundle)
            .iter()
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn the_developer_wins_over_the_operator_and_the_platform_over_both() {
        let config = Config {
            environment: [("A".into(), "0".into()), ("B".into(), "b".into())].into(),
            ..Config::default()
        };
        let found = found(&config, true);
        let expected = [
            ("A", "1=2"),
            ("B", "b"),
            ("LANG", "de"),
            ("HOME", "/home/vcap"),
            ("MEMORY_LIMIT", "1024m"),
            ("PIP_CERT", CA_BUNDLE),
            ("CF_STACK", "bookworm"),
            ("DATABASE_URL", "postgres://u@h/d"),
            ("STAGING_TIMEOUT", "900"),
            ("VCAP_APPLICATION", "{}"),
        ];
        for (name, value) in expected {
            assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!found.contains_key("bad-name") && !found.contains_key("none"));
    }

    #[test]
    fn services_are_grouped_and_show_only_what_is_the_apps() {
        let services: Value =
            serde_json::from_str(&found(&Config::default(), false)["VCAP_SERVICES"]).unwrap();
        assert_eq!(services["postgres-15"][0]["name"], "db");
        assert!(services["postgres-15"][0].get("secret_id").is_none());
    }

    #[test]
    fn without_a_bundle_programs_trust_what_the_stack_trusts() {
        assert!(!found(&Config::default(), false).contains_key("SSL_CERT_FILE"));
    }
}

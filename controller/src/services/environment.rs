//! What an app gets of its bindings: the entries of VCAP_SERVICES, and the way to its services through the firewall.

use crate::{
    api::ApiError,
    context::Context,
    store::{self, BindingRow, InstanceRow, Origin},
};
use cupola_protocol::{dea::EgressRule, osb::Endpoint, vcap};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, net::Ipv4Addr};
use url::Url;

/// What an app gets of its bindings.
#[derive(Clone, Default)]
pub(crate) struct Bound {
    /// As they go into VCAP_SERVICES, in the order of binding.
    pub services: Vec<Value>,
    /// What the app may reach for it.
    pub egress: Vec<EgressRule>,
}

impl Bound {
    /// What the platform sets for it, as `GET /v3/apps/:guid/env` shows it.
    pub(crate) fn environment(&self) -> Map<String, Value> {
        let mut variables = Map::new();
        variables.insert("VCAP_SERVICES".to_owned(), Value::Object(vcap::services(&self.services)));
        if let Some(url) = vcap::database_url(&self.services) {
            variables.insert("DATABASE_URL".to_owned(), Value::String(url));
        }
        variables
    }
}

impl Context {
    /// What an app gets of its bindings.
    pub(crate) async fn bound_to(&self, app: &str) -> Result<Bound, ApiError> {
        let mut bound = Bound::default();
        let mut ways = BTreeSet::new();
        for binding in store::bindings_of_app(&self.pool, app).await? {
            if !binding.is_made() {
                continue;
            }
            let instance: Option<InstanceRow> =
                store::get(&self.pool, "service_instances", &binding.instance_guid).await?;
            let Some(instance) = instance else { continue };
            let origin = match &instance.plan_guid {
                Some(plan) => store::origin(&self.pool, plan).await?,
                None => None,
            };
            bound.services.push(entry(&binding, &instance, origin.as_ref()));
            // What a user writes as credentials opens no way: a tenant could open one to anywhere.
            if origin.is_some() {
                ways.extend(ways_of(&binding.endpoints(), &binding.credentials()));
            }
        }
        bound.egress = ways.into_iter().map(Way::rule).collect();
        Ok(bound)
    }
}

/// One entry of VCAP_SERVICES.
fn entry(binding: &BindingRow, instance: &InstanceRow, origin: Option<&Origin>) -> Value {
    let mut tags = origin.map(|origin| origin.offering.catalog().tags).unwrap_or_default();
    for tag in store::names(&instance.tags) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let drain = binding.syslog_drain_url.as_ref().or(instance.syslog_drain_url.as_ref());
    let credentials = if instance.is_managed() { binding.credentials() } else { instance.credentials() };
    json!({
        "label": origin.map_or("user-provided", |origin| origin.offering.name.as_str()),
        "name": binding.name.as_ref().unwrap_or(&instance.name),
        "tags": tags,
        "plan": origin.map(|origin| origin.plan.name.as_str()),
        "instance_guid": instance.guid,
        "instance_name": instance.name,
        "binding_guid": binding.guid,
        "binding_name": binding.name,
        "credentials": credentials,
        "syslog_drain_url": drain,
        "volume_mounts": binding.volume_mounts(),
    })
}

/// A way out of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    protocol: String,
    destination: String,
    ports: String,
}

impl Way {
    fn rule(self) -> EgressRule {
        EgressRule {
            protocol: self.protocol,
            destination: self.destination,
            ports: Some(self.ports).filter(|ports| !ports.is_empty()),
            icmp_type: None,
            icmp_code: None,
        }
    }
}

/// The ways to a service: as its broker says, or else where its credentials name an address.
fn ways_of(endpoints: &[Endpoint], credentials: &Map<String, Value>) -> Vec<Way> {
    if !endpoints.is_empty() {
        return endpoints.iter().filter_map(way_of_endpoint).collect();
    }
    let text = |name: &str| credentials.get(name).and_then(Value::as_str);
    let port = credentials.get("port").and_then(|port| match port {
        Value::Number(number) => number.as_u64().and_then(|port| u16::try_from(port).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    });
    let mut ways = Vec::new();
    if let (Some(host), Some(port)) = (text("host").or(text("hostname")).and_then(address), port) {
        ways.push(tcp(host, port));
    }
    for uri in ["uri", "url"].iter().filter_map(|name| text(name)) {
        let Ok(url) = Url::parse(uri) else { continue };
        let port = url.port_or_known_default().or_else(|| default_port(url.scheme()));
        if let (Some(host), Some(port)) = (url.host_str().and_then(address), port) {
            ways.push(tcp(host, port));
        }
    }
    ways
}

fn tcp(host: Ipv4Addr, port: u16) -> Way {
    Way { protocol: "tcp".to_owned(), destination: host.to_string(), ports: port.to_string() }
}

/// An address that can be one of a service; names are not looked up.
fn address(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok().filter(|address: &Ipv4Addr| !address.is_unspecified())
}

/// Ports that addresses of services leave out.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "postgres" | "postgresql" => Some(5432),
        "mysql" | "mysql2" => Some(3306),
        "redis" | "rediss" => Some(6379),
        "amqp" => Some(5672),
        "amqps" => Some(5671),
        "mongodb" => Some(27017),
        _ => None,
    }
}

/// What a broker says, when it is something that a node agent takes: a rule that it does not take would keep the app
/// from starting.
fn way_of_endpoint(endpoint: &Endpoint) -> Option<Way> {
    let protocol = endpoint.protocol.as_deref().unwrap_or("tcp");
    let ports = endpoint.ports.join(",");
    let good_ports = match protocol {
        "tcp" | "udp" => !endpoint.ports.is_empty() && endpoint.ports.iter().all(|part| is_ports(part)),
        "all" => endpoint.ports.is_empty(),
        _ => false,
    };
    let destination = endpoint.host.trim();
    (good_ports && is_network(destination)).then(|| Way {
        protocol: protocol.to_owned(),
        destination: destination.to_owned(),
        ports,
    })
}

fn is_ports(part: &str) -> bool {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    match part.split_once('-') {
        None => port(part).is_some(),
        Some((first, last)) => {
            matches!((port(first), port(last)), (Some(first), Some(last)) if first <= last)
        }
    }
}

/// Whether a text is an IPv4 address or network.
fn is_network(text: &str) -> bool {
    match text.split_once('/') {
        None => address(text).is_some(),
        Some((address, bits)) => {
            address.parse::<Ipv4Addr>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= 32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(endpoints: Value, credentials: Value) -> Vec<String> {
        let endpoints: Vec<Endpoint> = serde_json::from_value(endpoints).unwrap();
        ways_of(&endpoints, credentials.as_object().unwrap())
            .into_iter()
            .map(|way| format!("{} {} {}", way.protocol, way.destination, way.ports))
            .collect()
    }

    #[test]
    fn endpoints_of_a_broker_are_taken_where_they_are_rules() {
        let endpoints = json!([
            {"host": "10.1.2.3", "ports": ["5432", "8000-8002"]},
            {"host": "10.1.0.0/16", "ports": ["53"], "protocol": "udp"},
            {"host": "10.9.9.9", "ports": [], "protocol": "all"},
            {"host": "name.example", "ports": ["1"]},
            {"host": "10.1.2.3", "ports": ["x"]},
            {"host": "10.1.2.3", "ports": ["9-8"]},
            {"host": "10.1.2.3", "ports": ["80"], "protocol": "icmp"},
            {"host": "10.1.2.3/99", "ports": ["80"]},
        ]);
        // They count alone: the credentials' address does not.
        assert_eq!(
            ways(endpoints, json!({"host": "10.7.7.7", "port": 1})),
            ["tcp 10.1.2.3 5432,8000-8002", "udp 10.1.0.0/16 53", "all 10.9.9.9 "]
        );
    }

    #[test]
    fn without_endpoints_the_credentials_name_the_address() {
        let none = json!([]);
        assert_eq!(
            ways(none.clone(), json!({"host": "10.1.2.3", "port": 5432, "uri": "postgres://u:p@10.1.2.4/d"})),
            ["tcp 10.1.2.3 5432", "tcp 10.1.2.4 5432"]
        );
        assert_eq!(
            ways(none.clone(), json!({"hostname": "10.1.2.3", "port": "6379"})),
            ["tcp 10.1.2.3 6379"]
        );
        assert_eq!(ways(none.clone(), json!({"url": "http://10.1.2.3/x"})), ["tcp 10.1.2.3 80"]);
        for nothing in [
            json!({"host": "db.example", "port": 5432}),
            json!({"host": "10.1.2.3"}),
            json!({"host": "0.0.0.0", "port": 1}),
            json!({"uri": "10.1.2.3:80"}),
            json!({"host": "10.1.2.3", "port": 99999}),
        ] {
            assert_eq!(ways(none.clone(), nothing.clone()), Vec::<String>::new(), "{nothing}");
        }
    }
}

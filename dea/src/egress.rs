//! Egress rules of the controller as requests to the warden.

use cupola_protocol::dea::EgressRule;
use warden_client::message::{NetOutRequest, Protocol};

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRule {
    /// The protocol is not one.
    #[error("egress rule: {0:?} is not a protocol; write tcp, udp, icmp or all")]
    Protocol(String),
    /// The ports are not ports.
    #[error("egress rule: {0:?} is not a port, a list of ports or a range of ports")]
    Ports(String),
}

/// The requests that make one rule.
pub(crate) fn requests(handle: &str, rule: &EgressRule) -> Result<Vec<NetOutRequest>, InvalidRule> {
    let protocol = match rule.protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "icmp" => Protocol::Icmp,
        "all" => Protocol::All,
        other => return Err(InvalidRule::Protocol(other.to_owned())),
    };
    let base = NetOutRequest {
        handle: handle.to_owned(),
        network: Some(rule.destination.clone()),
        protocol: Some(protocol.into()),
        icmp_type: rule.icmp_type,
        icmp_code: rule.icmp_code,
        ..NetOutRequest::default()
    };
    let Some(ports) = rule.ports.as_deref().filter(|ports| !ports.trim().is_empty()) else {
        return Ok(vec![base]);
    };
    let invalid = || InvalidRule::Ports(ports.to_owned());
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    ports
        .split(',')
        .map(|part| match part.split_once('-') {
            None => {
                let port = port(part).ok_or_else(invalid)?;
                Ok(NetOutRequest { port: Some(port.into()), ..base.clone() })
            }
            Some((first, last)) => match (port(first), port(last)) {
                (Some(first), Some(last)) if first <= last => {
                    Ok(NetOutRequest { port_range: Some(format!("{first}:{last}")), ..base.clone() })
                }
                _ => Err(invalid()),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, ports: Option<&str>) -> EgressRule {
        EgressRule {
            protocol: protocol.to_owned(),
            destination: "10.0.0.0/8".to_owned(),
            ports: ports.map(str::to_owned),
            icmp_type: None,
            icmp_code: None,
        }
    }

    #[test]
    fn ports_become_one_request_each() {
        let requests = requests("h", &rule("tcp", Some("80, 443,8000-9000"))).unwrap();
        let seen: Vec<(Option<u32>, Option<&str>)> =
            requests.iter().map(|request| (request.port, request.port_range.as_deref())).collect();
        assert_eq!(seen, [(Some(80), None), (Some(443), None), (None, Some("8000:9000"))]);
    }

    #[test]
    fn no_ports_means_every_port() {
        let requests = requests("h", &rule("all", None)).unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].network.as_deref(), Some("10.0.0.0/8"));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for ports in ["0", "x", "9-8", "1,,2", "70000"] {
            assert_eq!(requests("h", &rule("udp", Some(ports))), Err(InvalidRule::Ports(ports.to_owned())));
        }
        assert!(requests("h", &rule("sctp", None)).is_err());
    }
}

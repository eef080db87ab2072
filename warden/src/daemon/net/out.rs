//! A destination that a container may reach: from the request to the rule.

use super::Ipv4Net;
use crate::daemon::Error;
use cupola_protocol::warden::{NetOutRequest, Protocol};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A destination that a container may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Out {
    /// `any`, a network `a.b.c.d/n`, or a range `first-last`: checked, in the firewall's words.
    to: Option<String>,
    /// `first-last`.
    ports: Option<(u16, u16)>,
    protocol: OutProtocol,
    /// Whether new TCP connections are logged.
    log: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutProtocol {
    Tcp,
    Udp,
    Icmp { r#type: Option<u8>, code: Option<u8> },
    All,
}

impl Out {
    /// Checks a request.
    pub(crate) fn of(request: &NetOutRequest) -> Result<Self, Error> {
        let invalid = |why: String| Err(Error::Invalid(why));
        if request.network.is_none() && request.port.is_none() && request.port_range.is_none() {
            return invalid("specify network and/or port and/or port_range".to_owned());
        }
        let to = match request.network.as_deref() {
            None | Some("") => None,
            Some(text) => Some(destination(text)?),
        };
        let ports = match (&request.port_range, request.port) {
            (Some(text), _) => {
                let range = text.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                let Some((first, last)) = range else {
                    return invalid(format!("port_range {text:?} is not `first:last` of ports"));
                };
                if first > last || first == 0 {
                    return invalid(format!(
                        "port_range {text:?}: the first port must be 1 or more, and not above the last"
                    ));
                }
                Some((first, last))
            }
            (None, Some(port)) => match u16::try_from(port) {
                Ok(port) if port > 0 => Some((port, port)),
                _ => return invalid(format!("port {port} is not between 1 and 65535")),
            },
            (None, None) => None,
        };
        let protocol = match request.protocol.map(Protocol::try_from) {
            None | Some(Ok(Protocol::Tcp)) => OutProtocol::Tcp,
            Some(Ok(Protocol::Udp)) => OutProtocol::Udp,
            Some(Ok(Protocol::All)) => OutProtocol::All,
            Some(Ok(Protocol::Icmp)) => {
                OutProtocol::Icmp { r#type: icmp(request.icmp_type)?, code: icmp(request.icmp_code)? }
            }
            Some(Err(_)) => {
                return invalid(
                    "unknown protocol: TCP (0), UDP (1), ICMP (2) and ALL (3) are known".to_owned(),
                );
            }
        };
        Ok(Out { to, ports, protocol, log: request.log.unwrap_or(false) })
    }

    /// The one address and the one TCP port that this names, if it names no more.
    pub(crate) fn endpoint(&self) -> Option<(Ipv4Addr, u16)> {
        let tcp = matches!(self.protocol, OutProtocol::Tcp | OutProtocol::All);
        let (first, last) = self.ports.filter(|_| tcp)?;
        let address = self.to.as_deref()?;
        let address = address.strip_suffix("/32").unwrap_or(address).parse().ok()?;
        (first == last).then_some((address, first))
    }

    /// The rules in nft's language, without the chain's name.
    pub(crate) fn rules(&self) -> Vec<String> {
        let to = self.to.as_ref().map_or(String::new(), |to| format!("ip daddr {to} "));
        let ports = |protocol: &str| match self.ports {
            Some((first, last)) => format!("{to}{protocol} dport {first}-{last} "),
            None => format!("{to}meta l4proto {protocol} "),
        };
        let log = |rule: &str| format!("{rule}ct state new log prefix \"cupola-out \" ");
        match self.protocol {
            OutProtocol::Tcp if self.log => vec![log(&ports("tcp")), format!("{}accept", ports("tcp"))],
            OutProtocol::Tcp => vec![format!("{}accept", ports("tcp"))],
            OutProtocol::Udp => vec![format!("{}accept", ports("udp"))],
            OutProtocol::Icmp { r#type, code } => {
                let part = |name: &str, value: Option<u8>| {
                    value.map_or(String::new(), |v| format!("icmp {name} {v} "))
                };
                vec![format!("{to}meta l4proto icmp {}{}accept", part("type", r#type), part("code", code))]
            }
            OutProtocol::All if self.ports.is_some() => {
                let tcp = self.log.then(|| log(&ports("tcp")));
                tcp.into_iter().chain(["tcp", "udp"].map(|each| format!("{}accept", ports(each)))).collect()
            }
            OutProtocol::All => {
                let tcp = self.log.then(|| log(&ports("tcp")));
                tcp.into_iter().chain([format!("{to}accept")]).collect()
            }
        }
    }
}

fn destination(text: &str) -> Result<String, Error> {
    let invalid = |why: String| Error::Invalid(format!("network {text:?} {why}"));
    match text.split_once('-') {
        None => Ok(text.parse::<Ipv4Net>().map_err(invalid)?.to_string()),
        Some((first, last)) => {
            let address = |text: &str| text.trim().parse::<Ipv4Addr>().ok();
            match (address(first), address(last)) {
                (Some(first), Some(last)) if first <= last => Ok(format!("{first}-{last}")),
                _ => Err(invalid("is not a range `first-last` of IPv4 addresses in order".to_owned())),
            }
        }
    }
}

/// -1 and nothing are any.
fn icmp(value: Option<i32>) -> Result<Option<u8>, Error> {
    match value {
        None | Some(-1) => Ok(None),
        Some(value) => match u8::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Error::Invalid(format!("ICMP type or code {value} is not between -1 and 255"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(request: NetOutRequest) -> Vec<String> {
        Out::of(&request).unwrap().rules()
    }

    #[test]
    fn requests_become_rules() {
        let to = || NetOutRequest { network: Some("10.1.2.3/8".into()), ..Default::default() };
        assert_eq!(rules(to()), ["ip daddr 10.0.0.0/8 meta l4proto tcp accept"]);
        assert_eq!(
            rules(NetOutRequest { port: Some(80), ..to() }),
            ["ip daddr 10.0.0.0/8 tcp dport 80-80 accept"]
        );
        let range = NetOutRequest {
            network: Some("1.1.1.1-1.1.1.9".into()),
            port: Some(1),
            port_range: Some("5:6".into()),
            protocol: Some(Protocol::All.into()),
            ..Default::default()
        };
        let expected = ["tcp", "udp"].map(|name| format!("ip daddr 1.1.1.1-1.1.1.9 {name} dport 5-6 accept"));
        assert_eq!(rules(range), expected);
        let ping = NetOutRequest {
            protocol: Some(Protocol::Icmp.into()),
            icmp_type: Some(8),
            icmp_code: Some(-1),
            ..to()
        };
        assert_eq!(rules(ping), ["ip daddr 10.0.0.0/8 meta l4proto icmp icmp type 8 accept"]);
        assert_eq!(rules(NetOutRequest { log: Some(true), ..to() }).len(), 2);
    }

    #[test]
    fn only_one_address_and_one_port_are_an_endpoint() {
        let out = |network: &str, ports: &str, protocol: Protocol| {
            let request = NetOutRequest {
                network: Some(network.into()),
                port_range: Some(ports.into()),
                protocol: Some(protocol.into()),
                ..Default::default()
            };
            Out::of(&request).unwrap().endpoint()
        };
        let address = Ipv4Addr::new(192, 0, 2, 7);
        assert_eq!(out("192.0.2.7", "80:80", Protocol::Tcp), Some((address, 80)));
        assert_eq!(out("192.0.2.7/32", "80:80", Protocol::All), Some((address, 80)));
        assert_eq!(out("192.0.2.7", "80:81", Protocol::Tcp), None);
        assert_eq!(out("192.0.2.7", "80:80", Protocol::Udp), None);
        assert_eq!(out("192.0.2.0/24", "80:80", Protocol::Tcp), None);
        assert_eq!(out("192.0.2.7-192.0.2.8", "80:80", Protocol::Tcp), None);
        let anywhere = NetOutRequest { port: Some(80), ..Default::default() };
        assert_eq!(Out::of(&anywhere).unwrap().endpoint(), None);
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        let refused = |request| Out::of(&request).unwrap_err().to_string();
        let port_range = |text: &str| NetOutRequest { port_range: Some(text.into()), ..Default::default() };
        assert!(refused(NetOutRequest::default()).contains("specify"));
        assert!(refused(port_range("9:8")).contains("9:8"));
        assert!(refused(port_range("a; flush ruleset")).contains("port_range"));
        assert!(
            refused(NetOutRequest { network: Some("1.1.1.1; flush".into()), ..Default::default() })
                .contains("network")
        );
        assert!(
            refused(NetOutRequest { network: Some("2.2.2.2-1.1.1.1".into()), ..Default::default() })
                .contains("range")
        );
        assert!(refused(NetOutRequest { port: Some(70_000), ..Default::default() }).contains("70000"));
        assert!(
            refused(NetOutRequest { port: Some(1), protocol: Some(9), ..Default::default() })
                .contains("protocol")
        );
    }
}

//! A destination that a container may reach: from the request to the rule.

use super::nft::{Field, NEW, Rule, Test};
use super::policy::{TCP, UDP};
use super::subnet::Addresses;
use crate::daemon::Error;
use cupola_protocol::warden::{NetOutRequest, Protocol};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A destination that a container may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Out {
    /// Any address when missing.
    to: Option<Addresses>,
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
        let network = request.network.as_deref().filter(|text| !text.is_empty());
        let port_range = request.port_range.as_deref().filter(|text| !text.is_empty());
        if network.is_none() && request.port.is_none() && port_range.is_none() {
            return invalid("specify network and/or port and/or port_range".to_owned());
        }
        let to = match network {
            None => None,
            Some(text) => {
                let addresses = text.parse::<Addresses>();
                let named = |why| Error::Invalid(format!("network {text:?} {why}"));
                Some(addresses.map_err(named)?)
            }
        };
        let ports = match (port_range, request.port) {
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
    pub(crate) fn endpoint(&self) -> Option<(IpAddr, u16)> {
        let tcp = matches!(self.protocol, OutProtocol::Tcp | OutProtocol::All);
        let (first, last) = self.ports.filter(|_| tcp)?;
        let address = self.to?.single()?;
        (first == last).then_some((address, first))
    }

    /// The rules that accept it. `id` is the container's, for the log.
    pub(super) fn rules(&self, id: &str) -> Vec<Rule> {
        let tcp = || self.with_ports(TCP);
        let logged = self.log.then(|| tcp().state(NEW).log(&format!("cupola-out {id} ")));
        let plain = match self.protocol {
            OutProtocol::Tcp => vec![tcp()],
            OutProtocol::Udp => return vec![self.with_ports(UDP).accept()],
            OutProtocol::Icmp { r#type, code } => return self.icmp(r#type, code),
            OutProtocol::All if self.ports.is_some() => vec![tcp(), self.with_ports(UDP)],
            OutProtocol::All => vec![self.to()],
        };
        logged.into_iter().chain(plain.into_iter().map(Rule::accept)).collect()
    }

    /// Goes on with packets to the destination's addresses.
    fn to(&self) -> Rule {
        let rule = Rule::new();
        let Some(addresses) = self.to else { return rule };
        let (first, last) = addresses.ends();
        let rule = rule.family_of(first);
        let field = if first.is_ipv4() { Field::Destination4 } else { Field::Destination6 };
        match addresses.network() {
            _ if first == last => rule.when(field, Test::Is, &octets(first)),
            Some((mask, base)) => rule.within(field, &mask, &base),
            None => rule.when(field, Test::From, &octets(first)).when(field, Test::To, &octets(last)),
        }
    }

    fn with_ports(&self, protocol: u8) -> Rule {
        let rule = self.to().when(Field::Protocol, Test::Is, &[protocol]);
        match self.ports {
            None => rule,
            Some((first, last)) if first == last => rule.when(Field::Port, Test::Is, &first.to_be_bytes()),
            Some((first, last)) => rule.when(Field::Port, Test::From, &first.to_be_bytes()).when(
                Field::Port,
                Test::To,
                &last.to_be_bytes(),
            ),
        }
    }

    /// Types and codes are those of the destination's family; where any address is meant, of ICMP, and of ICMPv6 only when
    /// any type is.
    fn icmp(&self, kind: Option<u8>, code: Option<u8>) -> Vec<Rule> {
        let (four, six) = match self.to.map(|addresses| addresses.ends().0.is_ipv4()) {
            Some(four) => (four, !four),
            None => (true, kind.is_none() && code.is_none()),
        };
        let rule = |family: Rule, protocol: i32| {
            let mut rule = family.merge(self.to()).when(Field::Protocol, Test::Is, &[protocol as u8]);
            for (field, value) in [(Field::IcmpType, kind), (Field::IcmpCode, code)] {
                if let Some(value) = value {
                    rule = rule.when(field, Test::Is, &[value]);
                }
            }
            rule.accept()
        };
        let four = four.then(|| rule(Rule::new().v4(), libc::IPPROTO_ICMP));
        let six = six.then(|| rule(Rule::new().v6(), libc::IPPROTO_ICMPV6));
        four.into_iter().chain(six).collect()
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
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

    fn rules(request: NetOutRequest) -> Vec<Rule> {
        Out::of(&request).unwrap().rules("id")
    }

    #[test]
    fn requests_become_rules() {
        let to = || NetOutRequest { network: Some("10.1.2.3/8".into()), ..Default::default() };
        let ten = || Rule::new().v4().within(Field::Destination4, &[255, 0, 0, 0], &[10, 0, 0, 0]);
        let tcp = |rule: Rule| rule.when(Field::Protocol, Test::Is, &[6]);
        assert_eq!(rules(to()), [tcp(ten()).accept()]);
        let port = |rule: Rule| rule.when(Field::Port, Test::Is, &[0, 80]);
        assert_eq!(rules(NetOutRequest { port: Some(80), ..to() }), [port(tcp(ten())).accept()]);
        let range = NetOutRequest {
            network: Some("1.1.1.1-1.1.1.9".into()),
            port: Some(1),
            port_range: Some("5:6".into()),
            protocol: Some(Protocol::All.into()),
            ..Default::default()
        };
        let expected = [6, 17].map(|protocol| {
            let rule = Rule::new().v4().when(Field::Destination4, Test::From, &[1, 1, 1, 1]);
            let rule = rule.when(Field::Destination4, Test::To, &[1, 1, 1, 9]);
            let rule = rule.when(Field::Protocol, Test::Is, &[protocol]);
            rule.when(Field::Port, Test::From, &[0, 5]).when(Field::Port, Test::To, &[0, 6]).accept()
        });
        assert_eq!(rules(range), expected);
        let log = tcp(ten()).state(NEW).log("cupola-out id ");
        assert_eq!(rules(NetOutRequest { log: Some(true), ..to() }), [log, tcp(ten()).accept()]);
        assert_eq!(
            rules(NetOutRequest { port: Some(80), ..Default::default() }),
            [port(tcp(Rule::new())).accept()]
        );
    }

    #[test]
    fn icmp_is_of_the_destinations_family() {
        let ping = |network: Option<&str>, kind: i32| NetOutRequest {
            network: network.map(str::to_owned),
            port: network.is_none().then_some(1),
            protocol: Some(Protocol::Icmp.into()),
            icmp_type: Some(kind),
            icmp_code: Some(-1),
            ..Default::default()
        };
        let four = Rule::new().v4().v4().when(Field::Destination4, Test::Is, &[1, 1, 1, 1]);
        let four = four.when(Field::Protocol, Test::Is, &[1]).when(Field::IcmpType, Test::Is, &[8]);
        assert_eq!(rules(ping(Some("1.1.1.1"), 8)), [four.accept()]);
        let six = Rule::new().v6().v6().when(
            Field::Destination6,
            Test::Is,
            &std::net::Ipv6Addr::LOCALHOST.octets(),
        );
        assert_eq!(rules(ping(Some("::1"), -1)), [six.when(Field::Protocol, Test::Is, &[58]).accept()]);
        assert_eq!(rules(ping(None, -1)).len(), 2, "any type of both");
        assert_eq!(rules(ping(None, 8)).len(), 1, "a type of ICMP");
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
        let address = IpAddr::from([192, 0, 2, 7]);
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
        let empty = Some(String::new());
        let empty = NetOutRequest { network: empty.clone(), port_range: empty, ..Default::default() };
        assert!(refused(NetOutRequest::default()).contains("specify") && refused(empty).contains("specify"));
        assert!(refused(port_range("9:8")).contains("9:8"));
        assert!(refused(port_range("a; flush ruleset")).contains("port_range"));
        assert!(
            refused(NetOutRequest { network: Some("1.1.1.1; flush".into()), ..Default::default() })
                .contains("network")
        );
        assert!(
            refused(NetOutRequest { network: Some("2.2.2.2-1.1.1.1".into()), ..Default::default() })
                .contains("below its first")
        );
        assert!(refused(NetOutRequest { port: Some(70_000), ..Default::default() }).contains("70000"));
        assert!(
            refused(NetOutRequest { port: Some(1), protocol: Some(9), ..Default::default() })
                .contains("protocol")
        );
    }
}

//! Which hosts there are, and what runs on each. Real machines would be named and addressed likewise.

use std::net::Ipv4Addr;

/// Domain of the platform.
pub(crate) const DOMAIN: &str = "cupola.test";
/// Where clients come in: the load balancer.
pub(crate) const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 251, 1, 1);
/// This machine's own address in the cluster's network.
pub(crate) const OPERATOR: Ipv4Addr = Ipv4Addr::new(10, 251, 0, 1);
/// Prefix of the network that all of them are in.
pub(crate) const PREFIX: u8 = 16;

/// One host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    /// Its name.
    pub name: &'static str,
    /// Its address.
    pub address: Ipv4Addr,
    /// What runs on it, as systemd units, in the order of their start.
    pub units: &'static [&'static str],
    /// Its configuration of Cupola, in `docs/examples/cluster`.
    pub config: Option<&'static str>,
}

const fn machine(
    name: &'static str,
    address: [u8; 4],
    units: &'static [&'static str],
    config: Option<&'static str>,
) -> Machine {
    let [a, b, c, d] = address;
    Machine { name, address: Ipv4Addr::new(a, b, c, d), units, config }
}

const NATS: &[&str] = &["nats-server.service"];
const CONTROL: &[&str] = &["cupola@controller.service", "cupola@health-manager.service"];
const DATA: &[&str] = &["postgresql.service", "blobs.service"];
const ROUTER: &[&str] = &["cupola@router.service"];
const DEA: &[&str] = &["cupola-warden.service", "cupola@dea.service"];
const STAGER: &[&str] = &["cupola-warden.service", "cupola@stager.service"];
const SERVICE: &[&str] =
    &["cupola-warden.service", "cupola@service-node.service", "cupola@service-gateway.service"];

/// Every host, in the order of their first boot.
pub(crate) const PLAN: &[Machine] = &[
    machine("nats-1", [10, 251, 0, 11], NATS, None),
    machine("nats-2", [10, 251, 0, 12], NATS, None),
    machine("nats-3", [10, 251, 0, 13], NATS, None),
    machine("data-1", [10, 251, 0, 21], DATA, None),
    machine("control-1", [10, 251, 0, 31], CONTROL, Some("cupola-control.toml")),
    machine("control-2", [10, 251, 0, 32], CONTROL, Some("cupola-control.toml")),
    machine("router-1", [10, 251, 0, 41], ROUTER, Some("cupola-router.toml")),
    machine("router-2", [10, 251, 0, 42], ROUTER, Some("cupola-router.toml")),
    machine("dea-1", [10, 251, 0, 51], DEA, Some("cupola-dea.toml")),
    machine("dea-2", [10, 251, 0, 52], DEA, Some("cupola-dea.toml")),
    machine("dea-3", [10, 251, 0, 53], DEA, Some("cupola-dea.toml")),
    machine("stager-1", [10, 251, 0, 61], STAGER, Some("cupola-stager.toml")),
    machine("service-1", [10, 251, 1, 11], SERVICE, Some("cupola-service.toml")),
    machine("balancer-1", [10, 251, 1, 1], &["haproxy.service"], None),
];

impl Machine {
    /// Whether containers run on it.
    pub(crate) fn has_warden(&self) -> bool {
        self.units.contains(&"cupola-warden.service")
    }

    /// The first host with the same configuration: whose name and address stand in the example.
    pub(crate) fn example(&self) -> &'static Machine {
        PLAN.iter()
            .find(|other| other.units == self.units && other.config == self.config)
            .expect("a machine of the plan is in the plan")
    }

    /// Its network namespace, as `ip netns` shows it.
    pub(crate) fn namespace(&self) -> String {
        format!("{}{}", crate::cluster::network::NAMESPACES, self.name)
    }

    /// Its place among the hosts.
    pub(crate) fn number(&self) -> usize {
        PLAN.iter().position(|other| other.name == self.name).unwrap_or_default()
    }

    /// Its wardens' name on this kernel, which all hosts share here, unlike real ones.
    pub(crate) fn instance(&self) -> String {
        self.name.replace('-', "")
    }
}

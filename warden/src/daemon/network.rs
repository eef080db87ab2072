//! Ports in, destinations out.

use super::engine::Engine;
use super::net::Out;
use super::record::Port;
use super::{Error, lock};
use cupola_protocol::warden::{NetInRequest, NetInResponse, NetOutRequest};

impl Engine {
    /// Leads a port of the host to the container.
    pub(crate) fn net_in(&self, request: &NetInRequest) -> Result<NetInResponse, Error> {
        let container = self.find(&request.handle)?;
        let _turn = lock(&container.turn);
        container.require_active()?;
        let subnet = container.network()?;
        let checked = |port: Option<u32>| match port.map(u16::try_from) {
            None | Some(Ok(0)) => Ok(None),
            Some(Ok(port)) => Ok(Some(port)),
            Some(Err(_)) => {
                Err(Error::Invalid(format!("port {} is not between 1 and 65535", port.unwrap_or_default())))
            }
        };
        let (wanted, inside) = (checked(request.host_port)?, checked(request.container_port)?);
        if let Some(port) = wanted
            && self.all().iter().any(|other| other.record().ports.iter().any(|known| known.host == port))
        {
            return Err(Error::Invalid(format!("host port {port} leads to a container already")));
        }
        let (host, pooled) = match wanted {
            Some(port) => {
                // Of the pool or not: nobody else shall get it.
                let number = u32::from(port).checked_sub(self.config.ports.start);
                (port, number.is_some_and(|number| lock(&self.pools).ports.take_exactly(number)))
            }
            None => (self.free_port()?, true),
        };
        let port = Port { host, container: inside.unwrap_or(host), pooled };
        let give_back = || {
            if pooled {
                lock(&self.pools).ports.give_back(u32::from(host) - self.config.ports.start);
            }
        };
        container.change(&self.journal, |record| record.ports.push(port)).inspect_err(|_| give_back())?;
        if let Err(error) = self.firewall.add_port(subnet, port) {
            container.change(&self.journal, |record| record.ports.retain(|known| *known != port))?;
            give_back();
            return Err(error);
        }
        Ok(NetInResponse { host_port: port.host.into(), container_port: port.container.into() })
    }

    /// A port of the pool on which nobody of the host listens.
    fn free_port(&self) -> Result<u16, Error> {
        let exhausted = Error::Exhausted { what: "port", count: self.config.ports.count, key: "ports.count" };
        let mut pools = lock(&self.pools);
        let mut taken = Vec::new();
        let found = loop {
            let Some(number) = pools.ports.take() else { break None };
            let port = (self.config.ports.start + number) as u16;
            // A service of the host would be cut off by our rule.
            if std::net::TcpListener::bind(("0.0.0.0", port)).is_ok() {
                break Some(port);
            }
            taken.push(number);
        };
        for number in taken {
            pools.ports.give_back(number);
        }
        found.ok_or(exhausted)
    }

    /// Lets the container reach a destination.
    pub(crate) fn net_out(&self, request: &NetOutRequest) -> Result<(), Error> {
        let container = self.find(&request.handle)?;
        let _turn = lock(&container.turn);
        container.require_active()?;
        let subnet = container.network()?;
        let out = Out::of(request)?;
        if container.record().outs.contains(&out) {
            return Ok(());
        }
        container.change(&self.journal, |record| record.outs.push(out.clone()))?;
        self.firewall.add_out(&container.id, subnet, &out).or_else(|error| {
            container.change(&self.journal, |record| record.outs.retain(|known| *known != out))?;
            Err(error)
        })
    }
}

//! The file server's address, its key and its limits.

use super::{Refusal, signature::Signer};
use crate::{Config, Error, config::seconds};
use cupola_protocol::{DeaId, InstanceId, router};
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
};

/// The file server's address, its key and its limits.
#[derive(Debug)]
pub(crate) struct Directory {
    signer: Signer,
    address: SocketAddr,
    /// Base of addresses by way of the routers.
    public: String,
    registration: router::Register,
    reads: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    wait: Duration,
}

/// Both addresses of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// By way of the routers.
    pub(crate) public: String,
    /// Straight at this agent.
    pub(crate) direct: String,
}

impl Directory {
    /// Listens, on the address at which others reach this node.
    pub(crate) async fn bind(config: &Config, id: &DeaId) -> Result<(Self, TcpListener), Error> {
        let files = &config.files;
        let host = config.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let wanted = SocketAddr::new(host, files.port);
        let failed = |source| Error::Listen { address: wanted, source };
        let listener = match TcpListener::bind(wanted).await {
            // Others reach this node at an address that is translated to one of its own.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, files.port)).await
            }
            bound => bound,
        };
        let listener = listener.map_err(failed)?;
        let address = SocketAddr::new(host, listener.local_addr().map_err(failed)?.port());
        let name = format!("{id}.{}", files.domain);
        let port = files.url_port.map(|port| format!(":{port}")).unwrap_or_default();
        let directory = Self {
            signer: Signer::new(files.url_seconds),
            address,
            public: format!("{}://{name}{port}", files.url_scheme),
            registration: router::Register {
                host: address.ip().to_string(),
                port: address.port(),
                uris: vec![name],
                tags: BTreeMap::from([(
                    "component".to_owned(),
                    format!("directory-server-{}", config.index),
                )]),
                app: None,
                dea: Some(id.clone()),
                // Another agent at this address, such as the next run of this one, takes its place.
                private_instance_id: Some(InstanceId::generate()),
                private_instance_index: None,
                stale_threshold_in_seconds: None,
            },
            reads: Arc::new(Semaphore::new(files.reads as usize)),
            tails: Arc::new(Semaphore::new(files.tails as usize)),
            wait: seconds(files.wait_seconds),
        };
        Ok((directory, listener))
    }

    /// What routers are told.
    pub(crate) fn registration(&self) -> &router::Register {
        &self.registration
    }

    /// The addresses of a path of an instance, good from `now` on (seconds since 1970). Whether the path is one
    /// is seen when it is read.
    pub(crate) fn addresses(&self, instance: &InstanceId, path: &str, now: f64) -> Addresses {
        let signed = self.signer.sign(&format!("/instance_paths/{instance}"), path, now as u64);
        Addresses {
            public: format!("{}{signed}", self.public),
            direct: format!("http://{}{signed}", self.address),
        }
    }

    /// Whether an address may be used.
    pub(super) fn check(&self, url_path: &str, signed: (&str, &str, &str), now: f64) -> Result<(), Refusal> {
        self.signer.check(url_path, signed, now as u64)
    }

    /// A turn to read in a container.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        match tokio::time::timeout(self.wait, self.reads.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Refusal::Busy),
        }
    }

    /// A place to follow a file.
    pub(super) fn tail(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        self.tails.clone().try_acquire_owned().map_err(|_| Refusal::Busy)
    }
}

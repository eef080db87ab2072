//! The table `status` in the section of each component.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// How a component's status page is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port; port 0 takes a free one, which is announced on the bus.
    pub listen: SocketAddr,
    /// Address under which others reach the page; without it that of `listen`, or, when that is any address, the
    /// one from which NATS sees this component.
    pub advertise_host: Option<IpAddr>,
    /// User of `/varz` and `/metrics`.
    pub user: String,
    /// File that holds their password, and nothing else. Without it the password is made at each start, and
    /// announced on the bus.
    pub password_file: Option<PathBuf>,
    /// Whether `/metrics` is served without a password.
    pub open_metrics: bool,
}

impl Default for Config {
    /// A free port of the loopback: several components, and several platforms, are never in each other's way.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            advertise_host: None,
            user: "status".to_owned(),
            password_file: None,
            open_metrics: false,
        }
    }
}

impl Config {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.user.is_empty() || self.user.contains([':', '\n']) {
            return Err(Error::User { user: self.user.clone() });
        }
        Ok(())
    }
}

//! Every limit of the router, with its name.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// What is done with the `X-Forwarded-*` headers that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarded {
    /// For a router behind a trusted load balancer: its headers are kept, our peer's address is appended.
    Append,
    /// For a router that faces the world: they are replaced by what the router itself knows.
    Replace,
}

/// The router's section of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which one of its kind, for `vcap.component.*`.
    pub index: u32,
    /// Address and port for HTTP; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Folder of the persisted table, `routes.json`.
    pub data_dir: PathBuf,
    /// Our addresses as `router.start` tells them; the listening address when empty.
    pub advertised_hosts: Vec<String>,
    /// Seconds between two registrations of an endpoint, told to those who register.
    pub register_interval_seconds: u64,
    /// Seconds after which a registration that was not repeated is stale, unless it says otherwise itself.
    pub stale_threshold_seconds: u64,
    /// Seconds between two looks for stale registrations.
    pub prune_interval_seconds: u64,
    /// Seconds between two `router.start`.
    pub start_interval_seconds: u64,
    /// Seconds in which a route that was read from disk must be registered again, once the bus is there.
    pub restored_grace_seconds: u64,
    /// Client connections at one time; further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// Bytes of one request or response head; more is 431, or 502 when an app sends it.
    pub max_head_bytes: usize,
    /// Header lines of one head; more is 431, or 502 when an app sends them.
    pub max_headers: usize,
    /// Seconds from the first byte of a request head to its last.
    pub head_timeout_seconds: u64,
    /// Seconds that a client connection may be idle between two requests.
    pub client_idle_seconds: u64,
    /// Seconds without a byte of progress while a client sends a body or takes an answer.
    pub stall_seconds: u64,
    /// Seconds until a connection to an endpoint is given up.
    pub connect_timeout_seconds: u64,
    /// Seconds for which an endpoint's kernel may leave what was sent to it unacknowledged: then its host is lost, and
    /// a request that can be repeated goes to another.
    pub unacknowledged_seconds: u64,
    /// Seconds after which no further endpoint is tried for one request.
    pub retry_budget_seconds: u64,
    /// Seconds from the end of a request to the head of its answer.
    pub answer_timeout_seconds: u64,
    /// Seconds without a byte in the middle of an app's answer.
    pub stream_idle_seconds: u64,
    /// Seconds without a byte in either direction of an upgraded connection.
    pub tunnel_idle_seconds: u64,
    /// Seconds that an unused connection to an endpoint is kept; below the 60 s of most app servers.
    pub endpoint_idle_seconds: u64,
    /// Unused connections kept for each endpoint.
    pub max_idle_per_endpoint: usize,
    /// Seconds of idleness up to which a kept connection serves a request that could not be repeated.
    pub unsafe_reuse_seconds: u64,
    /// Seconds for which an endpoint that failed is avoided while there are others.
    pub failed_endpoint_seconds: u64,
    /// Seconds that requests in progress get when the router stops.
    pub drain_seconds: u64,
    /// What is done with the `X-Forwarded-*` headers of clients: replaced, until somebody says that a trusted
    /// load balancer stands before the router.
    pub forwarded: Forwarded,
    /// Cookies of apps that make a session stick to its instance.
    pub sticky_cookies: Vec<String>,
    /// File of the access log; without one its lines go to the program's log, target `access`.
    pub access_log: Option<PathBuf>,
    /// Whether apps get the access log lines of their requests among their own log lines.
    pub app_logs: bool,
    /// Such lines per second and app; the rest is counted and told in one line.
    pub app_log_lines_per_second: u32,
    /// The status page.
    pub status: cupola_status::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            index: 0,
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            data_dir: PathBuf::from("/var/lib/cupola/router"),
            advertised_hosts: Vec::new(),
            register_interval_seconds: 20,
            stale_threshold_seconds: 120,
            prune_interval_seconds: 30,
            start_interval_seconds: 30,
            restored_grace_seconds: 60,
            max_connections: 10_000,
            max_head_bytes: 64 * 1024,
            max_headers: 128,
            head_timeout_seconds: 15,
            client_idle_seconds: 120,
            stall_seconds: 60,
            // One lost packet is repeated after a second.
            connect_timeout_seconds: 2,
            unacknowledged_seconds: 3,
            retry_budget_seconds: 15,
            answer_timeout_seconds: 60,
            stream_idle_seconds: 900,
            tunnel_idle_seconds: 3600,
            endpoint_idle_seconds: 55,
            max_idle_per_endpoint: 64,
            unsafe_reuse_seconds: 1,
            failed_endpoint_seconds: 30,
            drain_seconds: 15,
            forwarded: Forwarded::Replace,
            sticky_cookies: vec!["JSESSIONID".to_owned()],
            access_log: None,
            app_logs: true,
            app_log_lines_per_second: 100,
            status: cupola_status::Config::default(),
        }
    }
}

impl Config {
    /// Refuses limits of zero: none of them means "without limit".
    pub(crate) fn check(&self) -> Result<(), Error> {
        let limits = [
            ("register_interval_seconds", self.register_interval_seconds),
            ("stale_threshold_seconds", self.stale_threshold_seconds),
            ("prune_interval_seconds", self.prune_interval_seconds),
            ("start_interval_seconds", self.start_interval_seconds),
            ("restored_grace_seconds", self.restored_grace_seconds),
            ("max_connections", self.max_connections as u64),
            ("max_head_bytes", self.max_head_bytes as u64),
            ("max_headers", self.max_headers as u64),
            ("head_timeout_seconds", self.head_timeout_seconds),
            ("client_idle_seconds", self.client_idle_seconds),
            ("stall_seconds", self.stall_seconds),
            ("connect_timeout_seconds", self.connect_timeout_seconds),
            ("unacknowledged_seconds", self.unacknowledged_seconds),
            ("retry_budget_seconds", self.retry_budget_seconds),
            ("answer_timeout_seconds", self.answer_timeout_seconds),
            ("stream_idle_seconds", self.stream_idle_seconds),
            ("tunnel_idle_seconds", self.tunnel_idle_seconds),
        ];
        match limits.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(Error::ZeroLimit { key }),
            None => Ok(()),
        }
    }

    pub(crate) fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_seconds)
    }

    pub(crate) fn stream_idle(&self) -> Duration {
        Duration::from_secs(self.stream_idle_seconds)
    }

    pub(crate) fn answer_timeout(&self) -> Duration {
        Duration::from_secs(self.answer_timeout_seconds)
    }
}

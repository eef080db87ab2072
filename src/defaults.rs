//! What follows from the data directory, the domain and the ports: where things lie, and what each section
//! of the configuration says when the file does not.

use crate::config::Platform;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// Port of the service gateway.
const GATEWAY_PORT: u16 = 8082;

impl Platform {
    /// Sockets and the records of a run.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.data_dir.join("run")
    }
    /// The daemon's socket.
    pub(crate) fn warden_socket(&self) -> PathBuf {
        self.run_dir().join("warden.sock")
    }
    /// What the running `up` has started.
    pub(crate) fn process_record(&self) -> PathBuf {
        self.data_dir.join("processes.toml")
    }
    /// Written by the roles when all of them are bound.
    pub(crate) fn ready_marker(&self) -> PathBuf {
        self.run_dir().join("roles.ready")
    }
    /// Output of a detached platform.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.data_dir.join("log/cupola.log")
    }
    /// Where stacks are kept.
    pub(crate) fn stacks_dir(&self) -> PathBuf {
        self.data_dir.join("stacks")
    }
    /// Where the system buildpacks are laid out.
    pub(crate) fn buildpacks_dir(&self) -> PathBuf {
        self.data_dir.join("buildpacks")
    }
    /// Password of the platform's own NATS server.
    pub(crate) fn nats_password_file(&self) -> PathBuf {
        self.data_dir.join("secrets/nats-password")
    }
    /// Password of the first user, `admin`.
    pub(crate) fn admin_password_file(&self) -> PathBuf {
        self.data_dir.join("secrets/admin-password")
    }
    /// What nats-server reads.
    pub(crate) fn nats_config_file(&self) -> PathBuf {
        self.data_dir.join("nats/nats.conf")
    }
    /// What warden reads.
    pub(crate) fn warden_config_file(&self) -> PathBuf {
        self.data_dir.join("warden/warden.toml")
    }
    /// What the roles read: the whole configuration, as `up` derived it.
    pub(crate) fn effective_config_file(&self) -> PathBuf {
        self.run_dir().join("cupola.toml")
    }

    /// Address under which other hosts reach this one; none when nobody said so.
    pub(crate) fn reachable_address(&self) -> Option<IpAddr> {
        let told = !self.listen.is_loopback() && !self.listen.is_unspecified();
        self.address.or(told.then_some(self.listen))
    }

    /// Volumes and records of a service node.
    pub(crate) fn service_node_dir(&self) -> PathBuf {
        self.data_dir.join("service-node")
    }

    fn api_address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.api_port)
    }

    pub(crate) fn warden_defaults(&self) -> Table {
        let host_paths = [
            self.data_dir.join("dea"),
            self.data_dir.join("stager"),
            self.buildpacks_dir(),
            self.stacks_dir(),
            self.service_node_dir(),
        ];
        table([
            ("data_dir", text(&self.data_dir)),
            ("socket", text(&self.warden_socket())),
            ("socket_owner", self.user.clone().into()),
            ("host_paths", host_paths.iter().map(|path| text(path)).collect::<Vec<_>>().into()),
            ("network", table([("pool", self.container_network.clone().into())]).into()),
        ])
    }

    pub(crate) fn controller_defaults(&self) -> Table {
        let mut defaults = table([
            ("data_dir", text(&self.data_dir.join("controller"))),
            ("listen", self.api_address().to_string().into()),
            ("domain", self.domain.clone().into()),
            ("default_stack", self.default_stack.clone().into()),
            ("admin_password_file", text(&self.admin_password_file())),
        ]);
        self.tell_address(&mut defaults, "advertise_host", Value::String);
        self.tell_status(&mut defaults, 9082);
        defaults
    }

    pub(crate) fn router_defaults(&self) -> Table {
        let mut defaults = table([
            ("data_dir", text(&self.data_dir.join("router"))),
            ("listen", SocketAddr::new(self.listen, self.router_port).to_string().into()),
        ]);
        self.tell_address(&mut defaults, "advertised_hosts", |address| vec![address].into());
        self.tell_status(&mut defaults, 9081);
        defaults
    }

    pub(crate) fn dea_defaults(&self) -> Table {
        let files = table([
            ("domain", self.domain.clone().into()),
            ("url_port", Value::Integer(self.router_port.into())),
        ]);
        let mut defaults = table([
            ("data_dir", text(&self.data_dir)),
            ("warden_socket", text(&self.warden_socket())),
            ("files", files.into()),
        ]);
        self.tell_address(&mut defaults, "host", Value::String);
        self.tell_status(&mut defaults, 9083);
        defaults
    }

    fn tell_address(&self, table: &mut Table, key: &str, value: impl FnOnce(String) -> Value) {
        if let Some(address) = self.reachable_address() {
            table.insert(key.to_owned(), value(address.to_string()));
        }
    }

    pub(crate) fn service_gateway_defaults(&self) -> Table {
        let mut defaults = table([("data_dir", text(&self.data_dir.join("service-gateway")))]);
        // Controllers come here, from other hosts when there are several.
        self.tell_address(&mut defaults, "listen", |address| format!("{address}:{GATEWAY_PORT}").into());
        self.tell_status(&mut defaults, 9087);
        defaults
    }

    pub(crate) fn service_node_defaults(&self) -> Table {
        let mut defaults = table([
            ("data_dir", text(&self.service_node_dir())),
            ("stacks_dir", text(&self.stacks_dir())),
            ("warden_socket", text(&self.warden_socket())),
        ]);
        self.tell_address(&mut defaults, "advertise_host", Value::String);
        self.tell_status(&mut defaults, 9086);
        defaults
    }

    /// On several hosts status pages are read from others, through firewalls: each role has its port. On one machine
    /// alone any free port of the loopback does.
    fn tell_status(&self, table: &mut Table, port: u16) {
        if let Some(address) = self.reachable_address() {
            let mut status = Table::new();
            status.insert("listen".to_owned(), SocketAddr::new(address, port).to_string().into());
            table.insert("status".to_owned(), status.into());
        }
    }

    pub(crate) fn stager_defaults(&self) -> Table {
        let mut defaults = table([
            ("data_dir", text(&self.data_dir.join("stager"))),
            ("stacks_dir", text(&self.stacks_dir())),
            ("warden_socket", text(&self.warden_socket())),
            ("buildpacks_dir", text(&self.buildpacks_dir())),
        ]);
        self.tell_status(&mut defaults, 9084);
        defaults
    }

    pub(crate) fn health_manager_defaults(&self) -> Table {
        let mut defaults = Table::new();
        self.tell_status(&mut defaults, 9085);
        defaults
    }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn text(path: &Path) -> Value {
    Value::String(path.to_string_lossy().into_owned())
}

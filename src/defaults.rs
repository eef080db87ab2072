//! What follows from the data directory, the domain and the ports: where things lie, and what each section
//! of the configuration says when the file does not.

use crate::config::Platform;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use toml::{Table, Value};

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

    fn api_address(&self) -> SocketAddr {
        SocketAddr::new(self.listen, self.api_port)
    }

    pub(crate) fn warden_defaults(&self) -> Table {
        let host_paths = [
            self.data_dir.join("dea"),
            self.data_dir.join("stager"),
            self.buildpacks_dir(),
            self.stacks_dir(),
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
        table([
            ("data_dir", text(&self.data_dir.join("controller"))),
            ("listen", self.api_address().to_string().into()),
            ("domain", self.domain.clone().into()),
            ("default_stack", self.default_stack.clone().into()),
            ("admin_password_file", text(&self.admin_password_file())),
        ])
    }

    pub(crate) fn router_defaults(&self) -> Table {
        table([
            ("data_dir", text(&self.data_dir.join("router"))),
            ("listen", SocketAddr::new(self.listen, self.router_port).to_string().into()),
        ])
    }

    pub(crate) fn dea_defaults(&self) -> Table {
        let files = table([
            ("domain", self.domain.clone().into()),
            ("url_port", Value::Integer(self.router_port.into())),
        ]);
        table([
            ("data_dir", text(&self.data_dir)),
            ("warden_socket", text(&self.warden_socket())),
            ("files", files.into()),
        ])
    }

    pub(crate) fn stager_defaults(&self) -> Table {
        table([
            ("data_dir", text(&self.data_dir.join("stager"))),
            ("stacks_dir", text(&self.stacks_dir())),
            ("warden_socket", text(&self.warden_socket())),
            ("buildpacks_dir", text(&self.buildpacks_dir())),
        ])
    }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn text(path: &Path) -> Value {
    Value::String(path.to_string_lossy().into_owned())
}

//! What must hold before the platform comes up: each failure says what to do, and nothing has been touched.

use crate::config::Config;
use anyhow::{Context, Result, bail};
use nix::unistd::{User, geteuid};
use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

/// Longest path of a unix socket: `sun_path` of unix(7) without its final NUL.
const LONGEST_SOCKET: usize = 107;

/// What was found.
pub(crate) struct Ready {
    /// The user that every role but warden runs as.
    pub user: User,
    /// nats-server, when `up` has to start one.
    pub nats_server: Option<PathBuf>,
    /// The daemon's executable.
    pub warden: PathBuf,
}

/// Checks everything.
pub(crate) fn check(config: &Config) -> Result<Ready> {
    if !geteuid().is_root() {
        bail!("`cupola up` starts warden, which makes containers: run it as root (sudo cupola up)");
    }
    let platform = &config.platform;
    let user = user(&platform.user)?;
    let socket = platform.warden_socket();
    if socket.as_os_str().len() > LONGEST_SOCKET {
        bail!(
            "{} is too long for a unix socket ({LONGEST_SOCKET} bytes): give a shorter --data-dir",
            socket.display()
        );
    }
    let warden = beside_ourselves("warden")?;
    for (program, package) in [("nft", "nftables"), ("mkfs.ext4", "e2fsprogs")] {
        require(program, package)?;
    }
    let nats_server = config.owns_bus().then(|| require("nats-server", "nats-server")).transpose()?;
    port_is_free(platform.listen, platform.router_port, "router", "--router-port")?;
    port_is_free(platform.listen, platform.api_port, "API", "--api-port")?;
    let gateway = config.service_gateway.listen;
    port_is_free(gateway.ip(), gateway.port(), "service gateway", "listen in [service_gateway]")?;
    if nats_server.is_some() {
        port_is_free(Ipv4Addr::LOCALHOST.into(), platform.nats_port, "NATS server", "--nats-port")?;
    }
    stack_exists(config)?;
    Ok(Ready { user, nats_server, warden })
}

/// The user that the roles run as.
pub(crate) fn user(name: &str) -> Result<User> {
    let user = User::from_name(name).with_context(|| format!("cannot look user {name} up"))?;
    let Some(user) = user else {
        bail!(
            "user {name} does not exist; make it with `useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin {name}`"
        )
    };
    if user.uid.is_root() {
        bail!("user = \"{name}\" is root: the roles must run as somebody without privilege");
    }
    Ok(user)
}

fn stack_exists(config: &Config) -> Result<()> {
    let platform = &config.platform;
    let name = &platform.default_stack;
    let directory = platform.stacks_dir();
    let store = rootfs::Store::open(&directory)
        .with_context(|| format!("cannot open the stacks in {}", directory.display()))?;
    match store.find(name) {
        Ok(_) => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!(
                "stack {name} is not in {}; build it with `cupola stack build {name} --data-dir {}` (about a minute)",
                directory.display(),
                platform.data_dir.display()
            )
        }),
    }
}

fn port_is_free(address: IpAddr, port: u16, what: &str, flag: &str) -> Result<()> {
    match TcpListener::bind((address, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            bail!(
                "port {port} of {address}, for the {what}, is taken: end what uses it (`ss -ltnp 'sport = :{port}'` shows it), or choose another with {flag}"
            )
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot listen on {address} port {port} for the {what}"))
        }
    }
}

fn require(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Root's shells do not always look into the system directories.
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/usr/local/bin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
        .with_context(|| format!("{program} is not installed; get it with `apt-get install {package}`"))
}

/// An executable that is installed, or was built, beside this one.
pub(crate) fn beside_ourselves(program: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this executable is")?;
    let path = own.parent().unwrap_or(Path::new("/")).join(program);
    if !path.is_file() {
        bail!(
            "{} is missing: it is installed beside {}; `make build` makes both",
            path.display(),
            own.display()
        );
    }
    Ok(path)
}

//! The platform's configuration: one TOML file, one section per component, each section that crate's own
//! `Config`. What the file leaves out follows from the data directory, the domain and the ports.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};
use toml::{Table, Value};

/// Where the configuration is looked for when nobody says otherwise.
pub(crate) const DEFAULT_FILE: &str = "/etc/cupola/cupola.toml";

/// The keys outside of the sections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Platform {
    /// Where everything that lasts is kept.
    pub data_dir: PathBuf,
    /// User that every role but warden runs as.
    pub user: String,
    /// Domain under which apps get their routes; the API is `api.<domain>`.
    pub domain: String,
    /// Address that the router and the API listen on. Loopback until somebody decides otherwise: this
    /// platform speaks plain HTTP, and TLS ends at what stands before it.
    pub listen: IpAddr,
    /// Address under which the other hosts of the platform reach this one. Without it, that of `listen`, when that
    /// is one that others can reach. One machine alone needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Port of the router.
    pub router_port: u16,
    /// Port of the API.
    pub api_port: u16,
    /// Port of the nats-server that `up` starts.
    pub nats_port: u16,
    /// The stack that apps get when they name none.
    pub default_stack: String,
    /// Addresses for containers, as a CIDR network; each container takes a /30 of it.
    pub container_network: String,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            data_dir: "/var/lib/cupola".into(),
            user: "cupola".into(),
            domain: "cupola.localhost".into(),
            listen: Ipv4Addr::LOCALHOST.into(),
            address: None,
            router_port: 8080,
            api_port: 8081,
            nats_port: 4222,
            default_stack: rootfs::DEFAULT_STACK.into(),
            container_network: "10.254.0.0/16".into(),
        }
    }
}

/// The whole configuration, every default filled in.
#[derive(Debug, Serialize)]
pub(crate) struct Config {
    #[serde(flatten)]
    pub platform: Platform,
    pub bus: cupola_bus::Config,
    /// Warden reads its section itself: it is a process of its own.
    pub warden: Table,
    pub controller: controller::Config,
    pub router: router::Config,
    pub dea: dea::Config,
    pub stager: stager::Config,
    pub health_manager: health_manager::Config,
    pub service_gateway: services::gateway::Config,
    pub service_node: services::node::Config,
}

/// What the command line says over the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Overrides {
    /// Configuration file [default: /etc/cupola/cupola.toml where it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything that lasts is kept [default: /var/lib/cupola]
    #[arg(long, value_name = "DIR", env = "CUPOLA_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Domain of the apps [default: cupola.localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<IpAddr>,
    /// Port of the router [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub router_port: Option<u16>,
    /// Port of the API [default: 8081]
    #[arg(long, value_name = "PORT")]
    pub api_port: Option<u16>,
    /// Port of the platform's own NATS server [default: 4222]
    #[arg(long, value_name = "PORT")]
    pub nats_port: Option<u16>,
    /// Use this NATS server instead of starting one
    #[arg(long, value_name = "nats://HOST:PORT")]
    pub nats: Option<String>,
}

impl Config {
    /// Reads the file, lays the command line over it, and derives the rest.
    pub(crate) fn load(overrides: &Overrides) -> Result<Self> {
        let file = match &overrides.config {
            Some(path) => read(path)?,
            None if Path::new(DEFAULT_FILE).exists() => read(Path::new(DEFAULT_FILE))?,
            None => Table::new(),
        };
        Self::build(file, overrides)
    }

    fn build(mut file: Table, overrides: &Overrides) -> Result<Self> {
        let mut section = |name: &str| match file.remove(name) {
            None => Ok(Table::new()),
            Some(Value::Table(table)) => Ok(table),
            Some(_) => bail!("[{name}] in the configuration is not a section"),
        };
        let (bus, warden, controller) = (section("bus")?, section("warden")?, section("controller")?);
        let (router, dea, stager) = (section("router")?, section("dea")?, section("stager")?);
        let health_manager = section("health_manager")?;
        let (service_gateway, service_node) = (section("service_gateway")?, section("service_node")?);
        let mut platform: Platform = Value::Table(file)
            .try_into()
            .context("the configuration has a wrong or unknown key outside of its sections")?;
        apply(overrides, &mut platform);
        let p = &platform;
        if !p.data_dir.is_absolute() {
            bail!("the data directory {} is not an absolute path", p.data_dir.display());
        }
        let own_bus = overrides.nats.is_none() && !bus.contains_key("servers");
        let mut bus_defaults = Table::new();
        let servers = overrides.nats.clone().unwrap_or_else(|| format!("nats://127.0.0.1:{}", p.nats_port));
        set(&mut bus_defaults, "servers", vec![servers]);
        if own_bus {
            set(&mut bus_defaults, "user", "cupola");
            set(&mut bus_defaults, "password_file", path(&p.nats_password_file()));
        }
        Ok(Self {
            bus: merged("bus", bus_defaults, bus)?,
            warden: laid_over(p.warden_defaults(), warden),
            controller: merged("controller", p.controller_defaults(), controller)?,
            router: merged("router", p.router_defaults(), router)?,
            dea: merged("dea", p.dea_defaults(), dea)?,
            stager: merged("stager", p.stager_defaults(), stager)?,
            health_manager: merged("health_manager", p.health_manager_defaults(), health_manager)?,
            service_gateway: merged("service_gateway", p.service_gateway_defaults(), service_gateway)?,
            service_node: merged("service_node", p.service_node_defaults(), service_node)?,
            platform,
        })
    }

    /// Whether `up` has to start a nats-server: nobody named another.
    pub(crate) fn owns_bus(&self) -> bool {
        self.bus.password_file.as_deref() == Some(&self.platform.nats_password_file())
    }
}

fn apply(overrides: &Overrides, platform: &mut Platform) {
    let o = overrides.clone();
    platform.data_dir = o.data_dir.unwrap_or(std::mem::take(&mut platform.data_dir));
    platform.domain = o.domain.unwrap_or(std::mem::take(&mut platform.domain));
    platform.listen = o.listen.unwrap_or(platform.listen);
    platform.router_port = o.router_port.unwrap_or(platform.router_port);
    platform.api_port = o.api_port.unwrap_or(platform.api_port);
    platform.nats_port = o.nats_port.unwrap_or(platform.nats_port);
}

fn read(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    text.parse().with_context(|| format!("the configuration {} is not TOML", path.display()))
}

/// A section: what the file says wins over what follows from the platform's keys.
fn merged<T: for<'de> Deserialize<'de>>(name: &str, defaults: Table, file: Table) -> Result<T> {
    Value::Table(laid_over(defaults, file))
        .try_into()
        .with_context(|| format!("[{name}] in the configuration has a wrong or unknown key"))
}

/// Tables key by key, inner tables too.
fn laid_over(mut below: Table, above: Table) -> Table {
    for (key, value) in above {
        let value = match (below.remove(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => Value::Table(laid_over(inner, over)),
            (_, value) => value,
        };
        below.insert(key, value);
    }
    below
}

fn set(table: &mut Table, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// `cupola config`: the whole configuration as it would be used.
pub(crate) fn print(config: Option<&Path>, data_dir: Option<&Path>) -> Result<()> {
    let overrides = Overrides {
        config: config.map(Path::to_owned),
        data_dir: data_dir.map(Path::to_owned),
        ..Overrides::default()
    };
    let config = Config::load(&overrides)?;
    print!("{}", toml::to_string_pretty(&config).context("cannot write the configuration as TOML")?);
    Ok(())
}

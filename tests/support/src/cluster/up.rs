//! The whole: brought up, found again, ended.

use super::{
    cleanup, database,
    developer::Developer,
    files::{self, Secrets, Sources},
    host::Host,
    network,
    plan::PLAN,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Programs that every host has in `/usr/local/bin`.
const PROGRAMS: [&str; 5] = ["cupola", "warden", "warden-init", "cluster", "s3-server"];
/// How long the platform may take from the last boot to the first answer of its API.
const UP_LIMIT: Duration = Duration::from_secs(60);

/// A running cluster, or the directory of one.
#[derive(Debug)]
pub struct Cluster {
    directory: PathBuf,
    hosts: Vec<Host>,
}

impl Cluster {
    /// The cluster that lives in `directory`, whether it runs or not.
    pub fn at(directory: &Path) -> Self {
        let host = |machine| Host { machine, directory: directory.join("hosts").join(machine_name(machine)) };
        Self { directory: directory.to_owned(), hosts: PLAN.iter().map(host).collect() }
    }

    /// Makes every host and boots it. `programs` is where our programs were built, `stacks` where the stacks are, and
    /// `examples` is `docs/examples/cluster`.
    ///
    /// # Errors
    /// When a cluster is there already, or a host does not come up. What was made stays, for [`Cluster::down`].
    pub fn up(directory: &Path, programs: &Path, stacks: &Path, examples: &Path) -> Result<Self> {
        let left = network::namespaces()?;
        ensure!(
            left.is_empty(),
            "a cluster is on this machine already ({}): end it with `make stop`",
            left.join(", ")
        );
        let cluster = Self::at(directory);
        fs::create_dir_all(directory.join("bin"))?;
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
        for program in PROGRAMS {
            let from = programs.join(program);
            fs::copy(&from, directory.join("bin").join(program))
                .with_context(|| format!("cannot copy {}: run `make build`", from.display()))?;
        }
        network::make_switch()?;
        let sources = Sources { examples: examples.to_owned(), stacks: stacks.to_owned() };
        let secrets = Secrets::generate();
        for host in &cluster.hosts {
            let began = Instant::now();
            files::make_disk(host.machine, &host.directory, &sources, &secrets)
                .with_context(|| format!("cannot make the disk of {}", host.name()))?;
            host.switch_on()?;
            if host.machine.units.contains(&database::UNIT) {
                database::make(host)?;
            }
            host.start_all()?;
            if host.machine.units.contains(&database::UNIT) {
                database::add_user(host, &secrets.database)?;
            }
            say_booted(host, began);
        }
        cluster.wait_up()?;
        Ok(cluster)
    }

    /// Waits for the API, and logs the developer in.
    fn wait_up(&self) -> Result<()> {
        let developer = self.developer()?;
        let deadline = Instant::now() + UP_LIMIT;
        loop {
            match self.admin_password().and_then(|password| developer.login(&password)) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error.context("the API does not answer"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Password of the first user, which the first controller made.
    pub fn admin_password(&self) -> Result<String> {
        let path = "lib/cupola/secrets/admin-password";
        let found = self.hosts.iter().find_map(|host| fs::read_to_string(host.directory.join(path)).ok());
        found.context("no controller has made the first user yet")
    }

    /// A host, by its name.
    ///
    /// # Errors
    /// When there is none of this name; the message lists those that there are.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let Some(host) = self.hosts.iter().find(|host| host.name() == name) else {
            let names: Vec<_> = self.hosts.iter().map(Host::name).collect();
            bail!("there is no host {name}; there are {}", names.join(", "))
        };
        Ok(host)
    }

    /// Every host.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Somebody who pushes apps.
    pub(crate) fn developer(&self) -> Result<Developer> {
        Developer::new(&self.directory)
    }

    /// Ends every host and removes all that was made. There need not be anything.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn down(&self) -> Result<()> {
        cleanup::everything(&self.directory, &self.hosts)
    }

    /// A line for each host: its address, whether it is on, and what runs on it.
    pub fn status(&self) -> String {
        let mut text = String::new();
        for host in &self.hosts {
            let said = host.ask("status").unwrap_or_else(|_| "off".to_owned());
            let said = said.replace(".service", "").replace('\n', ", ");
            text.push_str(&format!("{:<11} {:<12} {said}\n", host.name(), host.machine.address));
        }
        text
    }

    /// The last lines of every log, for failures.
    pub fn log_tails(&self, lines: usize) -> String {
        let mut text = String::new();
        for host in &self.hosts {
            for unit in host.machine.units {
                let path = host.log(unit);
                let all = fs::read_to_string(&path).unwrap_or_default();
                let all: Vec<&str> = all.lines().collect();
                let tail = all[all.len().saturating_sub(lines)..].join("\n");
                text.push_str(&format!("--- {} {unit}\n{tail}\n", host.name()));
            }
        }
        text
    }
}

fn machine_name(machine: &super::plan::Machine) -> &'static str {
    machine.name
}

fn say_booted(host: &Host, began: Instant) {
    let roles = host.machine.units.iter().map(|unit| unit.trim_end_matches(".service"));
    println!(
        "{:<11} {:<12} {:>5.2} s  {}",
        host.name(),
        host.machine.address,
        began.elapsed().as_secs_f64(),
        roles.collect::<Vec<_>>().join(", ")
    );
}

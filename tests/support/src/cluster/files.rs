//! What is on a host's disk before its first boot: the files of `docs/examples/cluster` in their places, with the
//! host's own name and address on the lines that say `this host`, and the secrets.

use super::plan::{Machine, PLAN};
use anyhow::{Context, Result, ensure};
use nix::unistd::{Gid, Uid, User, chown};
use rand::RngExt;
use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write,
    net::Ipv4Addr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

/// Mark of the lines that differ between hosts.
const OWN_LINE: &str = "# this host";

/// Passwords, made for each cluster.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    nats: String,
    route: String,
    /// Of the controllers at the database.
    pub database: String,
    blobs: String,
}

impl Secrets {
    pub(crate) fn generate() -> Self {
        Self { nats: password(), route: password(), database: password(), blobs: password() }
    }
}

fn password() -> String {
    const ALPHABET: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut random = rand::rng();
    (0..32).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// Where things come from.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    /// `docs/examples/cluster`.
    pub examples: PathBuf,
    /// Stacks that are built already.
    pub stacks: PathBuf,
}

/// Makes a host's disk.
pub(crate) fn make_disk(
    machine: &Machine,
    directory: &Path,
    sources: &Sources,
    secrets: &Secrets,
) -> Result<()> {
    let disk = Disk { machine, directory, sources };
    for folder in ["lib", "log"] {
        fs::create_dir_all(directory.join(folder))?;
    }
    let copied = Command::new("cp").args(["-a", "/etc"]).arg(directory.join("etc")).status()?;
    ensure!(copied.success(), "cannot copy /etc");
    // What this machine itself has set up is not the host's.
    for folder in ["cupola", "postgresql"] {
        let _ = fs::remove_dir_all(directory.join("etc").join(folder));
    }
    disk.write("etc/hostname", &format!("{}\n", machine.name), None)?;
    let mut hosts = "127.0.0.1 localhost\n".to_owned();
    PLAN.iter().for_each(|other| hosts.push_str(&format!("{} {}\n", other.address, other.name)));
    disk.write("etc/hosts", &hosts, None)?;
    disk.place("cupola@.service", "etc/systemd/system/cupola@.service", None)?;
    disk.place("cupola-warden.service", "etc/systemd/system/cupola-warden.service", None)?;
    if machine.units.contains(&"nats-server.service") {
        disk.nats(secrets)?;
    }
    if machine.units.contains(&super::database::UNIT) {
        disk.data(secrets)?;
    }
    if machine.units.contains(&"haproxy.service") {
        disk.place("haproxy.cfg", "etc/haproxy/haproxy.cfg", None)?;
        disk.folder("lib/haproxy", None)?;
    }
    if let Some(config) = machine.config {
        disk.cupola(config, secrets)?;
    }
    Ok(())
}

struct Disk<'a> {
    machine: &'a Machine,
    directory: &'a Path,
    sources: &'a Sources,
}

impl Disk<'_> {
    fn nats(&self, secrets: &Secrets) -> Result<()> {
        self.place("nats-server.conf", "etc/nats-server.conf", None)?;
        let user = user("nats")?;
        self.folder("lib/nats", Some(&user))?;
        let servers = PLAN.iter().filter(|other| other.units == self.machine.units);
        let route = |address: Ipv4Addr| format!("\"nats-route://route:{}@{address}:6222\"", secrets.route);
        let routes: Vec<String> = servers.map(|server| route(server.address)).collect();
        let text = format!(
            "NATS_PASSWORD: \"{}\"\nNATS_ROUTE_PASSWORD: \"{}\"\nNATS_ROUTES: [{}]\n",
            secrets.nats,
            secrets.route,
            routes.join(", ")
        );
        self.write("etc/nats-secrets.conf", &text, Some(&user))
    }

    /// The database's files, and the store of blobs: a small server of the tests, in the place of any S3-compatible one.
    fn data(&self, secrets: &Secrets) -> Result<()> {
        self.place("postgresql.conf", "etc/cupola/postgresql.conf", None)?;
        self.place("pg_hba.conf", "etc/cupola/pg_hba.conf", None)?;
        let unit = "[Service]\nExecStart=/usr/bin/pg_ctlcluster 15 main start --foreground\nRestartSec=1\n";
        self.write("etc/systemd/system/postgresql.service", unit, None)?;
        self.folder("lib/postgresql", Some(&user("postgres")?))?;
        self.folder("lib/blobs", Some(&user("cupola")?))?;
        let unit = format!(
            "[Service]\nUser=cupola\nEnvironmentFile=/etc/blobs.env\nRestartSec=1\n\
             ExecStart=/usr/local/bin/s3-server --listen {}:9000 --bucket cupola /var/lib/blobs\n",
            self.machine.address
        );
        self.write("etc/systemd/system/blobs.service", &unit, None)?;
        let text = format!("AWS_ACCESS_KEY_ID=cupola\nAWS_SECRET_ACCESS_KEY={}\n", secrets.blobs);
        self.write("etc/blobs.env", &text, Some(&user("root")?))
    }

    fn cupola(&self, config: &str, secrets: &Secrets) -> Result<()> {
        let mut text = self.example(config)?;
        if self.machine.has_warden() {
            text = self.share_kernel(&text);
            share_stacks(&self.sources.stacks, &self.directory.join("lib/cupola/stacks"))?;
        }
        self.write("etc/cupola/cupola.toml", &text, None)?;
        let cupola = user("cupola")?;
        if self.machine.units.contains(&"cupola@controller.service") {
            self.write("etc/cupola/database-password", &secrets.database, Some(&cupola))?;
            let text =
                format!("[default]\naws_access_key_id = cupola\naws_secret_access_key = {}\n", secrets.blobs);
            self.write("etc/cupola/blobs-credentials", &text, Some(&cupola))?;
        }
        self.write("etc/cupola/nats-password", &secrets.nats, Some(&cupola))
    }

    /// What real hosts need not say: here all wardens share one kernel, and with it the cgroups and the user ids.
    fn share_kernel(&self, text: &str) -> String {
        let (number, per_host) = (self.machine.number() as u32, 256);
        let start = 1_000_000 + number * per_host * 65_536;
        let own = format!(
            "[warden]\ninstance = \"{}\"\nuids = {{ start = {start}, count = {per_host} }}\n\n[warden.network]\n",
            self.machine.instance()
        );
        text.replace("[warden.network]\n", &own)
    }

    /// A file of the examples, as it is on this host.
    fn example(&self, name: &str) -> Result<String> {
        let path = self.sources.examples.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let example = self.machine.example();
        let own = |line: &str| {
            line.replace(&example.address.to_string(), &self.machine.address.to_string())
                .replace(example.name, self.machine.name)
        };
        let lines =
            text.lines().map(|line| if line.ends_with(OWN_LINE) { own(line) } else { line.to_owned() });
        Ok(lines.collect::<Vec<_>>().join("\n") + "\n")
    }

    fn place(&self, name: &str, target: &str, owner: Option<&User>) -> Result<()> {
        self.write(target, &self.example(name)?, owner)
    }

    /// Writes a file. One with an owner is a secret.
    fn write(&self, path: &str, text: &str, owner: Option<&User>) -> Result<()> {
        let path = self.directory.join(path);
        let failed = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(failed)?;
        }
        let _ = fs::remove_file(&path);
        let mode = if owner.is_some() { 0o400 } else { 0o644 };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).with_context(failed)?;
        file.write_all(text.as_bytes()).with_context(failed)?;
        owner.map_or(Ok(()), |user| own(&path, user))
    }

    fn folder(&self, path: &str, owner: Option<&User>) -> Result<()> {
        let path = self.directory.join(path);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        owner.map_or(Ok(()), |user| own(&path, user))
    }
}

fn user(name: &str) -> Result<User> {
    User::from_name(name)?.with_context(|| format!("there is no user {name} on this machine"))
}

fn own(path: &Path, user: &User) -> Result<()> {
    let (uid, gid): (Uid, Gid) = (user.uid, user.gid);
    chown(path, Some(uid), Some(gid)).with_context(|| format!("cannot give {} away", path.display()))
}

/// Gives a host the stacks, by hard links where they go: a real host would build them, or get a copy.
pub(crate) fn share_stacks(stacks: &Path, target: &Path) -> Result<()> {
    ensure!(stacks.is_dir(), "there are no stacks in {}: run `make stacks`", stacks.display());
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(stacks)? {
        let from = entry?.path();
        let to = target.join(from.file_name().context("an entry has a name")?);
        if from.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
        } else if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

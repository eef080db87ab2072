//! What can be set.

use crate::{Error, services::ServicesConfig};
use cupola_protocol::Mebibytes;
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use url::Url;

/// What can be set. Every key has a default; unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which one of its kind, for `vcap.component.*`.
    pub index: u32,
    /// Where the API listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where rows, blobs and secrets live.
    pub data_dir: PathBuf,
    /// Database of the rows: `postgres://user@host/name`, or with a socket `postgres://user@%2Frun%2Fpostgresql/name`;
    /// without it, SQLite in the file `<data_dir>/controller.db`. Several controllers share one on PostgreSQL.
    pub database: Option<Url>,
    /// File that holds the password for the database, so that it need not stand here.
    pub database_password_file: Option<PathBuf>,
    /// Connections to the database at most; PostgreSQL gets as many again for locks.
    pub database_connections: u32,
    /// Seconds that a request waits for a connection to the database until it is answered with 503.
    pub database_wait_seconds: u64,
    /// Seconds that one statement may take on PostgreSQL.
    pub database_statement_seconds: u64,
    /// Seconds that a start waits for a database that is away, until it fails.
    pub database_start_seconds: u64,
    /// Store of the blobs: `s3://bucket/folder?endpoint=https://host&region=name`; without it, the directory
    /// `<data_dir>/blobs`. Several controllers need a store that all of them reach.
    pub blobs: Option<Url>,
    /// File with the store's credentials, as AWS writes them: `aws_access_key_id = …`, `aws_secret_access_key = …`;
    /// without it, the environment's `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    pub blobs_credentials_file: Option<PathBuf>,
    /// Seconds that a request to the store may take, tries included, until it is answered with 503.
    pub blobs_wait_seconds: u64,
    /// Seconds after which what a controller works at belongs to nobody, when it says nothing.
    pub lease_seconds: u64,
    /// Seconds that a request waits for another that changes the same app.
    pub lock_wait_seconds: u64,
    /// Domain of the platform: the API answers as `api.<domain>`, apps get routes under it.
    pub domain: String,
    /// Base of the links in answers; without it, the address that the client used.
    pub external_url: Option<Url>,
    /// Base of the addresses that nodes fetch packages and droplets from; without it, `http://<listen>`.
    pub internal_url: Option<Url>,
    /// Address under which routers reach the API; without it, that of `listen`, or 127.0.0.1 for any address.
    pub advertise_host: Option<IpAddr>,
    /// Name of the first administrator.
    pub admin_user: String,
    /// File that gets the generated password of the first administrator, mode 0600; without it,
    /// `<data_dir>/admin-password`.
    pub admin_password_file: Option<PathBuf>,
    /// Organization that is made at the first start.
    pub organization: String,
    /// Space that is made at the first start.
    pub space: String,
    /// Stack of apps that do not choose one.
    pub default_stack: String,
    /// Memory of an instance that does not choose, in MiB.
    pub default_memory_mb: Mebibytes,
    /// Disk of an instance that does not choose, in MiB.
    pub default_disk_mb: Mebibytes,
    /// The most disk that an instance may ask for, in MiB.
    pub max_disk_mb: Mebibytes,
    /// The most instances that an app may ask for.
    pub max_instances: u32,
    /// The most that a health check may wait for, in seconds.
    pub max_health_check_timeout_seconds: u64,
    /// What it waits for when the app does not choose, in seconds.
    pub default_health_check_timeout_seconds: u64,
    /// Open files per process of an instance.
    pub fds: u64,
    /// Least memory of a staging container, in MiB; an app that has more gets more.
    pub staging_memory_mb: Mebibytes,
    /// Least disk of a staging container, in MiB; an app that has more gets more.
    pub staging_disk_mb: Mebibytes,
    /// Seconds until a staging is given up.
    pub staging_timeout_seconds: u64,
    /// Seconds until a stager must have taken a staging.
    pub stager_answer_seconds: u64,
    /// Seconds to wait for a stager or a node when none is known: for the first moments of a platform.
    pub node_wait_seconds: u64,
    /// Stagers and nodes that are tried before a staging or a start fails.
    pub tries: u32,
    /// Seconds until a node must have acknowledged a start.
    pub start_answer_seconds: u64,
    /// Seconds for which an advertisement counts.
    pub advertisement_timeout_seconds: u64,
    /// Milliseconds to wait for nodes that may hold instances which were not found yet.
    pub find_timeout_ms: u64,
    /// Seconds for which a node may be silent while it gives a file of an instance; more than `dea.files`
    /// lets a followed file be.
    pub files_timeout_seconds: u64,
    /// The largest upload of a package, in bytes.
    pub max_package_bytes: u64,
    /// The most that a package may unpack to, in bytes.
    pub max_unpacked_bytes: u64,
    /// The most entries of a package.
    pub max_package_entries: usize,
    /// The largest droplet or buildpack cache, in bytes.
    pub max_droplet_bytes: u64,
    /// Files smaller than this are not remembered for later uploads, in bytes.
    pub resource_min_bytes: u64,
    /// Files larger than this are not remembered for later uploads, in bytes.
    pub resource_max_bytes: u64,
    /// Packages kept for each app.
    pub packages_kept: u32,
    /// Droplets kept for each app, the current one besides.
    pub droplets_kept: u32,
    /// The least characters of a password.
    pub password_min_length: usize,
    /// Seconds for which an access token is good.
    pub access_token_seconds: u64,
    /// Seconds for which a refresh token is good.
    pub refresh_token_seconds: u64,
    /// Seconds for which a signed address is good.
    pub signed_url_seconds: u64,
    /// Log lines kept for each app, in memory.
    pub log_lines: usize,
    /// Milliseconds that a reader of logs waits when there is nothing new.
    pub log_wait_ms: u64,
    /// Seconds between two registrations with the routers, until a router asks for another pace.
    pub register_seconds: u64,
    /// Seconds for which finished jobs can be asked for.
    pub job_seconds: u64,
    /// Seconds that open requests get at shutdown.
    pub shutdown_seconds: u64,
    /// Service brokers.
    pub services: ServicesConfig,
    /// The status page.
    pub status: cupola_status::Config,
}

impl Default for Config {
    /// Numbers without a remark are those of cloud_controller_ng.
    fn default() -> Self {
        Self {
            index: 0,
            // 9022 was cloud_controller_ng's external port.
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9022)),
            data_dir: PathBuf::from("/var/lib/cupola/controller"),
            database: None,
            database_password_file: None,
            database_connections: 8,
            database_wait_seconds: 3,
            database_statement_seconds: 10,
            database_start_seconds: 60,
            blobs: None,
            blobs_credentials_file: None,
            blobs_wait_seconds: 20,
            lease_seconds: 12,
            lock_wait_seconds: 60,
            domain: "cupola.localhost".to_owned(),
            external_url: None,
            internal_url: None,
            advertise_host: None,
            admin_user: "admin".to_owned(),
            admin_password_file: None,
            organization: "cupola".to_owned(),
            space: "dev".to_owned(),
            default_stack: "bookworm".to_owned(),
            // 256 as in the first years: a platform may live on one small machine.
            default_memory_mb: Mebibytes(256),
            default_disk_mb: Mebibytes(1024),
            max_disk_mb: Mebibytes(8192),
            max_instances: 1000,
            max_health_check_timeout_seconds: 180,
            default_health_check_timeout_seconds: 60,
            fds: 16384,
            staging_memory_mb: Mebibytes(1024),
            staging_disk_mb: Mebibytes(4096),
            staging_timeout_seconds: 900,
            stager_answer_seconds: 60,
            node_wait_seconds: 10,
            tries: 3,
            start_answer_seconds: 10,
            advertisement_timeout_seconds: 10,
            find_timeout_ms: 1000,
            files_timeout_seconds: 90,
            max_package_bytes: 1 << 30,
            max_unpacked_bytes: 4 << 30,
            max_package_entries: 200_000,
            max_droplet_bytes: 2 << 30,
            resource_min_bytes: 64 << 10,
            resource_max_bytes: 512 << 20,
            packages_kept: 5,
            droplets_kept: 5,
            // Of our own choice; NIST SP 800-63B asks for 8 at least.
            password_min_length: 8,
            access_token_seconds: 600,
            refresh_token_seconds: 30 * 24 * 3600,
            signed_url_seconds: 3600,
            log_lines: 1000,
            log_wait_ms: 500,
            register_seconds: 20,
            job_seconds: 3600,
            shutdown_seconds: 10,
            services: ServicesConfig::default(),
            status: cupola_status::Config::default(),
        }
    }
}

impl Config {
    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key and what it must be.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |key: &'static str, reason: &str| Err(Error::Config { key, reason: reason.to_owned() });
        if !is_domain(&self.domain) {
            return wrong("domain", "must be a domain name in lower case, such as cupola.localhost");
        }
        for (key, name) in [
            ("admin_user", &self.admin_user),
            ("organization", &self.organization),
            ("space", &self.space),
            ("default_stack", &self.default_stack),
        ] {
            if name.trim().is_empty() {
                return wrong(key, "must not be empty");
            }
        }
        if self.database.as_ref().is_some_and(|url| !matches!(url.scheme(), "postgres" | "postgresql")) {
            return wrong("database", "must be postgres://user@host/name; leave it out for SQLite");
        }
        if self.blobs.as_ref().is_some_and(|url| url.scheme() != "s3") {
            return wrong("blobs", "must be s3://bucket; leave it out for a directory");
        }
        for (key, number) in [
            ("database_connections", u64::from(self.database_connections)),
            ("database_wait_seconds", self.database_wait_seconds),
            ("database_statement_seconds", self.database_statement_seconds),
            ("blobs_wait_seconds", self.blobs_wait_seconds),
            ("lease_seconds", self.lease_seconds),
            ("lock_wait_seconds", self.lock_wait_seconds),
            ("default_memory_mb", self.default_memory_mb.0),
            ("default_disk_mb", self.default_disk_mb.0),
            ("staging_memory_mb", self.staging_memory_mb.0),
            ("staging_disk_mb", self.staging_disk_mb.0),
            ("staging_timeout_seconds", self.staging_timeout_seconds),
            ("stager_answer_seconds", self.stager_answer_seconds),
            ("start_answer_seconds", self.start_answer_seconds),
            ("advertisement_timeout_seconds", self.advertisement_timeout_seconds),
            ("files_timeout_seconds", self.files_timeout_seconds),
            ("max_package_bytes", self.max_package_bytes),
            ("max_unpacked_bytes", self.max_unpacked_bytes),
            ("max_droplet_bytes", self.max_droplet_bytes),
            ("access_token_seconds", self.access_token_seconds),
            ("refresh_token_seconds", self.refresh_token_seconds),
            ("signed_url_seconds", self.signed_url_seconds),
            ("register_seconds", self.register_seconds),
            ("tries", u64::from(self.tries)),
            ("packages_kept", u64::from(self.packages_kept)),
            ("max_instances", u64::from(self.max_instances)),
            ("log_lines", self.log_lines as u64),
            ("password_min_length", self.password_min_length as u64),
        ] {
            if number == 0 {
                return wrong(key, "must be more than 0");
            }
        }
        if let Some((key, reason)) = self.services.wrong() {
            return wrong(key, reason);
        }
        if self.default_disk_mb > self.max_disk_mb {
            return wrong("default_disk_mb", "must not be more than max_disk_mb");
        }
        Ok(())
    }

    pub(crate) fn admin_password_path(&self) -> PathBuf {
        self.admin_password_file.clone().unwrap_or_else(|| self.data_dir.join("admin-password"))
    }

    pub(crate) fn find_timeout(&self) -> Duration {
        Duration::from_millis(self.find_timeout_ms)
    }

    pub(crate) fn advertisement_timeout(&self) -> Duration {
        Duration::from_secs(self.advertisement_timeout_seconds)
    }
}

/// Whether a text is a domain name in lower case (RFC 1123).
pub(crate) fn is_domain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Whether a text is one label of a domain name in lower case.
pub(crate) fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_good_and_mistakes_are_named() {
        Config::default().validate().unwrap();
        let bad = Config { domain: "Not_A_Domain".to_owned(), ..Config::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("domain"));
        let bad = Config { tries: 0, ..Config::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("tries"));
        serde_json::from_str::<Config>(r#"{"listne": "127.0.0.1:1"}"#).unwrap_err();
    }
}

//! The section `[dea.files]`.

use crate::Error;
use cupola_protocol::Mebibytes;
use serde::{Deserialize, Serialize};

/// How the files of instances are served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Port of the server, on `dea.host` or the loopback; 0 takes a free one. Routers and controllers must reach it.
    pub port: u16,
    /// Domain of the platform: routers know the server as `<agent's id>.<domain>`.
    pub domain: String,
    /// Scheme of signed addresses: what users speak to the routers.
    pub url_scheme: String,
    /// Port of signed addresses, where the routers are not at the scheme's own.
    pub url_port: Option<u16>,
    /// How long a signed address is good, in seconds.
    pub url_seconds: u64,
    /// A followed file that does not grow for so long is no longer followed, in seconds.
    pub tail_idle_seconds: f64,
    /// How often a followed file is looked at, in seconds.
    pub tail_poll_seconds: f64,
    /// Files that are followed at a time.
    pub tails: u32,
    /// Reads in containers at a time; others wait for `wait_seconds`.
    pub reads: u32,
    /// How long a read may wait for its turn, and then for its container, in seconds.
    pub wait_seconds: f64,
    /// Bytes of each output of a process that can be read as `logs/stdout.log` and `logs/stderr.log`.
    pub output_bytes: u64,
    /// The most that is kept of the files in `logs/` of a crashed instance; of larger ones the end.
    pub crash_max_mb: Mebibytes,
    /// The most files in `logs/` that are kept of a crashed instance, the newest.
    pub crash_max_files: u32,
}

impl Default for Config {
    /// Numbers with a remark are dea_ng's.
    fn default() -> Self {
        Self {
            port: 0,
            domain: "cupola.localhost".to_owned(),
            url_scheme: "http".to_owned(),
            url_port: None,
            // dea_ng
            url_seconds: 3600,
            // dea_ng
            tail_idle_seconds: 60.0,
            tail_poll_seconds: 0.5,
            tails: 64,
            reads: 16,
            wait_seconds: 10.0,
            output_bytes: 64 << 10,
            crash_max_mb: Mebibytes(8),
            crash_max_files: 100,
        }
    }
}

impl Config {
    /// Refuses what cannot work.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let refuse = |key, problem: String| Err(Error::Config { key, problem });
        for (key, value) in [
            ("files.tail_idle_seconds", self.tail_idle_seconds),
            ("files.tail_poll_seconds", self.tail_poll_seconds),
            ("files.wait_seconds", self.wait_seconds),
        ] {
            if !(value > 0.0 && value <= 1e9) {
                return refuse(key, format!("{value} must be a number above 0"));
            }
        }
        for (key, value) in [
            ("files.url_seconds", self.url_seconds),
            ("files.tails", self.tails.into()),
            ("files.reads", self.reads.into()),
            ("files.output_bytes", self.output_bytes),
        ] {
            if value == 0 {
                return refuse(key, "must be at least 1".to_owned());
            }
        }
        if !matches!(self.url_scheme.as_str(), "http" | "https") {
            return refuse("files.url_scheme", format!("{:?} must be http or https", self.url_scheme));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        Config::default().validate().unwrap();
        for (key, bad) in [
            ("files.tails", Config { tails: 0, ..Config::default() }),
            ("files.tail_poll_seconds", Config { tail_poll_seconds: 0.0, ..Config::default() }),
            ("files.url_scheme", Config { url_scheme: "ftp".to_owned(), ..Config::default() }),
        ] {
            let Err(Error::Config { key: named, .. }) = bad.validate() else { panic!("{key} is taken") };
            assert_eq!(named, key);
        }
    }
}

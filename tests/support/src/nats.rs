//! A real nats-server for one test.

use crate::eventually_blocking;
use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// A nats-server with JetStream on a free port of the loopback, killed when dropped.
pub struct NatsServer {
    child: Child,
    url: String,
    directory: TempDir,
}

impl NatsServer {
    /// Starts one, and waits until it accepts clients. Panics if there is none: a test cannot go on without it.
    pub fn start() -> Self {
        let directory = TempDir::new().expect("make a directory for nats-server");
        let path = directory.path();
        let log = File::create(path.join("log")).expect("make the log of nats-server");
        let child = Command::new("nats-server")
            // Port -1: the server chooses a free one and says which in a file, so no two tests can race for it.
            .args(["--addr", "127.0.0.1", "--port", "-1", "--jetstream"])
            .arg("--ports_file_dir")
            .arg(path)
            .arg("--store_dir")
            .arg(path.join("jetstream"))
            .stdout(log.try_clone().expect("duplicate the log of nats-server"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("start nats-server (apt-get install nats-server)");
        let mut server = Self { child, url: String::new(), directory };
        server.url = eventually_blocking(Duration::from_secs(20), || server.read_url());
        server
    }

    /// Where clients connect: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    fn read_url(&self) -> Result<String> {
        let file = self.directory.path().join(format!("nats-server_{}.ports", self.child.id()));
        let text = fs::read_to_string(&file)
            .with_context(|| format!("nats-server has not said its port\n{}", self.log()))?;
        let ports: serde_json::Value =
            serde_json::from_str(&text).context("parse nats-server's ports file")?;
        Ok(ports["nats"][0].as_str().context("nats-server's ports file names no client port")?.to_owned())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Both fail only for a process that has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn it_accepts_clients_until_dropped() {
        let server = NatsServer::start();
        let address = server.url().strip_prefix("nats://").unwrap().to_owned();
        TcpStream::connect(&address).unwrap();
        drop(server);
        assert!(TcpStream::connect(&address).is_err());
    }
}

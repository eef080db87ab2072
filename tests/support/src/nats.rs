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
    jetstream: bool,
    directory: TempDir,
}

impl NatsServer {
    /// Starts one, and waits until it accepts clients. Panics if there is none: a test cannot go on without it.
    pub fn start() -> Self {
        Self::launch(true)
    }

    /// Starts one that has no JetStream.
    pub fn start_without_jetstream() -> Self {
        Self::launch(false)
    }

    fn launch(jetstream: bool) -> Self {
        let directory = TempDir::new().expect("make a directory for nats-server");
        // Port -1: the server chooses a free one and says which in a file, so no two tests can race for it.
        let child = spawn(&directory, "-1", jetstream);
        let mut server = Self { child, url: String::new(), jetstream, directory };
        server.url = eventually_blocking(Duration::from_secs(20), || server.read_url());
        server
    }

    /// Kills the server; what it has stored stays.
    pub fn kill(&mut self) {
        // Both fail only for a process that has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts a killed server again on its port, and waits until it accepts clients.
    pub fn start_again(&mut self) {
        let port = self.url.rsplit(':').next().expect("an address has a port").to_owned();
        self.child = spawn(&self.directory, &port, self.jetstream);
        eventually_blocking(Duration::from_secs(20), || self.read_url());
    }

    /// Deletes what a killed server has stored.
    pub fn forget(&self) {
        fs::remove_dir_all(self.directory.path().join("jetstream")).expect("delete the store of nats-server");
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
        self.kill();
    }
}

fn spawn(directory: &TempDir, port: &str, jetstream: bool) -> Child {
    let path = directory.path();
    let log = File::options().create(true).append(true).open(path.join("log"));
    let log = log.expect("make the log of nats-server");
    let mut command = Command::new("nats-server");
    command.args(["--addr", "127.0.0.1", "--port", port]).arg("--ports_file_dir").arg(path);
    if jetstream {
        command.arg("--jetstream").arg("--store_dir").arg(path.join("jetstream"));
    }
    command
        .stdout(log.try_clone().expect("duplicate the log of nats-server"))
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .expect("start nats-server (apt-get install nats-server)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_killed_one_comes_back_on_its_port() {
        let mut server = NatsServer::start();
        let address = server.url().strip_prefix("nats://").unwrap().to_owned();
        server.kill();
        assert!(TcpStream::connect(&address).is_err());
        server.start_again();
        TcpStream::connect(&address).unwrap();
    }

    #[test]
    fn it_accepts_clients_until_dropped() {
        let server = NatsServer::start();
        let address = server.url().strip_prefix("nats://").unwrap().to_owned();
        TcpStream::connect(&address).unwrap();
        drop(server);
        assert!(TcpStream::connect(&address).is_err());
    }
}

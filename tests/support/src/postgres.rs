//! A real PostgreSQL for one test.

use crate::eventually_blocking;
use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid, User, chown},
};
use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The password of its superuser `cupola`.
const PASSWORD: &str = "not: a/secret";

/// A PostgreSQL server on a free port of the loopback, with an empty database `cupola` of a user `cupola`, who needs
/// a password. Ended when dropped.
pub struct PostgresServer {
    programs: PathBuf,
    /// Whom it runs as when the test is root, which PostgreSQL refuses.
    user: Option<User>,
    port: u16,
    child: Option<Child>,
    directory: TempDir,
}

impl PostgresServer {
    /// Makes and starts one. Panics if that cannot be, and says what to install.
    pub fn start() -> Self {
        let programs = programs().expect("find PostgreSQL's programs");
        let user = Uid::effective().is_root().then(|| {
            ["postgres", "cupola", "nobody"]
                .into_iter()
                .find_map(|name| User::from_name(name).ok().flatten())
                .expect("an unprivileged user to run PostgreSQL as: postgres, cupola or nobody")
        });
        let directory = TempDir::new().expect("make a directory for PostgreSQL");
        let mut server = Self { programs, user, port: 0, child: None, directory };
        server.make().expect("make a database cluster");
        server.start_again();
        server
            .run("createdb", &["-h", "127.0.0.1", "-p", &server.port.to_string(), "-U", "cupola", "cupola"])
            .expect("make the database cupola");
        server
    }

    fn make(&mut self) -> Result<()> {
        let path = self.directory.path();
        fs::write(self.password_file(), PASSWORD)?;
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid))?;
            chown(&self.password_file(), Some(user.uid), Some(user.gid))?;
        }
        let (data, password) = (path.join("data"), self.password_file());
        let words =
            ["--no-sync", "--auth=scram-sha-256", "--username=cupola", "--encoding=UTF8", "--locale=C"];
        let mut arguments: Vec<&str> = words.to_vec();
        let (data, password) =
            (format!("--pgdata={}", data.display()), format!("--pwfile={}", password.display()));
        arguments.extend([data.as_str(), password.as_str()]);
        self.run("initdb", &arguments).map(drop)
    }

    /// Starts it after [`PostgresServer::stop`], on the same port and data.
    pub fn start_again(&mut self) {
        eventually_blocking(PATIENCE, || {
            // Another test may take a port between its choice and its use: then the next one is tried.
            if self.port == 0 {
                self.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            }
            self.launch()
        });
    }

    fn launch(&mut self) -> Result<()> {
        let path = self.directory.path();
        let log = File::options().append(true).create(true).open(path.join("log"))?;
        let mut child = self
            .command("postgres")
            .arg("-D")
            .arg(path.join("data"))
            .args(["-c", "listen_addresses=127.0.0.1", "-c", &format!("port={}", self.port)])
            .args(["-c", "fsync=off", "-c", &format!("unix_socket_directories={}", path.display())])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start postgres")?;
        let port = self.port.to_string();
        let began = std::time::Instant::now();
        while self.run("pg_isready", &["-h", "127.0.0.1", "-p", &port, "-t", "1"]).is_err() {
            if let Some(status) = child.try_wait()? {
                let said = self.log();
                if said.contains("could not create any TCP/IP sockets") {
                    self.port = 0;
                }
                bail!("postgres ended with {status}\n{said}");
            }
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
                bail!("postgres does not answer\n{}", self.log());
            }
        }
        self.child = Some(child);
        Ok(())
    }

    /// Stops it as an operator would: clients are cut off, data is kept.
    pub fn stop(&mut self) {
        self.end(Signal::SIGINT);
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits"));
            let _ = kill(pid, signal);
            let _ = child.wait();
        }
    }

    /// Where clients connect, without the password.
    pub fn url(&self) -> String {
        format!("postgres://cupola@127.0.0.1:{}/cupola", self.port)
    }

    /// Where clients connect, with the password.
    pub fn url_with_password(&self) -> String {
        format!("postgres://cupola:not%3A%20a%2Fsecret@127.0.0.1:{}/cupola", self.port)
    }

    /// The file that has the password.
    pub fn password_file(&self) -> PathBuf {
        self.directory.path().join("password")
    }

    /// What a statement answers, as text, past everything that uses the database.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn query(&self, words: &str) -> Result<String> {
        let port = self.port.to_string();
        let target = ["-h", "127.0.0.1", "-p", &port, "-U", "cupola", "-d", "cupola"];
        let answer = self.run("psql", &[&target[..], &["-tAc", words]].concat())?;
        Ok(answer.trim().to_owned())
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// One of PostgreSQL's programs, as the unprivileged user.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.directory.path()).env("PGPASSWORD", PASSWORD);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {program}"))?;
        if !output.status.success() {
            bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // At once, without a checkpoint: the data goes too.
        self.end(Signal::SIGQUIT);
    }
}

/// The directory with initdb and the rest: Debian keeps one for each version, out of the PATH.
fn programs() -> Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, path)| path.join("initdb").exists())
        .collect();
    found.sort();
    if let Some((_, path)) = found.pop() {
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|directory: &PathBuf| Path::new(directory).join("initdb").exists())
        .context("no PostgreSQL server here: apt-get install postgresql")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn it_can_be_stopped_and_started_with_its_data() {
        let mut server = PostgresServer::start();
        server.query("CREATE TABLE t AS SELECT 7 AS n").unwrap();
        server.stop();
        let address = format!("127.0.0.1:{}", server.port);
        assert!(TcpStream::connect(&address).is_err());
        server.start_again();
        assert_eq!(server.query("SELECT n FROM t").unwrap(), "7");
        drop(server);
        assert!(TcpStream::connect(&address).is_err());
    }
}

//! PostgreSQL on its host, by the commands that `docs/operations.md` gives to administrators.

use super::host::Host;
use anyhow::{Context, Result, ensure};
use std::{
    io::Write,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

/// The unit, here: Debian's own starts a process that goes to the background.
pub(crate) const UNIT: &str = "postgresql.service";
/// How long the server may take to start.
const LIMIT: Duration = Duration::from_secs(30);

/// Makes the database cluster; the files of our configuration are laid into it.
pub(crate) fn make(host: &Host) -> Result<()> {
    host.run(&["pg_createcluster", "15", "main"]).context("PostgreSQL 15 (Debian package postgresql)")?;
    for (from, to) in [("postgresql.conf", "conf.d/cupola.conf"), ("pg_hba.conf", "pg_hba.conf")] {
        host.run(
            &["install", "-o", "postgres", "-m", "0640"]
                .iter()
                .chain(&[
                    format!("/etc/cupola/{from}").as_str(),
                    format!("/etc/postgresql/15/main/{to}").as_str(),
                ])
                .copied()
                .collect::<Vec<_>>(),
        )?;
    }
    Ok(())
}

/// Makes the controllers' user and database.
pub(crate) fn add_user(host: &Host, password: &str) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while let Err(error) = host.run(&["runuser", "-u", "postgres", "--", "psql", "-c", "SELECT 1"]) {
        ensure!(Instant::now() < deadline, "PostgreSQL does not start: {error:#}");
        thread::sleep(Duration::from_millis(50));
    }
    // By its standard input: arguments can be seen by every user.
    let mut psql = host.command(&["runuser", "-u", "postgres", "--", "psql", "-v", "ON_ERROR_STOP=1"])?;
    let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("psql")?;
    let commands =
        format!("CREATE ROLE cupola LOGIN PASSWORD '{password}';\nCREATE DATABASE cupola OWNER cupola;\n");
    psql.stdin.take().context("a pipe")?.write_all(commands.as_bytes())?;
    ensure!(psql.wait()?.success(), "psql cannot make the user and the database cupola");
    Ok(())
}

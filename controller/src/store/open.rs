//! Opening the database: SQLite in a file of ours, or PostgreSQL at an address.

use super::Pool;
use crate::{Config, Error};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, any::AnyPoolOptions, migrate::Migrator};
use std::{
    fs::{self, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use url::Url;

/// The tables, the same for both.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");
/// Pause between two tries to reach a database that is away.
const PAUSE: Duration = Duration::from_secs(1);

/// What every connection to the SQLite file is told. WAL with `NORMAL` is safe: a crash of the machine may lose the
/// last commits, never the file.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; \
                       PRAGMA busy_timeout = 5000;";

/// A database that several controllers may use, for a session besides the pool.
#[derive(Clone)]
pub(crate) struct Shared {
    url: Url,
    setup: Arc<str>,
    /// How long a request waits for the database.
    pub patience: Duration,
}

impl std::fmt::Debug for Shared {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shared").field(&shown(&self.url)).finish()
    }
}

impl Shared {
    /// A session of its own.
    pub(crate) async fn connect(&self) -> super::Result<AnyConnection> {
        let mut connection = AnyConnection::connect(self.url.as_str()).await?;
        connection.execute(sqlx::raw_sql(AssertSqlSafe(self.setup.to_string()))).await?;
        Ok(connection)
    }
}

/// Opens the database, makes its tables or brings them up to date. A PostgreSQL that is away is waited for.
pub(crate) async fn open(config: &Config) -> Result<(Pool, Option<Shared>), Error> {
    sqlx::any::install_default_drivers();
    let (url, setup) = match &config.database {
        Some(url) => (with_password(config, url)?, postgres_setup(config)),
        None => (sqlite(&config.data_dir.join("controller.db"))?, PRAGMAS.to_owned()),
    };
    let name = shown(&url);
    let failed = |source| Error::Database { database: name.clone(), source };
    migrate(config, &url, &name).await?;
    let setup: Arc<str> = setup.into();
    let patience = Duration::from_secs(config.database_wait_seconds);
    let shared =
        config.database.as_ref().map(|_| Shared { url: url.clone(), setup: setup.clone(), patience });
    let pool = AnyPoolOptions::new()
        .max_connections(config.database_connections)
        .acquire_timeout(patience)
        .after_connect(move |connection, _| {
            let setup = setup.to_string();
            Box::pin(async move { connection.execute(sqlx::raw_sql(AssertSqlSafe(setup))).await.map(drop) })
        })
        .connect(url.as_str())
        .await
        .map_err(failed)?;
    Ok((pool, shared))
}

/// Makes the tables, over a connection of its own: it may wait for another controller that does the same.
async fn migrate(config: &Config, url: &Url, name: &str) -> Result<(), Error> {
    let failed = |source| Error::Database { database: name.to_owned(), source };
    let deadline = Instant::now() + Duration::from_secs(config.database_start_seconds);
    let mut connection = loop {
        let wait = Duration::from_secs(config.database_wait_seconds);
        let error = match tokio::time::timeout(wait, AnyConnection::connect(url.as_str())).await {
            Ok(Ok(connection)) => break connection,
            Ok(Err(error)) => error,
            Err(_) => sqlx::Error::PoolTimedOut,
        };
        if !is_away(&error) || Instant::now() >= deadline {
            return Err(failed(error));
        }
        tracing::warn!(database = name, %error, "the database is away: waiting for it");
        tokio::time::sleep(PAUSE).await;
    };
    if config.database.is_none() {
        connection.execute(sqlx::raw_sql(PRAGMAS)).await.map_err(failed)?;
    }
    let migrated = MIGRATIONS.run(&mut connection).await;
    migrated.map_err(|source| Error::Migrate { database: name.to_owned(), source })?;
    connection.close().await.map_err(failed)
}

/// Whether a connection failed for what may be over in a moment: nobody listens, or the server starts or ends.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        // Class 57 is "operator intervention", class 53 "insufficient resources": too many connections is one.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("53"))
        }
        _ => false,
    }
}

/// A statement that hangs must not hang its request, and a controller whose host is gone must not hold its locks:
/// the server looks after its clients.
fn postgres_setup(config: &Config) -> String {
    let milliseconds = config.database_statement_seconds.saturating_mul(1000);
    format!(
        "SET statement_timeout = {milliseconds}; SET idle_in_transaction_session_timeout = {milliseconds}; \
         SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; \
         SET client_min_messages = warning;"
    )
}

/// The address with the password of the file, when there is one.
fn with_password(config: &Config, url: &Url) -> Result<Url, Error> {
    let mut url = url.clone();
    if let Some(path) = &config.database_password_file {
        let password = fs::read_to_string(path).map_err(|source| Error::File {
            action: "read the database's password in",
            path: path.clone(),
            source,
        })?;
        url.set_password(Some(password.trim())).map_err(|()| Error::Config {
            key: "database",
            reason: "must name a host when there is a database_password_file".to_owned(),
        })?;
    }
    Ok(url)
}

/// The address of the SQLite file, which is made when it is missing.
fn sqlite(path: &Path) -> Result<Url, Error> {
    let failed = |action| move |source| Error::File { action, path: path.to_owned(), source };
    // It holds the apps' variables, which may be secrets; SQLite gives its own new files the mode of this one.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(failed("write"))?;
    let path = std::path::absolute(path).map_err(failed("find"))?;
    Url::from_file_path(&path)
        .ok()
        .and_then(|url| Url::parse(&url.as_str().replacen("file:", "sqlite:", 1)).ok())
        .ok_or_else(|| failed("use the name of")(ErrorKind::InvalidInput.into()))
}

/// The address without its password.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        let _ = url.set_password(Some("…"));
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn sqlite_is_private_and_every_connection_keeps_its_promises() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("odd ? name #1");
        fs::create_dir(&data_dir).unwrap();
        let config = Config { data_dir: data_dir.clone(), ..Config::default() };
        let (pool, shared) = open(&config).await.unwrap();
        assert!(shared.is_none());
        let mut connections = Vec::new();
        for _ in 0..3 {
            let mut connection = pool.acquire().await.unwrap();
            for (pragma, wanted) in
                [("PRAGMA foreign_keys", 1), ("PRAGMA busy_timeout", 5000), ("PRAGMA synchronous", 1)]
            {
                let found: i64 = sqlx::query_scalar(pragma).fetch_one(&mut *connection).await.unwrap();
                assert_eq!(found, wanted, "{pragma}");
            }
            let mode: String =
                sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await.unwrap();
            assert_eq!(mode, "wal");
            connections.push(connection);
        }
        for entry in fs::read_dir(&data_dir).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
        assert!(data_dir.join("controller.db").exists());
    }

    #[test]
    fn a_password_is_taken_from_its_file_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        fs::write(&file, "s:e/c\n").unwrap();
        let url: Url = "postgres://me@db.test/cupola".parse().unwrap();
        let config = Config { database_password_file: Some(file), ..Config::default() };
        let full = with_password(&config, &url).unwrap();
        assert_eq!(full.as_str(), "postgres://me:s%3Ae%2Fc@db.test/cupola");
        assert!(!shown(&full).contains("s%3A"));
    }

    #[tokio::test]
    async fn a_database_that_stays_away_is_named() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("postgres://me:secret@127.0.0.1:{port}/cupola").parse().unwrap();
        let config = Config { database: Some(url), database_start_seconds: 0, ..Config::default() };
        let words = open(&config).await.unwrap_err().to_string();
        assert!(words.contains(&port.to_string()) && !words.contains("secret"), "{words}");
    }
}

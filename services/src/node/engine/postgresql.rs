//! PostgreSQL 15: one server, one database per instance.
//!
//! Every binding is a login of its own that acts as the role which owns the database, so that what one binding makes the
//! others can use, and nothing is lost with a binding. Commits are durable as usual (`fsync`, `synchronous_commit`).
//! The administrator has no way in but the socket inside of the container.

use super::{ADMIN, Recipe, VOLUME};
use crate::node::{Plan, record::Record};
use cupola_protocol::services::BindingCredentials;
use std::net::Ipv4Addr;

/// See the module.
#[derive(Debug)]
pub(crate) struct Postgresql;

/// Connections beside those of apps: for the node's own scripts.
const OWN_CONNECTIONS: u32 = 5;

const PREPARE: &str = r#"set -e
umask 077
"$BIN/initdb" --pgdata="$VOLUME/data" --username="$ADMIN" --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --no-instructions > "$VOLUME/initdb.log" 2>&1 || { tail -n 5 "$VOLUME/initdb.log"; exit 1; }
cat > "$VOLUME/data/pg_hba.conf" <<TXT
local all $ADMIN trust
host all $ADMIN all reject
host all all all scram-sha-256
TXT
sync -f "$VOLUME/data/pg_hba.conf"
"#;

// The lock file is of a server in a container that is gone: this one is new.
const START: &str = r#"cd /
rm -f "$VOLUME/data/postmaster.pid"
exec "$BIN/postgres" -D "$VOLUME/data" \
    -c listen_addresses='*' -c port="$PORT" -c unix_socket_directories=/tmp -c password_encryption=scram-sha-256 \
    -c max_connections="$MAX_CONNECTIONS" -c shared_buffers="${SHARED_BUFFERS_MB}MB" -c jit=off \
    -c max_wal_size="${MAX_WAL_MB}MB" -c min_wal_size=32MB -c temp_file_limit="${TEMP_MB}MB" \
    -c max_parallel_workers=2 -c timezone=UTC -c log_timezone=UTC
"#;

const READY: &str = r#"exec "$BIN/pg_isready" -q -h /tmp -p "$PORT""#;

const SET_UP: &str = r#"set -e
psql() { "$BIN/psql" -X -q -v ON_ERROR_STOP=1 -h /tmp -p "$PORT" -U "$ADMIN" -d postgres; }
psql <<'SQL'
\getenv name NAME
\getenv owner OWNER
\getenv connections CONNECTIONS
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
REVOKE ALL ON DATABASE template1 FROM PUBLIC;
CREATE ROLE :"owner" NOLOGIN;
CREATE DATABASE :"name" OWNER :"owner" CONNECTION LIMIT :connections;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
\connect :name
ALTER SCHEMA public OWNER TO :"owner";
SQL
"#;

const BIND: &str = r#"set -e
exec "$BIN/psql" -X -q -1 -v ON_ERROR_STOP=1 -h /tmp -p "$PORT" -U "$ADMIN" -d postgres > /dev/null <<'SQL'
\getenv name NAME
\getenv owner OWNER
\getenv username USERNAME
\getenv password PASSWORD
SELECT format('CREATE ROLE %I', :'username') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'username') \gexec
ALTER ROLE :"username" LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
GRANT :"owner" TO :"username";
GRANT CONNECT ON DATABASE :"name" TO :"username";
ALTER ROLE :"username" IN DATABASE :"name" SET role = :'owner';
SQL
"#;

// Nobody comes in again between the end of the connections and the end of the role.
const UNBIND: &str = r#"set -e
exec "$BIN/psql" -X -q -v ON_ERROR_STOP=1 -h /tmp -p "$PORT" -U "$ADMIN" -d "$NAME" > /dev/null <<'SQL'
\getenv owner OWNER
\getenv username USERNAME
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :'username') AS there \gset
\if :there
ALTER ROLE :"username" NOLOGIN;
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = :'username';
BEGIN;
REASSIGN OWNED BY :"username" TO :"owner";
DROP OWNED BY :"username";
DROP ROLE :"username";
COMMIT;
\endif
SQL
"#;

// `read_only` is the default of transactions, which a client can change for its own to delete something; `closed` is for
// those who went on to write: no connection but the node's.
const RESTRICT: &str = r#"set -e
exec "$BIN/psql" -X -q -v ON_ERROR_STOP=1 -h /tmp -p "$PORT" -U "$ADMIN" -d postgres > /dev/null <<'SQL'
\getenv name NAME
\getenv connections CONNECTIONS
\getenv level LEVEL
SELECT :'level' = 'free' AS free, :'level' = 'closed' AS closed \gset
\if :free
ALTER DATABASE :"name" RESET default_transaction_read_only;
\else
ALTER DATABASE :"name" SET default_transaction_read_only = on;
\endif
\if :closed
ALTER DATABASE :"name" CONNECTION LIMIT 0;
\else
ALTER DATABASE :"name" CONNECTION LIMIT :connections;
\endif
\if :free
\else
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'name' AND pid <> pg_backend_pid();
\endif
SQL
"#;

// Files of what was dropped, and segments of the log, go with a checkpoint.
const RECLAIM: &str = r#"exec "$BIN/psql" -X -q -h /tmp -p "$PORT" -U "$ADMIN" -d postgres -c CHECKPOINT"#;

const STOP: &str = r#"exec "$BIN/pg_ctl" -D "$VOLUME/data" stop -m fast -t 30 -s"#;

impl Recipe for Postgresql {
    fn version(&self) -> &'static str {
        "15"
    }
    fn port(&self) -> u16 {
        5432
    }
    fn prepare(&self) -> &'static str {
        PREPARE
    }
    fn start(&self) -> &'static str {
        START
    }
    fn ready(&self) -> &'static str {
        READY
    }
    fn set_up(&self) -> &'static str {
        SET_UP
    }
    fn bind(&self) -> &'static str {
        BIND
    }
    fn unbind(&self) -> &'static str {
        UNBIND
    }
    fn restrict(&self) -> &'static str {
        RESTRICT
    }
    fn reclaim(&self) -> &'static str {
        RECLAIM
    }
    fn stop(&self) -> &'static str {
        STOP
    }

    fn environment(&self, record: &Record, plan: &Plan) -> Vec<String> {
        let (memory, disk) = (plan.memory_mb.0, plan.disk_mb.0);
        vec![
            "BIN=/usr/lib/postgresql/15/bin".to_owned(),
            format!("VOLUME={VOLUME}"),
            format!("ADMIN={ADMIN}"),
            format!("PORT={}", self.port()),
            format!("NAME={}", record.name),
            format!("OWNER=owner_{}", record.name.chars().take(57).collect::<String>()),
            format!("CONNECTIONS={}", plan.connections),
            format!("MAX_CONNECTIONS={}", plan.connections.saturating_add(OWN_CONNECTIONS)),
            format!("SHARED_BUFFERS_MB={}", memory / 4),
            format!("MAX_WAL_MB={}", (disk / 8).max(64)),
            format!("TEMP_MB={}", disk / 4),
        ]
    }

    fn credentials(&self, instance: &str, at: (Ipv4Addr, u16), user: (&str, &str)) -> BindingCredentials {
        let ((host, port), (username, password)) = (at, user);
        BindingCredentials {
            name: instance.to_owned(),
            host: host.to_string(),
            hostname: host.to_string(),
            port,
            user: username.to_owned(),
            username: username.to_owned(),
            password: password.to_owned(),
            uri: format!("postgres://{username}:{password}@{host}:{port}/{instance}"),
            database: Some(instance.to_owned()),
            jdbc_url: Some(format!(
                "jdbc:postgresql://{host}:{port}/{instance}?user={username}&password={password}"
            )),
        }
    }
}

//! Redis 7: one server per instance.
//!
//! Every binding is a user of its own (ACL) without the commands that rule the server. What is acknowledged is on disk:
//! `appendonly yes` with `appendfsync always`, which costs a write to disk per round of commands and keeps the promise
//! that an acknowledged write is read back after any crash; with `everysec` the last second could be lost. Memory for
//! data is three fifths of the container's: the rest is for clients and for the copy that rewriting the file makes.

use super::{ADMIN, Recipe, VOLUME};
use crate::node::{Plan, record::Record};
use cupola_protocol::services::BindingCredentials;
use std::net::Ipv4Addr;

/// See the module.
#[derive(Debug)]
pub(crate) struct Redis;

/// Connections beside those of apps: for the node's own scripts.
const OWN_CONNECTIONS: u32 = 8;

const PREPARE: &str = r#"set -e
umask 077
mkdir -p "$VOLUME/data"
printf 'user default off\nuser %s on >%s ~* &* +@all\n' "$ADMIN" "$ADMIN_PASSWORD" > "$VOLUME/users.acl"
sync -f "$VOLUME/users.acl"
"#;

const START: &str = r#"umask 077
cd /
exec redis-server --bind 0.0.0.0 --port "$PORT" --protected-mode no --unixsocket /tmp/redis.sock --unixsocketperm 700 \
    --dir "$VOLUME/data" --aclfile "$VOLUME/users.acl" --save '' --appendonly yes --appendfsync always \
    --auto-aof-rewrite-min-size 16mb --maxmemory "${MAX_MEMORY_MB}mb" --maxmemory-policy noeviction \
    --maxclients "$MAX_CONNECTIONS" --daemonize no
"#;

const READY: &str = r#"test "$(REDISCLI_AUTH=$ADMIN_PASSWORD redis-cli -s /tmp/redis.sock --user "$ADMIN" ping 2>&1)" = PONG"#;

const SET_UP: &str = "true";

/// Runs the commands on standard input; every answer must be `OK` or a number, or the first other one is the error.
macro_rules! commands {
    ($text:literal) => {
        concat!(
            r#"set -e
answers=$(REDISCLI_AUTH=$ADMIN_PASSWORD redis-cli -s /tmp/redis.sock --user "$ADMIN" 2>&1 <<TXT
"#,
            $text,
            r#"
TXT
)
if bad=$(grep -v -m 1 -E '^(OK|[0-9]+|)$' <<<"$answers"); then echo "$bad"; exit 1; fi
"#
        )
    };
}

// No commands of administration, none that can stop or spy on others; of those that are called dangerous, the ones that
// act on one's own data.
const BIND: &str = concat!(
    commands!(
        "ACL SETUSER $USERNAME reset on >$PASSWORD ~* &* +@all -@admin -@dangerous +info +keys +flushdb +flushall +sort +sort_ro +restore
ACL SAVE"
    ),
    "sync -f \"$VOLUME/users.acl\"\n"
);

const UNBIND: &str = concat!(commands!("ACL DELUSER $USERNAME\nACL SAVE"), "sync -f \"$VOLUME/users.acl\"\n");

// A server whose limit is below what it holds refuses what would need memory, and takes what frees some.
const RESTRICT: &str = concat!(
    "memory=${MAX_MEMORY_MB}mb\nif test \"$LEVEL\" != free; then memory=1; fi\n",
    commands!("CONFIG SET maxmemory $memory")
);

// The file has every write since it was written last; what was deleted goes when it is written anew. That this goes on
// already is as good.
const RECLAIM: &str =
    r#"REDISCLI_AUTH=$ADMIN_PASSWORD redis-cli -s /tmp/redis.sock --user "$ADMIN" bgrewriteaof"#;

const STOP: &str =
    r#"REDISCLI_AUTH=$ADMIN_PASSWORD exec redis-cli -s /tmp/redis.sock --user "$ADMIN" shutdown nosave"#;

impl Recipe for Redis {
    fn version(&self) -> &'static str {
        "7.0"
    }
    fn port(&self) -> u16 {
        6379
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
        vec![
            format!("VOLUME={VOLUME}"),
            format!("ADMIN={ADMIN}"),
            format!("ADMIN_PASSWORD={}", record.admin_password),
            format!("PORT={}", self.port()),
            format!("MAX_CONNECTIONS={}", plan.connections.saturating_add(OWN_CONNECTIONS)),
            format!("MAX_MEMORY_MB={}", (plan.memory_mb.0 * 3 / 5).max(1)),
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
            uri: format!("redis://{username}:{password}@{host}:{port}/0"),
            database: None,
            jdbc_url: None,
        }
    }
}

-- Words that SQLite and PostgreSQL both know. Times are RFC 3339 text in UTC with microseconds, so that they
-- sort as text; lists and maps are JSON text. An app has one process, `web`, which is part of its row.

CREATE TABLE users (
    guid          TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    admin         BOOLEAN NOT NULL,
    created_at    TEXT NOT NULL,
    updated_at    TEXT NOT NULL
);

-- Only the digest of a refresh token is kept.
CREATE TABLE refresh_tokens (
    digest     TEXT PRIMARY KEY,
    user_guid  TEXT NOT NULL REFERENCES users (guid) ON DELETE CASCADE,
    expires_at TEXT NOT NULL
);

CREATE TABLE organizations (
    guid       TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE spaces (
    guid              TEXT PRIMARY KEY,
    name              TEXT NOT NULL,
    organization_guid TEXT NOT NULL REFERENCES organizations (guid),
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL,
    UNIQUE (organization_guid, name)
);

CREATE TABLE roles (
    guid              TEXT PRIMARY KEY,
    kind              TEXT NOT NULL,
    user_guid         TEXT NOT NULL REFERENCES users (guid) ON DELETE CASCADE,
    organization_guid TEXT REFERENCES organizations (guid) ON DELETE CASCADE,
    space_guid        TEXT REFERENCES spaces (guid) ON DELETE CASCADE,
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL
);

CREATE TABLE domains (
    guid       TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE apps (
    guid                            TEXT PRIMARY KEY,
    name                            TEXT NOT NULL,
    space_guid                      TEXT NOT NULL REFERENCES spaces (guid),
    state                           TEXT NOT NULL,
    version                         TEXT NOT NULL,
    buildpacks                      TEXT NOT NULL,
    stack                           TEXT NOT NULL,
    environment                     TEXT NOT NULL,
    droplet_guid                    TEXT,
    command                         TEXT,
    instances                       BIGINT NOT NULL,
    memory_mb                       BIGINT NOT NULL,
    disk_mb                         BIGINT NOT NULL,
    health_check_type               TEXT NOT NULL,
    health_check_endpoint           TEXT,
    health_check_timeout            BIGINT,
    health_check_invocation_timeout BIGINT,
    started_at                      TEXT NOT NULL,
    created_at                      TEXT NOT NULL,
    updated_at                      TEXT NOT NULL,
    UNIQUE (space_guid, name)
);

CREATE TABLE packages (
    guid       TEXT PRIMARY KEY,
    app_guid   TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
    state      TEXT NOT NULL,
    sha256     TEXT,
    size       BIGINT NOT NULL,
    error      TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX packages_by_app ON packages (app_guid);

-- Files that packages hold and that later uploads need not send again.
CREATE TABLE package_files (
    package_guid TEXT NOT NULL REFERENCES packages (guid) ON DELETE CASCADE,
    sha1         TEXT NOT NULL,
    size         BIGINT NOT NULL,
    PRIMARY KEY (package_guid, sha1)
);
CREATE INDEX package_files_by_sha1 ON package_files (sha1);

CREATE TABLE builds (
    guid            TEXT PRIMARY KEY,
    app_guid        TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
    package_guid    TEXT NOT NULL,
    droplet_guid    TEXT,
    state           TEXT NOT NULL,
    error           TEXT,
    memory_mb       BIGINT NOT NULL,
    disk_mb         BIGINT NOT NULL,
    buildpacks      TEXT NOT NULL,
    stack           TEXT NOT NULL,
    created_by_guid TEXT NOT NULL,
    created_by_name TEXT NOT NULL,
    -- What the stager has uploaded so far.
    upload_sha256   TEXT,
    upload_sha1     TEXT,
    upload_size     BIGINT,
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL
);
CREATE INDEX builds_by_app ON builds (app_guid);

CREATE TABLE droplets (
    guid          TEXT PRIMARY KEY,
    app_guid      TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
    package_guid  TEXT NOT NULL,
    build_guid    TEXT NOT NULL,
    sha256        TEXT NOT NULL,
    sha1          TEXT NOT NULL,
    size          BIGINT NOT NULL,
    process_types TEXT NOT NULL,
    buildpack     TEXT,
    detected      TEXT,
    buildpacks    TEXT NOT NULL,
    stack         TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    updated_at    TEXT NOT NULL
);
CREATE INDEX droplets_by_app ON droplets (app_guid);
CREATE INDEX droplets_by_sha256 ON droplets (sha256);

CREATE TABLE routes (
    guid        TEXT PRIMARY KEY,
    host        TEXT NOT NULL,
    path        TEXT NOT NULL,
    domain_guid TEXT NOT NULL REFERENCES domains (guid),
    space_guid  TEXT NOT NULL REFERENCES spaces (guid),
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL,
    UNIQUE (host, domain_guid, path)
);

CREATE TABLE destinations (
    guid       TEXT PRIMARY KEY,
    route_guid TEXT NOT NULL REFERENCES routes (guid) ON DELETE CASCADE,
    app_guid   TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
    UNIQUE (route_guid, app_guid)
);
CREATE INDEX destinations_by_app ON destinations (app_guid);

-- The last crash of each index.
CREATE TABLE crashes (
    app_guid    TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
    idx         BIGINT NOT NULL,
    version     TEXT NOT NULL,
    exit_status BIGINT NOT NULL,
    description TEXT NOT NULL,
    at          TEXT NOT NULL,
    PRIMARY KEY (app_guid, idx)
);

CREATE TABLE jobs (
    guid       TEXT PRIMARY KEY,
    operation  TEXT NOT NULL,
    state      TEXT NOT NULL,
    errors     TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

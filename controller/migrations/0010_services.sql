-- Service brokers, what they offer, the instances and bindings that exist, and what is being done to them.

-- The password is for the broker: no answer of the API and no line of a log holds it.
CREATE TABLE service_brokers (
    guid       TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    url        TEXT NOT NULL,
    username   TEXT NOT NULL,
    password   TEXT NOT NULL,
    -- Who registered it: `gateway` (over the bus) or `administrator`.
    source     TEXT NOT NULL,
    -- Its first catalog was taken in: what it offers can be used.
    available  BIGINT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE service_offerings (
    guid        TEXT PRIMARY KEY,
    broker_guid TEXT NOT NULL REFERENCES service_brokers (guid) ON DELETE CASCADE,
    -- The id at the broker.
    catalog_id  TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    available   BIGINT NOT NULL,
    -- The rest of what the catalog says of it, as the broker wrote it, without its plans.
    catalog     TEXT NOT NULL,
    created_at  TEXT NOT NULL,
    updated_at  TEXT NOT NULL,
    UNIQUE (broker_guid, catalog_id)
);

CREATE TABLE service_plans (
    guid          TEXT PRIMARY KEY,
    offering_guid TEXT NOT NULL REFERENCES service_offerings (guid) ON DELETE CASCADE,
    catalog_id    TEXT NOT NULL,
    name          TEXT NOT NULL,
    description   TEXT NOT NULL,
    available     BIGINT NOT NULL,
    visibility    TEXT NOT NULL,
    catalog       TEXT NOT NULL,
    created_at    TEXT NOT NULL,
    updated_at    TEXT NOT NULL,
    UNIQUE (offering_guid, catalog_id)
);

-- Whose members see a plan of the visibility `organization`.
CREATE TABLE service_plan_organizations (
    plan_guid         TEXT NOT NULL REFERENCES service_plans (guid) ON DELETE CASCADE,
    organization_guid TEXT NOT NULL REFERENCES organizations (guid) ON DELETE CASCADE,
    PRIMARY KEY (plan_guid, organization_guid)
);

-- `kind` is `managed` (a broker made it, it has a plan) or `user-provided` (its user gave the credentials).
CREATE TABLE service_instances (
    guid                  TEXT PRIMARY KEY,
    name                  TEXT NOT NULL,
    space_guid            TEXT NOT NULL REFERENCES spaces (guid),
    kind                  TEXT NOT NULL,
    plan_guid             TEXT REFERENCES service_plans (guid),
    tags                  TEXT NOT NULL,
    credentials           TEXT,
    syslog_drain_url      TEXT,
    route_service_url     TEXT,
    dashboard_url         TEXT,
    maintenance_info      TEXT,
    operation             TEXT NOT NULL,
    operation_state       TEXT NOT NULL,
    operation_description TEXT,
    operation_created_at  TEXT NOT NULL,
    operation_updated_at  TEXT NOT NULL,
    created_at            TEXT NOT NULL,
    updated_at            TEXT NOT NULL,
    UNIQUE (space_guid, name)
);
CREATE INDEX service_instances_by_plan ON service_instances (plan_guid);

-- `kind` is `app` or `key`.
CREATE TABLE service_bindings (
    guid                  TEXT PRIMARY KEY,
    name                  TEXT,
    kind                  TEXT NOT NULL,
    instance_guid         TEXT NOT NULL REFERENCES service_instances (guid),
    app_guid              TEXT REFERENCES apps (guid),
    credentials           TEXT,
    syslog_drain_url      TEXT,
    volume_mounts         TEXT,
    endpoints             TEXT,
    operation             TEXT NOT NULL,
    operation_state       TEXT NOT NULL,
    operation_description TEXT,
    operation_created_at  TEXT NOT NULL,
    operation_updated_at  TEXT NOT NULL,
    created_at            TEXT NOT NULL,
    updated_at            TEXT NOT NULL,
    -- Keys have no app, so this is about apps alone.
    UNIQUE (instance_guid, app_guid)
);
CREATE UNIQUE INDEX service_keys_by_name ON service_bindings (instance_guid, name) WHERE kind = 'key';
CREATE INDEX service_bindings_by_app ON service_bindings (app_guid);

-- What is to be asked of a broker: every row is something that is not done yet. It stands for itself, since the
-- instance or binding that it is about may be gone. Whichever controller holds the claim is at work on it; a claim
-- ends by itself, so that another one goes on when its holder has died.
CREATE TABLE service_operations (
    guid             TEXT PRIMARY KEY,
    kind             TEXT NOT NULL,
    phase            TEXT NOT NULL,
    broker_guid      TEXT NOT NULL REFERENCES service_brokers (guid) ON DELETE CASCADE,
    instance_guid    TEXT,
    binding_guid     TEXT,
    -- What to send, and what to write when it is done.
    request          TEXT NOT NULL,
    job_guid         TEXT,
    user_guid        TEXT NOT NULL,
    -- What the broker called it when it went on by itself.
    broker_operation TEXT,
    tries            BIGINT NOT NULL,
    begun_at         TEXT NOT NULL,
    deadline_at      TEXT NOT NULL,
    due_at           TEXT NOT NULL,
    claim            TEXT NOT NULL,
    claimed_until    TEXT NOT NULL
);
CREATE INDEX service_operations_by_due ON service_operations (due_at);
CREATE INDEX service_operations_by_instance ON service_operations (instance_guid);

-- Who sees which plan, besides administrators.
CREATE VIEW visible_service_plans AS
    SELECT users.guid AS user_guid, service_plans.guid AS plan_guid
    FROM users CROSS JOIN service_plans WHERE service_plans.visibility = 'public'
    UNION
    SELECT seeing.user_guid, service_plan_organizations.plan_guid
    FROM service_plan_organizations
    JOIN service_plans ON service_plans.guid = service_plan_organizations.plan_guid
    JOIN visible_organizations seeing
        ON seeing.organization_guid = service_plan_organizations.organization_guid
    WHERE service_plans.visibility = 'organization';

-- Tenants: quotas, suspended organizations, read-only administrators, owners of jobs, and who sees what.
-- Flags are 0 or 1; a limit that is NULL does not limit.

CREATE TABLE organization_quotas (
    guid                        TEXT PRIMARY KEY,
    name                        TEXT NOT NULL UNIQUE,
    total_memory_mb             BIGINT,
    instance_memory_mb          BIGINT,
    total_instances             BIGINT,
    total_services              BIGINT,
    total_routes                BIGINT,
    paid_services               BIGINT NOT NULL,
    created_at                  TEXT NOT NULL,
    updated_at                  TEXT NOT NULL
);

CREATE TABLE space_quotas (
    guid                        TEXT PRIMARY KEY,
    name                        TEXT NOT NULL,
    organization_guid           TEXT NOT NULL REFERENCES organizations (guid) ON DELETE CASCADE,
    total_memory_mb             BIGINT,
    instance_memory_mb          BIGINT,
    total_instances             BIGINT,
    total_services              BIGINT,
    total_routes                BIGINT,
    paid_services               BIGINT NOT NULL,
    created_at                  TEXT NOT NULL,
    updated_at                  TEXT NOT NULL,
    UNIQUE (organization_guid, name)
);

-- The quota of every organization that has no other.
INSERT INTO organization_quotas VALUES
    ('00000000-0000-4000-8000-000000000001', 'default', NULL, NULL, NULL, NULL, NULL, 1,
     '2026-11-25T00:00:00.000000Z', '2026-11-25T00:00:00.000000Z');

ALTER TABLE organizations ADD COLUMN suspended BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organizations ADD COLUMN quota_guid TEXT REFERENCES organization_quotas (guid);
UPDATE organizations SET quota_guid = '00000000-0000-4000-8000-000000000001';
ALTER TABLE spaces ADD COLUMN quota_guid TEXT REFERENCES space_quotas (guid) ON DELETE SET NULL;
ALTER TABLE users ADD COLUMN admin_read_only BIGINT NOT NULL DEFAULT 0;
-- Whether the controller knows a user that UAA has: POST /v3/users says so, DELETE takes it back.
ALTER TABLE users ADD COLUMN known BIGINT NOT NULL DEFAULT 1;
ALTER TABLE jobs ADD COLUMN user_guid TEXT;

-- A role lies in an organization or in a space, and is held once.
UPDATE roles SET organization_guid = NULL WHERE space_guid IS NOT NULL;
DELETE FROM roles WHERE guid NOT IN
    (SELECT MIN(guid) FROM roles GROUP BY user_guid, kind, organization_guid, space_guid);
CREATE UNIQUE INDEX roles_held_once
    ON roles (user_guid, kind, COALESCE(organization_guid, ''), COALESCE(space_guid, ''));
CREATE INDEX roles_by_organization ON roles (organization_guid);
CREATE INDEX roles_by_space ON roles (space_guid);
-- Whoever is something in a space belongs to its organization.
INSERT INTO roles
    SELECT MIN(roles.guid) || '-user', 'organization_user', roles.user_guid, spaces.organization_guid, NULL,
           MIN(roles.created_at), MIN(roles.updated_at)
    FROM roles JOIN spaces ON spaces.guid = roles.space_guid
    WHERE NOT EXISTS (SELECT 1 FROM roles mine
                      WHERE mine.user_guid = roles.user_guid AND mine.organization_guid = spaces.organization_guid)
    GROUP BY roles.user_guid, spaces.organization_guid;
CREATE INDEX spaces_by_organization ON spaces (organization_guid);
CREATE INDEX apps_by_space ON apps (space_guid);
CREATE INDEX routes_by_space ON routes (space_guid);

-- Who sees what, as the table of roles and actions in controller/src/access.rs has it.
CREATE VIEW visible_organizations AS
    SELECT user_guid, organization_guid FROM roles WHERE organization_guid IS NOT NULL
    UNION
    SELECT roles.user_guid, spaces.organization_guid
    FROM roles JOIN spaces ON spaces.guid = roles.space_guid;

CREATE VIEW visible_spaces AS
    SELECT user_guid, space_guid FROM roles WHERE space_guid IS NOT NULL
    UNION
    SELECT roles.user_guid, spaces.guid
    FROM roles JOIN spaces ON spaces.organization_guid = roles.organization_guid
    WHERE roles.kind = 'organization_manager';

-- Roles of organizations and spaces that one sees.
CREATE VIEW visible_roles AS
    SELECT seeing.user_guid, roles.guid AS role_guid
    FROM roles JOIN visible_organizations seeing ON seeing.organization_guid = roles.organization_guid
    UNION
    SELECT seeing.user_guid, roles.guid
    FROM roles JOIN visible_spaces seeing ON seeing.space_guid = roles.space_guid;

-- Oneself, and who belongs to an organization that one sees.
CREATE VIEW visible_users AS
    SELECT guid AS user_guid, guid AS seen_guid FROM users
    UNION
    SELECT seeing.user_guid, belonging.user_guid
    FROM visible_organizations seeing
    JOIN visible_organizations belonging ON belonging.organization_guid = seeing.organization_guid;

-- Quotas of spaces: all of an organization that one manages, and those that apply to spaces that one sees.
CREATE VIEW visible_space_quotas AS
    SELECT roles.user_guid, space_quotas.guid AS quota_guid
    FROM roles JOIN space_quotas ON space_quotas.organization_guid = roles.organization_guid
    WHERE roles.kind = 'organization_manager'
    UNION
    SELECT seeing.user_guid, spaces.quota_guid
    FROM visible_spaces seeing JOIN spaces ON spaces.guid = seeing.space_guid
    WHERE spaces.quota_guid IS NOT NULL;

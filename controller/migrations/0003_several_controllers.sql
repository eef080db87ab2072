-- What controllers that share a database must agree on: secrets that were generated once.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Which controller works at a build or handles an upload, and until when that counts without news.
ALTER TABLE builds ADD COLUMN owner TEXT;
ALTER TABLE builds ADD COLUMN lease_until TEXT;
-- How often another controller had to take it over.
ALTER TABLE builds ADD COLUMN takeovers BIGINT NOT NULL DEFAULT 0;
ALTER TABLE packages ADD COLUMN owner TEXT;
ALTER TABLE packages ADD COLUMN lease_until TEXT;

-- Which indices of an app's version a node has taken.
CREATE TABLE placements (
    app_guid TEXT NOT NULL REFERENCES apps (guid) ON DELETE CASCADE,
    idx      BIGINT NOT NULL,
    version  TEXT NOT NULL,
    at       TEXT NOT NULL,
    PRIMARY KEY (app_guid, idx)
);

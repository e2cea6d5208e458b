-- Functions get versions; those from before are '$LATEST'. A function's revision id is
-- its own now, and no longer that of its newest revision, which it begins with here.

ALTER TABLE functions RENAME TO functions_before;
DROP INDEX functions_by_serving_code;
DROP INDEX functions_by_pending_code;

CREATE TABLE functions (
    tenant_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    version     TEXT NOT NULL,      -- '$LATEST', or a number
    revision_id TEXT NOT NULL,      -- what an update expects
    body        TEXT NOT NULL,      -- the whole version as JSON
    PRIMARY KEY (tenant_id, name, version)
) WITHOUT ROWID;

-- Which version refers to which code, layers included, so that unused code is found.
CREATE TABLE code_uses (
    sha256    TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    name      TEXT NOT NULL,
    version   TEXT NOT NULL,
    PRIMARY KEY (sha256, tenant_id, name, version)
) WITHOUT ROWID;
CREATE INDEX code_uses_by_version ON code_uses (tenant_id, name, version);

INSERT INTO functions (tenant_id, name, version, revision_id, body)
    SELECT tenant_id, name, '$LATEST', revision_id,
           json_set(body, '$.version', '$LATEST', '$.revision_id', revision_id)
    FROM functions_before;
INSERT OR IGNORE INTO code_uses (sha256, tenant_id, name, version)
    SELECT serving_code, tenant_id, name, '$LATEST' FROM functions_before
    WHERE serving_code IS NOT NULL;
INSERT OR IGNORE INTO code_uses (sha256, tenant_id, name, version)
    SELECT pending_code, tenant_id, name, '$LATEST' FROM functions_before
    WHERE pending_code IS NOT NULL;
DROP TABLE functions_before;

-- The last number that was given to a version. It outlives the function: a number is
-- never used again, not even by another function of that name.
CREATE TABLE published (
    tenant_id    TEXT NOT NULL,
    name         TEXT NOT NULL,
    last_version INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) WITHOUT ROWID;

-- Small things: aliases, settings, policies, … An owner is what they go with.
CREATE TABLE documents (
    tenant_id TEXT NOT NULL,
    kind      TEXT NOT NULL,
    owner     TEXT NOT NULL,
    key       TEXT NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (kind, tenant_id, owner, key)
) WITHOUT ROWID;

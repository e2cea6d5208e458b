-- Times are microseconds since 1970, UTC. Sizes are bytes. Money is nowhere:
-- it is computed from sums of MB x ms, at display.

CREATE TABLE functions (
    tenant_id    TEXT NOT NULL,
    name         TEXT NOT NULL,
    revision_id  TEXT NOT NULL,     -- of the newest revision: what an update expects
    serving_code TEXT,              -- SHA-256, so that unused code can be found
    pending_code TEXT,
    body         TEXT NOT NULL,     -- the whole function as JSON
    PRIMARY KEY (tenant_id, name)
) WITHOUT ROWID;
CREATE INDEX functions_by_serving_code ON functions (serving_code);
CREATE INDEX functions_by_pending_code ON functions (pending_code);

CREATE TABLE tenants (
    id          TEXT PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    concurrency INTEGER NOT NULL,
    created     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE keys (
    id            TEXT PRIMARY KEY NOT NULL,
    tenant_id     TEXT NOT NULL,
    is_operator   INTEGER NOT NULL,
    created       INTEGER NOT NULL,
    sealed_secret BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX keys_by_tenant ON keys (tenant_id, id);

-- The ledger. Rows are only ever added.
CREATE TABLE records (
    position           INTEGER PRIMARY KEY,
    tenant_id          TEXT NOT NULL,
    function           TEXT NOT NULL,
    version            TEXT NOT NULL,
    request_id         TEXT NOT NULL,
    time               INTEGER NOT NULL,
    status             TEXT NOT NULL,
    error_type         TEXT NOT NULL,
    duration_ms        REAL NOT NULL,
    init_ms            REAL,
    wait_ms            REAL NOT NULL,
    billed_ms          INTEGER NOT NULL,
    memory_mb          INTEGER NOT NULL,
    max_memory_used_mb INTEGER NOT NULL,
    billed_mb_ms       INTEGER NOT NULL
);
CREATE INDEX records_by_tenant ON records (tenant_id);
CREATE INDEX records_by_function ON records (tenant_id, function);
CREATE INDEX records_by_time ON records (tenant_id, time);

-- Positions count up within one function and are never used again.
CREATE TABLE log (
    tenant_id  TEXT NOT NULL,
    function   TEXT NOT NULL,
    position   INTEGER NOT NULL,
    time       INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    source     TEXT NOT NULL,
    text       BLOB NOT NULL,
    PRIMARY KEY (tenant_id, function, position)
) WITHOUT ROWID;

CREATE TABLE log_kept (
    tenant_id     TEXT NOT NULL,
    function      TEXT NOT NULL,
    lines         INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, function)
) WITHOUT ROWID;

-- Events, from the moment they are accepted until nobody asks about them any more.

CREATE TABLE events (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which they came
    request_id TEXT NOT NULL,
    tenant_id  TEXT NOT NULL,
    function   TEXT NOT NULL,
    state      INTEGER NOT NULL,    -- 0 queued, 1 running, 2 delivering, 3 succeeded,
                                    -- 4 failed, 5 dead
    accepted   INTEGER NOT NULL,
    due        INTEGER NOT NULL,
    claimed    INTEGER,             -- when it last began to run
    ended      INTEGER,             -- when it left the queue
    size       INTEGER NOT NULL,
    body       TEXT NOT NULL        -- the rest as JSON
);
CREATE UNIQUE INDEX events_by_request ON events (tenant_id, request_id);
CREATE INDEX events_queued ON events (tenant_id, function, due, position)
    WHERE state = 0;
CREATE INDEX events_running ON events (position) WHERE state = 1;
CREATE INDEX events_ended ON events (tenant_id, state, ended) WHERE state >= 3;

-- Apart, because a row is written whole with each change of it.
CREATE TABLE event_payloads (
    position INTEGER PRIMARY KEY,
    payload  BLOB NOT NULL,
    response BLOB                   -- what the function last answered
);

-- Who is to be told of events that are over.
CREATE TABLE deliveries (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    position  INTEGER NOT NULL,     -- of the event
    tenant_id TEXT NOT NULL,
    kind      TEXT NOT NULL,
    target    TEXT NOT NULL,        -- an ARN
    due       INTEGER NOT NULL,
    since     INTEGER NOT NULL,
    tries     INTEGER NOT NULL,
    error     TEXT NOT NULL
);
CREATE INDEX deliveries_by_target ON deliveries (tenant_id, target, due, id);
CREATE INDEX deliveries_by_event ON deliveries (position);

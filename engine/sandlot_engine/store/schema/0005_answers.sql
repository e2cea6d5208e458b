-- First answers to invocations that had an idempotency key: their repeats get the same.

CREATE TABLE answers (
    position  INTEGER PRIMARY KEY,  -- the oldest has the lowest
    tenant_id TEXT NOT NULL,
    function  TEXT NOT NULL,
    key       BLOB NOT NULL,        -- a hash of the key, of whose it is and the qualifier
    request   BLOB NOT NULL,        -- a hash of what a repeat has to be the same in
    time      INTEGER NOT NULL,     -- microseconds since 1970, UTC
    size      INTEGER NOT NULL,     -- bytes of the body, which is the last column so that
    body      BLOB NOT NULL         -- nobody reads a large one to find its size
);
CREATE UNIQUE INDEX answers_by_key ON answers (tenant_id, function, key);
CREATE INDEX answers_by_tenant ON answers (tenant_id, position);
CREATE INDEX answers_by_time ON answers (time);

-- What there is of each tenant's, so that nobody has to count.
CREATE TABLE answer_totals (
    tenant_id TEXT PRIMARY KEY,
    answers   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER answer_added AFTER INSERT ON answers BEGIN
    INSERT INTO answer_totals (tenant_id, answers, bytes)
        VALUES (NEW.tenant_id, 1, NEW.size)
        ON CONFLICT (tenant_id) DO UPDATE
        SET answers = answers + 1, bytes = bytes + NEW.size;
END;
CREATE TRIGGER answer_gone AFTER DELETE ON answers BEGIN
    UPDATE answer_totals SET answers = answers - 1, bytes = bytes - OLD.size
        WHERE tenant_id = OLD.tenant_id;
    DELETE FROM answer_totals WHERE tenant_id = OLD.tenant_id AND answers = 0;
END;

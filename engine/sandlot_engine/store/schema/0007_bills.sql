-- What was billed in each hour, so that a bill need not read every record of its time.

CREATE TABLE bills (
    tenant_id    TEXT NOT NULL,
    hour         INTEGER NOT NULL,  -- since 1970, UTC
    function     TEXT NOT NULL,
    invocations  INTEGER NOT NULL,
    billed_ms    INTEGER NOT NULL,
    billed_mb_ms INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, hour, function)
) WITHOUT ROWID;

INSERT INTO bills (tenant_id, hour, function, invocations, billed_ms, billed_mb_ms)
    SELECT tenant_id, time / 3600000000, function, count(*), sum(billed_ms),
           sum(billed_mb_ms)
    FROM records GROUP BY tenant_id, time / 3600000000, function;

-- Whoever adds a record adds to its hour, in the same transaction.
CREATE TRIGGER record_added AFTER INSERT ON records BEGIN
    INSERT INTO bills
        (tenant_id, hour, function, invocations, billed_ms, billed_mb_ms)
        VALUES (NEW.tenant_id, NEW.time / 3600000000, NEW.function, 1,
                NEW.billed_ms, NEW.billed_mb_ms)
        ON CONFLICT (tenant_id, hour, function) DO UPDATE
        SET invocations = invocations + 1,
            billed_ms = billed_ms + NEW.billed_ms,
            billed_mb_ms = billed_mb_ms + NEW.billed_mb_ms;
END;

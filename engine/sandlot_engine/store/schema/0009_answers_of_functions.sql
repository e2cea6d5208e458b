-- What there is of each function's first answers: where a tenant has too many, those of
-- the function that has the most go, so that who may call one pushes out no other's.

CREATE TABLE answer_function_totals (
    tenant_id TEXT NOT NULL,
    function  TEXT NOT NULL,
    answers   INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, function)
) WITHOUT ROWID;

INSERT INTO answer_function_totals (tenant_id, function, answers, bytes)
    SELECT tenant_id, function, count(*), sum(size) FROM answers
    GROUP BY tenant_id, function;

DROP INDEX answers_by_tenant;
CREATE INDEX answers_by_function ON answers (tenant_id, function, position);

CREATE TRIGGER function_answer_added AFTER INSERT ON answers BEGIN
    INSERT INTO answer_function_totals (tenant_id, function, answers, bytes)
        VALUES (NEW.tenant_id, NEW.function, 1, NEW.size)
        ON CONFLICT (tenant_id, function) DO UPDATE
        SET answers = answers + 1, bytes = bytes + NEW.size;
END;
CREATE TRIGGER function_answer_gone AFTER DELETE ON answers BEGIN
    UPDATE answer_function_totals SET answers = answers - 1, bytes = bytes - OLD.size
        WHERE tenant_id = OLD.tenant_id AND function = OLD.function;
    DELETE FROM answer_function_totals
        WHERE tenant_id = OLD.tenant_id AND function = OLD.function AND answers = 0;
END;

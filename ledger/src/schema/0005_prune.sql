-- Pruning (kind 11). A pruning is an entry whose body begins with the format byte and field 50: the sequence of the last
-- entry that goes. What is about a request (kinds 2 to 7) may go once such an entry says so; nothing else ever goes.
CREATE INDEX entries_prune ON entries (sequence) WHERE kind = 11;

-- The serials of decisions that went: a serial is decided on once, for ever.
CREATE TABLE removed (
    sequence INTEGER PRIMARY KEY,
    serial   BLOB    NOT NULL UNIQUE
) STRICT;

DROP TRIGGER entries_delete;
CREATE TRIGGER entries_delete BEFORE DELETE ON entries
    WHEN OLD.kind NOT IN (2, 3, 4, 5, 6, 7) OR NOT EXISTS (
        SELECT 1 FROM entries p WHERE p.kind = 11
        AND substr(p.body, 1, 6) = x'013200000008' AND substr(p.body, 7, 8) >= unhex(printf('%016X', OLD.sequence)))
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
DROP TRIGGER lookups_delete;
CREATE TRIGGER lookups_delete BEFORE DELETE ON lookups
    WHEN EXISTS (SELECT 1 FROM entries WHERE sequence = OLD.sequence)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
DROP TRIGGER entries_serial_once;
CREATE TRIGGER entries_serial_once BEFORE INSERT ON entries
    WHEN NEW.kind = 2 AND (EXISTS (SELECT 1 FROM entries WHERE kind = 2 AND serial = NEW.serial)
        OR EXISTS (SELECT 1 FROM removed WHERE serial = NEW.serial))
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: the serial is there'); END;

CREATE TRIGGER removed_update BEFORE UPDATE ON removed BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER removed_delete BEFORE DELETE ON removed BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER removed_insert BEFORE INSERT ON removed
    WHEN EXISTS (SELECT 1 FROM removed WHERE sequence = NEW.sequence OR serial = NEW.serial)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

-- INSERT OR REPLACE takes rows out without asking the triggers on DELETE: what would be replaced is refused before.
CREATE TRIGGER entries_serial_once BEFORE INSERT ON entries
    WHEN NEW.kind = 2 AND EXISTS (SELECT 1 FROM entries WHERE kind = 2 AND serial = NEW.serial)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: the serial is there'); END;
CREATE TRIGGER entries_settled_once BEFORE INSERT ON entries
    WHEN NEW.refers IS NOT NULL AND EXISTS (SELECT 1 FROM entries WHERE refers = NEW.refers)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: the decision is settled'); END;

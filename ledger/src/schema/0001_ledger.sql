CREATE TABLE instance (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    id         BLOB    NOT NULL CHECK (length(id) = 16),
    created_at INTEGER NOT NULL,
    genesis    BLOB    NOT NULL CHECK (length(genesis) = 32)
) STRICT;

CREATE TABLE entries (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    settled     INTEGER NOT NULL,
    refers      INTEGER,
    serial      BLOB,
    previous    BLOB    NOT NULL CHECK (length(previous) = 32),
    hash        BLOB    NOT NULL CHECK (length(hash) = 32),
    body        BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX entries_serial ON entries (serial) WHERE kind = 2;
CREATE UNIQUE INDEX entries_refers ON entries (refers) WHERE refers IS NOT NULL;
CREATE INDEX entries_recorded_at ON entries (recorded_at);
CREATE INDEX entries_start ON entries (sequence) WHERE kind = 1;

CREATE TABLE lookups (
    tag      INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (tag, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE blobs (
    sequence INTEGER PRIMARY KEY,
    digest   BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
    kind     INTEGER NOT NULL,
    bytes    BLOB    NOT NULL
) STRICT;

CREATE TRIGGER instance_update BEFORE UPDATE ON instance BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER instance_delete BEFORE DELETE ON instance BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER instance_insert BEFORE INSERT ON instance WHEN EXISTS (SELECT 1 FROM instance)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_insert BEFORE INSERT ON entries
    WHEN NEW.sequence <> (SELECT coalesce(max(sequence), 0) + 1 FROM entries)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only and has no gaps'); END;
CREATE TRIGGER lookups_update BEFORE UPDATE ON lookups BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER lookups_delete BEFORE DELETE ON lookups BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER blobs_update BEFORE UPDATE ON blobs BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER blobs_delete BEFORE DELETE ON blobs BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER blobs_insert BEFORE INSERT ON blobs
    WHEN EXISTS (SELECT 1 FROM blobs WHERE sequence = NEW.sequence OR digest = NEW.digest)
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

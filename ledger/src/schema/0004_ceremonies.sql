-- A start of the gate reads which keys came from a ceremony.
CREATE INDEX entries_ceremony ON entries (sequence) WHERE kind = 10;

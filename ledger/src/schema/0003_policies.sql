-- A start of the gate reads every change of what decides.
CREATE INDEX entries_policy ON entries (sequence) WHERE kind = 9;

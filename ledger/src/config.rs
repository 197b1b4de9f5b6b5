//! Bounds of the ledger.

/// What the ledger lets in. The defaults fit one gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerConfig {
    /// Bytes of one record.
    pub max_record_bytes: usize,
    /// Bytes of one blob.
    pub max_blob_bytes: usize,
    /// Decisions, denials and refusals in one second.
    pub max_records_per_second: u32,
    /// Bytes that stay free on the disk: below, only what settles a decision is written.
    pub disk_reserve_bytes: u64,
    /// Entries that may wait for the writer.
    pub queue: usize,
    /// Entries in one transaction, at most 64.
    pub max_batch: usize,
    /// Decisions that may wait for their certificate.
    pub max_pending: usize,
    /// Entries that a pruning takes out in one transaction.
    pub prune_batch: usize,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            max_record_bytes: 64 * 1024,
            max_blob_bytes: 64 * 1024 * 1024,
            max_records_per_second: 20_000,
            disk_reserve_bytes: 64 * 1024 * 1024,
            queue: 4096,
            max_batch: 64,
            max_pending: 16_384,
            prune_batch: 512,
        }
    }
}

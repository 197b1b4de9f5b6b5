//! What one policy may use for one decision.

use serde::{Deserialize, Serialize};

/// Limits of one policy. They decide verdicts (a policy that reaches one
/// denies), so they belong to the record of a decision.
///
/// The fields stand in the order of their names, so that plain JSON of them is canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Fuel for one call of `decide`; instantiation is not counted. A decision
    /// of the baseline policy takes some tens of thousands.
    pub fuel: u64,
    /// Bytes that one call may hand to the host: the verdict, or one log line.
    pub hostcall_bytes: u64,
    /// Bytes of all log lines of one call together.
    pub log_bytes: u32,
    /// Log lines of one call.
    pub log_lines: u32,
    /// Linear memory of one instance, in bytes; at most
    /// [`crate::EngineSettings::max_memory_bytes`].
    pub memory_bytes: u64,
    /// Elements of one table.
    pub table_elements: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 10_000_000,
            memory_bytes: 16 << 20,
            table_elements: 10_000,
            hostcall_bytes: 64 << 10,
            log_lines: 32,
            log_bytes: 4 << 10,
        }
    }
}

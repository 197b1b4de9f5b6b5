//! The store's own data: the limits of one instance, and its log.
//!
//! What a guest may not have is refused in a repeatable way (a failed
//! `memory.grow`, a stopped call). What the *system* could not give is told
//! apart from it, because it must not look like a verdict.

use wasmtime::ResourceLimiter;

use crate::{
    Limits, LogLevel, LogLine,
    bindings::{PolicyImports, sealwright::policy::types as wit},
    decision::tame,
    engine::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLES},
};

/// Everything that the host keeps for one instance.
pub(crate) struct Guard {
    memory_bytes: u64,
    table_elements: u64,
    log_lines: usize,
    log_bytes: usize,
    /// Lines so far.
    pub(crate) log: Vec<LogLine>,
    /// Linear memory of all memories so far, in bytes.
    memory_used: u64,
}

/// An error that the host raises inside of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostFault {
    #[error("the log budget is used up")]
    Log,
    #[error("the system refused memory")]
    Memory,
}

impl Guard {
    pub(crate) fn new(limits: &Limits) -> Self {
        let count = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
        Self {
            memory_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            log_lines: count(limits.log_lines),
            log_bytes: count(limits.log_bytes),
            log: Vec::new(),
            memory_used: 0,
        }
    }
}

/// Whether the operating system is the cause. wasmtime hands on the error of
/// the call, which is a number of rustix for mappings.
pub(crate) fn from_the_system(error: &wasmtime::Error) -> bool {
    error.is::<rustix::io::Errno>() || error.is::<std::io::Error>()
}

impl PolicyImports for Guard {
    fn log(&mut self, level: wit::Level, message: String) -> wasmtime::Result<()> {
        // The budget counts what the guest sent, so that it does not depend on
        // how the host shows it.
        if self.log.len() >= self.log_lines || message.len() > self.log_bytes {
            return Err(wasmtime::Error::new(HostFault::Log));
        }
        self.log_bytes -= message.len();
        let level = match level {
            wit::Level::Debug => LogLevel::Debug,
            wit::Level::Info => LogLevel::Info,
            wit::Level::Warn => LogLevel::Warn,
            wit::Level::Error => LogLevel::Error,
        };
        let message = tame(&message, message.len());
        self.log.push(LogLine { level, message });
        Ok(())
    }
}

impl wit::Host for Guard {}

impl ResourceLimiter for Guard {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        // The limit is for all memories of the component together.
        let more = desired.saturating_sub(current) as u64;
        let total = self.memory_used.saturating_add(more);
        if total > self.memory_bytes {
            return Ok(false);
        }
        self.memory_used = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // Growth beyond what the memory's own type allows is the guest's affair,
        // and the guest sees -1.
        if from_the_system(&error) {
            tracing::error!(%error, "the system refused memory for a policy");
            return Err(wasmtime::Error::new(HostFault::Memory));
        }
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired as u64 <= self.table_elements)
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES as usize + 1
    }

    fn tables(&self) -> usize {
        MAX_TABLES as usize
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_system_from_the_guest() {
        let mut guard = Guard::new(&Limits::default());
        let system = wasmtime::Error::new(rustix::io::Errno::NOMEM).context("growing");
        let fault = guard.memory_grow_failed(system).unwrap_err();
        assert_eq!(fault.downcast_ref::<HostFault>(), Some(&HostFault::Memory));
        let guest = wasmtime::Error::msg("memory growth exceeds memory type's limits");
        assert!(guard.memory_grow_failed(guest).is_ok());
    }

    #[test]
    fn the_memory_limit_is_for_all_memories_together() {
        let mut guard = Guard::new(&Limits {
            memory_bytes: 100,
            ..Limits::default()
        });
        assert!(guard.memory_growing(0, 60, None).unwrap());
        assert!(!guard.memory_growing(0, 41, None).unwrap());
        assert!(guard.memory_growing(0, 40, None).unwrap());
        assert!(!guard.memory_growing(60, 61, None).unwrap());
    }

    #[test]
    fn a_memory_that_would_pass_its_own_maximum_takes_nothing() {
        let mut guard = Guard::new(&Limits::default());
        assert!(!guard.memory_growing(0, 61, Some(60)).unwrap());
        assert_eq!(guard.memory_used, 0);
    }
}

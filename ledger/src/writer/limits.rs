//! What is let in: so many records a second, and none when the disk is nearly full.

use std::path::{Path, PathBuf};

use tokio::time::Instant;

use crate::error::Error;

/// A token bucket that holds one second's worth.
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_second: u32,
    /// Millionths of a record.
    tokens: u64,
    refilled: Instant,
}

const ONE: u64 = 1_000_000;

impl RateLimit {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self {
            per_second,
            tokens: u64::from(per_second) * ONE,
            refilled: now,
        }
    }

    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Error> {
        let elapsed = now.saturating_duration_since(self.refilled);
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        if micros > 0 {
            let full = u64::from(self.per_second) * ONE;
            self.tokens = self
                .tokens
                .saturating_add(micros.saturating_mul(u64::from(self.per_second)))
                .min(full);
            self.refilled = now;
        }
        match self.tokens.checked_sub(ONE) {
            Some(left) => {
                self.tokens = left;
                Ok(())
            }
            None => Err(Error::RateLimited {
                per_second: self.per_second,
            }),
        }
    }
}

/// The bytes that are kept free on the ledger's disk.
#[derive(Debug)]
pub(crate) struct DiskReserve {
    folder: PathBuf,
    reserve: u64,
}

impl DiskReserve {
    pub(crate) fn new(ledger: &Path, reserve: u64) -> Self {
        let folder = match ledger.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        Self { folder, reserve }
    }

    /// Whether less than the reserve is left. A disk that cannot be asked is not held against anyone: the write tells.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else {
            return Ok(());
        };
        let available = disk.f_bavail.saturating_mul(disk.f_frsize);
        if available < self.reserve {
            return Err(Error::DiskReserve {
                available,
                reserve: self.reserve,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_holds_so_many_and_then_fills_again() {
        let start = Instant::now();
        let mut limit = RateLimit::new(3, start);
        for _ in 0..3 {
            limit.take(start).unwrap();
        }
        assert!(matches!(
            limit.take(start),
            Err(Error::RateLimited { per_second: 3 })
        ));
        limit.take(start + Duration::from_millis(334)).unwrap();
        assert!(limit.take(start + Duration::from_millis(335)).is_err());
        for _ in 0..3 {
            limit.take(start + Duration::from_secs(3600)).unwrap();
        }
        assert!(limit.take(start + Duration::from_secs(3600)).is_err());
    }

    #[test]
    fn the_reserve_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        DiskReserve::new(&ledger, 0).check().unwrap();
        assert!(matches!(
            DiskReserve::new(&ledger, u64::MAX).check(),
            Err(Error::DiskReserve { .. })
        ));
    }
}

//! Pruning the ledger of a home that no gate holds.
//!
//! The ledger has one writer, and a gate is it for as long as it runs. So a pruning takes the gate's own lock of the home
//! and holds it to its end: a gate that is started meanwhile says that the home is held. What may go is the ledger's to
//! judge ([`PrunePlan`]); what is added here is how long a certificate is needed, which the ledger does not read.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sealwright_identity::{SharedClock, Timestamp};
use sealwright_ledger::{
    Error as LedgerError, Ledger, LedgerConfig, LedgerReader, Progress, PruneError, PrunePlan, PruneReport,
    PruneWish, ReadError,
};
use sealwright_x509::certificate::validity_of;

use super::home::{Home, HomeError, ledger_path};
use super::policies;
use super::start::os_user;

/// A certificate is needed for so long after its end: clocks differ.
const GRACE: Duration = Duration::from_secs(10 * 60);

/// What a pruning tells of its progress.
pub type OnProgress<'p> = &'p mut (dyn FnMut(Progress) + Send);

/// Why a home's ledger is not pruned.
#[derive(Debug, thiserror::Error)]
pub enum PruningError {
    /// A gate runs there.
    #[error("a ledger is pruned while no signer runs")]
    Home(#[from] HomeError),
    /// There is no ledger, or it cannot be read.
    #[error("the ledger cannot be read")]
    Read(#[from] ReadError),
    /// It may not be.
    #[error("nothing is pruned")]
    Refused(#[from] PruneError),
    /// It could not be written. What was planned can be done again.
    #[error("the pruning did not come to its end; run it again")]
    Ledger(#[from] LedgerError),
}

/// Looks what would go and whether it may. Changes nothing, and works beside a gate.
///
/// # Errors
/// What is in the way.
pub async fn plan(
    reader: &LedgerReader,
    before: Timestamp,
    exports: &[PathBuf],
    clock: &SharedClock,
    progress: OnProgress<'_>,
) -> Result<PrunePlan, PruneError> {
    let counted_after = policies::counted_after(reader).await.map_err(|_sets| {
        PruneError::Damaged("its policy sets do not hold; the signer says at its start why")
    })?;
    let wish = PruneWish {
        before,
        now: clock.now(),
        counted_after,
        exports,
        by: os_user(),
        valid_until: &valid_until,
    };
    reader.plan_pruning(&wish, progress).await
}

fn valid_until(tbs: &[u8]) -> Option<Timestamp> {
    let validity = validity_of(tbs).ok()?;
    Some(validity.not_after().saturating_add(GRACE))
}

/// A home that is held for a pruning.
#[derive(Debug)]
pub struct Pruner {
    home: Home,
    reader: LedgerReader,
    clock: SharedClock,
}

impl Pruner {
    /// Takes the home's lock. No gate can start until it is dropped.
    ///
    /// # Errors
    /// When there is no ledger, or a gate holds the home.
    pub async fn hold(home: &Path, clock: SharedClock) -> Result<Self, PruningError> {
        // First, so that no folder is made where none was.
        let reader = LedgerReader::open(&ledger_path(home)).await?;
        let home = Home::lock(home).await?;
        Ok(Self { home, reader, clock })
    }

    /// As [`plan`].
    ///
    /// # Errors
    /// What is in the way.
    pub async fn plan(
        &self,
        before: Timestamp,
        exports: &[PathBuf],
        progress: OnProgress<'_>,
    ) -> Result<PrunePlan, PruneError> {
        plan(&self.reader, before, exports, &self.clock, progress).await
    }

    /// Does what was planned. Killed at any moment, it can be planned and done again.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn prune(self, plan: PrunePlan, progress: OnProgress<'_>) -> Result<PruneReport, PruningError> {
        let config = LedgerConfig {
            // What is kept free is there for this, too: it makes room.
            disk_reserve_bytes: 0,
            ..LedgerConfig::default()
        };
        let ledger = Ledger::open(&self.home.ledger(), config, Arc::clone(&self.clock)).await?;
        let report = ledger.prune(plan, progress).await;
        ledger.close().await;
        self.reader.close().await;
        Ok(report?)
    }
}

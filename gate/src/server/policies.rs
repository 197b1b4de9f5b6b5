//! What decides: policy sets that people agreed on.
//!
//! The gate holds them. It takes statements from anybody who may talk to it and believes none: a set takes effect when
//! the quorum of the roster in force signed it, over the set in force, in its time (`sealwright_statement::policy`).
//! Each change is an entry of the ledger; at a start all of them are judged again ([`load`]), and a ledger that was
//! restored from an older copy is noticed ([`high_water`]).
//!
//! Requests meet [`InForce`], and hold it until their record is on disk: in the ledger every decision stands after the
//! entry of the set that it was made under, and before that of the next.
//!
//! In a rehearsal nobody has to agree, and the configuration's policies are a set ([`seed`]) until one comes by statement.

mod canaries;
mod enact;
mod error;
mod high_water;
mod history;
mod in_force;
mod load;
mod requests;
mod seed;
mod staging;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sealwright_identity::{Digest, SharedClock, Timestamp};
use sealwright_ledger::{Ledger, LedgerReader};
use sealwright_statement::policy::{CanaryCounts, Revision, Roster, deployment_id};
use sealwright_statement::{Envelope, Sealed, Signed};
use tokio::sync::{Mutex, OwnedRwLockReadGuard, RwLock};
use tracing::{error, info, warn};

pub(super) use self::canaries::Tally;
use self::canaries::Uncounted;
pub use self::error::PoliciesError;
use self::high_water::HighWater;
use self::history::{Brought, History, Surroundings};
pub use self::in_force::NothingInForce;
pub(super) use self::in_force::{InForce, Required};
pub(super) use self::requests::RequestError;
use self::seed::Seed;
use self::staging::Staging;
use crate::issuers::Issuers;

/// What decides, as a request found it; no change takes effect while it is held.
pub(super) type Held = OwnedRwLockReadGuard<InForce>;

/// The entry after which records are counted at a start: the set in force stops canaries by them.
pub(super) async fn counted_after(reader: &LedgerReader) -> Result<Option<u64>, PoliciesError> {
    let history = load::history(reader).await?;
    let active = history.as_ref().and_then(History::active);
    Ok(active
        .filter(|active| active.counters.is_some())
        .map(|active| active.sequence))
}

/// For the times of files.
fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + at.saturating_since(Timestamp::from_micros(0))
}

/// A file above this is no roster.
const MAX_ROSTER_BYTES: u64 = 1 << 20;

/// What a start says of policy sets.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// The file of the first roster.
    pub(super) roster: Option<PathBuf>,
    /// The first roster by the ceremony of the issuers' keys.
    pub(super) ceremony: Option<Signed<Roster>>,
    /// Every issuer is marked as a rehearsal.
    pub(super) rehearsal: bool,
}

/// The policy sets of a home.
#[derive(Debug)]
pub(super) struct Policies {
    ledger: Ledger,
    clock: SharedClock,
    deployment: Digest,
    rehearsal: bool,
    mark: HighWater,
    staging: Staging,
    /// One change at a time.
    history: Mutex<History>,
    in_force: Arc<RwLock<InForce>>,
    /// The records of the set in force that were there at the start, until somebody counts them.
    uncounted: parking_lot::Mutex<Option<Uncounted>>,
    /// Why they cannot be counted.
    not_counted: parking_lot::Mutex<Option<String>>,
    /// The blob that was read last: it is asked for in pieces.
    fetched: parking_lot::Mutex<Option<(Digest, Arc<[u8]>)>>,
}

impl Policies {
    /// Reads and judges what the ledger has; begins where it has nothing.
    pub(super) async fn open(
        ledger: Ledger,
        home: &Path,
        setup: &Setup,
        issuers: &Issuers,
        clock: SharedClock,
    ) -> Result<Self, PoliciesError> {
        let mark = HighWater::of(home);
        let history = load::history(ledger.reader()).await?;
        mark.check(history.as_ref().map(History::standing))?;
        let deployment = deployment_of(issuers);
        let history = match history {
            Some(history) => history,
            None => enact::begin(&ledger, first_roster(setup).await?, clock.now()).await?,
        };
        agrees(setup, &history).await?;
        let head = ledger.reader().head().await?.sequence;
        let policies = Self {
            uncounted: parking_lot::Mutex::new(Uncounted::of(&history, head)),
            not_counted: parking_lot::Mutex::default(),
            clock,
            deployment,
            rehearsal: setup.rehearsal,
            mark,
            staging: Staging::of(home),
            in_force: Arc::new(RwLock::new(history.in_force(deployment))),
            history: Mutex::new(history),
            ledger,
            fetched: parking_lot::Mutex::default(),
        };
        policies.forget_old().await;
        policies.seed(issuers).await?;
        let history = policies.history.lock().await;
        policies.raise_mark(&history);
        policies.say(&history);
        drop(history);
        Ok(policies)
    }

    async fn forget_old(&self) {
        let history = self.history.lock().await;
        let now = self.clock.now();
        let anybody = history.roster().threshold == 0;
        let needed = match staging::needed(&self.staging, history.number(), now, anybody) {
            Ok(needed) => needed,
            Err(error) => {
                let error = sealwright_runtime::Chain(&error);
                return warn!(%error, "what was uploaded long ago is not forgotten");
            }
        };
        let forgotten = self.staging.forget_old(system_time(now), &needed);
        if forgotten > 0 {
            info!(
                files = forgotten,
                "what was uploaded long ago is forgotten; no set that was signed and can still take effect needs it"
            );
        }
    }

    /// What the policies of a configuration come to in a rehearsal, without a ledger.
    pub(super) fn rehearse(issuers: &Issuers, now: Timestamp) -> Result<InForce, PoliciesError> {
        let deployment = deployment_of(issuers);
        let mut history = History::begin(Sealed::new(Roster::rehearsal())?);
        let seed = Seed::of(issuers)?;
        let set = seed.set(deployment, None, history.roster().digest(), now)?;
        let brought = Brought {
            revisions: seed.revisions,
            roster: None,
        };
        let around = Surroundings {
            deployment,
            rehearsal: true,
            now,
        };
        let failed = |source| PoliciesError::SeedQuorum(Box::new(source));
        let approved = history.judge(&set, &brought, around).map_err(failed)?;
        history.apply(&approved, &brought, now, true).map_err(failed)?;
        Ok(history.in_force(deployment))
    }

    /// What decides now, held until it is dropped.
    pub(super) async fn hold(&self) -> Held {
        Arc::clone(&self.in_force).read_owned().await
    }

    /// What speaks against issuing, and the number of the set in force.
    pub(super) async fn standing(&self) -> (u64, Option<NothingInForce>) {
        let in_force = self.in_force.read().await;
        (in_force.number(), in_force.trouble())
    }

    /// What the bounded canaries of the set in force come to, by policy.
    pub(super) async fn canaries(&self) -> Vec<(String, CanaryCounts)> {
        self.in_force.read().await.canaries()
    }

    /// Makes the policies of a rehearsal's configuration the set in force, if they are not.
    pub(super) async fn seed(&self, issuers: &Issuers) -> Result<(), PoliciesError> {
        if !self.rehearsal {
            return Ok(());
        }
        let mut history = self.history.lock().await;
        if history.roster().threshold > 0 && history.number() == 0 {
            // Nothing was ever made from a configuration here, and nothing will be.
            return if issuers.policies().is_empty() {
                Ok(())
            } else {
                Err(PoliciesError::PeopleMustAgree(history.roster().threshold))
            };
        }
        if let Some(active) = history.active().filter(|active| !active.seeded) {
            if issuers.policies().is_empty() {
                return Ok(());
            }
            return Err(PoliciesError::InConfiguration(active.set.number));
        }
        let seed = Seed::of(issuers)?;
        let same = |set: &sealwright_statement::policy::Set| {
            set.deployment == self.deployment && set.entries == seed.entries
        };
        if history.active().is_some_and(|active| same(&active.set)) {
            return Ok(());
        }
        let previous = history.active().map(|active| &active.set);
        let set = seed.set(
            self.deployment,
            previous,
            history.roster().digest(),
            self.clock.now(),
        )?;
        let new = |revision: &Signed<Revision>| !history.knows(&revision.statement.digest());
        let brought = Brought {
            revisions: seed.revisions.into_iter().filter(new).collect(),
            roster: None,
        };
        let approved = history
            .judge(&set, &brought, self.surroundings())
            .map_err(|source| PoliciesError::SeedQuorum(Box::new(source)))?;
        self.take_effect(&mut history, &approved, &brought, true).await
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            deployment: self.deployment,
            rehearsal: self.rehearsal,
            now: self.clock.now(),
        }
    }

    /// What took effect stays so if this fails: it is only that a restored ledger would not be noticed.
    fn raise_mark(&self, history: &History) {
        if let Err(error) = self.mark.raise(history.standing()) {
            error!(
                error = %sealwright_runtime::Chain(&error),
                "the mark of the policy sets could not be written; an older ledger would not be noticed"
            );
        }
    }

    fn say(&self, history: &History) {
        let number = history.number();
        let approvals = history.active().map_or(0, |active| active.approvals);
        if history.roster().threshold == 0 {
            warn!(
                number,
                approvals = "none",
                "this is a rehearsal: nobody has to agree to its policies"
            );
        } else if number == 0 {
            warn!("no policy set is in force: nothing is issued until one was approved and activated");
        } else {
            info!(number, approvals, "a policy set is in force");
        }
    }
}

/// Names and keys.
fn deployment_of(issuers: &Issuers) -> Digest {
    deployment_id(
        issuers
            .iter()
            .map(|issuer| (&*issuer.name, issuer.chain.key_digest())),
    )
}

/// The roster to begin with.
async fn first_roster(setup: &Setup) -> Result<Signed<Roster>, PoliciesError> {
    let path = match (&setup.ceremony, setup.roster.as_deref()) {
        (Some(roster), None) => return Ok(roster.clone()),
        (Some(roster), Some(path)) => {
            let configured = read_roster(path).await?.statement.digest();
            if configured == roster.statement.digest() {
                return Ok(roster.clone());
            }
            return Err(PoliciesError::CeremonyRoster {
                path: path.to_owned(),
                configured,
                ceremony: roster.statement.digest(),
            });
        }
        (None, Some(path)) => path,
        (None, None) if setup.rehearsal => {
            return Ok(Signed::unsigned(Sealed::new(Roster::rehearsal())?));
        }
        (None, None) => return Err(PoliciesError::NoRoster),
    };
    let roster = read_roster(path).await?;
    if roster.statement.threshold == 0 {
        return Err(PoliciesError::Threshold {
            path: path.to_owned(),
        });
    }
    Ok(roster)
}

async fn read_roster(path: &Path) -> Result<Signed<Roster>, PoliciesError> {
    use tokio::io::AsyncReadExt;
    let unreadable = |source| PoliciesError::File {
        path: path.to_owned(),
        source,
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut text = String::new();
    let mut file = file.take(MAX_ROSTER_BYTES);
    file.read_to_string(&mut text).await.map_err(unreadable)?;
    let opened = Envelope::parse(&text).and_then(Envelope::open);
    opened.map_err(|source| PoliciesError::Roster {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// Whether the configuration agrees with what is in force.
async fn agrees(setup: &Setup, history: &History) -> Result<(), PoliciesError> {
    let in_force = history.roster();
    // The other way about, the ledger says that people must agree, whatever the configuration's mark.
    if in_force.threshold == 0 && !setup.rehearsal {
        return Err(PoliciesError::WasRehearsal);
    }
    let Some(path) = &setup.roster else {
        return Ok(());
    };
    let configured = read_roster(path).await?.statement.digest();
    if configured == in_force.digest() {
        return Ok(());
    }
    Err(PoliciesError::RosterDiffers {
        path: path.clone(),
        configured,
        in_force: in_force.digest(),
    })
}

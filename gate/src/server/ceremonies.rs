//! Whose ceremony made the issuers' keys: without a trail, no key signs.
//!
//! Where the ledger has no record of the ceremony of an issuer's key, the gate verifies the transcript that the
//! configuration names, by itself and with public data alone: that it holds, that it is by a roster that the
//! configuration vouches for, that it made this key and this chain. Then it is recorded, the transcript's files with it,
//! and from then on the record counts: at each start it is looked at again ([`recorded`]), and another transcript in the
//! folder changes nothing.
//!
//! An issuer without a trail does not sign, and says which key of the configuration would help; the others go on. Only
//! this module makes a [`Trail`], and no place at a key is had without one.

mod error;
mod recorded;
mod transcript;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use sealwright_identity::Digest;
use sealwright_ledger::{BlobKind, CeremonyEntry, Ledger};
use sealwright_statement::Signed;
use sealwright_statement::policy::Roster;
use tokio::sync::Mutex;
use tracing::{error, info, warn};

pub use self::error::CeremoniesError;
pub(super) use self::error::NoTrail;
use self::recorded::Recorded;
use super::refused::Refused;
use crate::config::CeremonyConfig;
use crate::issuers::{Issuer, Issuers};

/// In the details of a start, beside [`CeremonyEntry::NONE`].
const REFUSED: &str = "refused";

/// That a key may sign: its ceremony is in the ledger, or everybody is told that there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trail {
    key: Digest,
    /// None where the configuration says so.
    transcript: Option<Digest>,
}

impl Trail {
    /// The key (SHA-256 of its SPKI).
    pub(super) const fn key(&self) -> Digest {
        self.key
    }
}

/// What was found for an issuer.
type Found = Result<Trail, Arc<NoTrail>>;

/// The trails of the issuers' keys.
#[derive(Debug)]
pub(super) struct Ceremonies {
    ledger: Ledger,
    rosters: Vec<Digest>,
    /// By key, what the ledger has; one change at a time.
    recorded: Mutex<BTreeMap<Digest, Result<Recorded, NoTrail>>>,
    trails: RwLock<BTreeMap<Arc<str>, Found>>,
}

impl Ceremonies {
    /// Looks at what the ledger has, and brings the issuers' trails up to date.
    pub(super) async fn open(
        ledger: Ledger,
        rosters: &[Digest],
        issuers: &Issuers,
    ) -> Result<Self, CeremoniesError> {
        let recorded = recorded::read(ledger.reader()).await?;
        let ceremonies = Self {
            ledger,
            rosters: rosters.to_vec(),
            recorded: Mutex::new(recorded),
            trails: RwLock::default(),
        };
        ceremonies.establish(issuers).await?;
        Ok(ceremonies)
    }

    /// Verifies and records what is not in the ledger yet, and finds out which keys may sign.
    pub(super) async fn establish(&self, issuers: &Issuers) -> Result<(), CeremoniesError> {
        let mut recorded = self.recorded.lock().await;
        let mut refused = BTreeMap::new();
        let approvers = self.approvers_of(issuers, &recorded).next();
        let mut people = approvers.map(|roster| roster.statement.digest());
        for issuer in issuers.iter() {
            if let Some(CeremonyConfig::Transcript(folder)) = &issuer.ceremony
                && !recorded.contains_key(&issuer.chain.key_digest())
            {
                let verified = transcript::verify(issuer, folder, &self.rosters).await?;
                match verified.and_then(|verified| agrees(issuer, folder, verified, people)) {
                    Ok(verified) => {
                        let entry = self.record(verified).await?;
                        if people.is_none() {
                            people = entry.approvers.as_ref().map(|roster| roster.statement.digest());
                        }
                        recorded.insert(issuer.chain.key_digest(), Ok(entry));
                    }
                    Err(no) => {
                        refused.insert(Arc::clone(&issuer.name), no);
                    }
                }
            }
        }
        let mut trails = BTreeMap::new();
        for issuer in issuers.iter() {
            let trail = match (
                recorded.get(&issuer.chain.key_digest()),
                refused.remove(&issuer.name),
            ) {
                (Some(recorded), _) => self.by_record(issuer, recorded),
                (None, Some(no)) => Err(no),
                (None, None) => without(issuer),
            };
            say(issuer, &trail);
            trails.insert(Arc::clone(&issuer.name), trail.map_err(Arc::new));
        }
        *self.trails.write() = trails;
        Ok(())
    }

    /// That the issuer's key may sign.
    pub(super) fn trail(&self, issuer: &Issuer) -> Result<Trail, Refused> {
        match self.trails.read().get(&issuer.name) {
            Some(Ok(trail)) => Ok(trail.clone()),
            Some(Err(no)) => Err(Refused::Unavailable(sealwright_runtime::Chain(&**no).to_string())),
            None => Err(Refused::Internal(
                "the issuer's ceremony was not looked at".into(),
            )),
        }
    }

    /// The first roster of those who approve policies, as the ceremonies of these issuers' keys have it.
    pub(super) async fn approvers(
        &self,
        issuers: &Issuers,
    ) -> Result<Option<Signed<Roster>>, CeremoniesError> {
        let recorded = self.recorded.lock().await;
        let mut all = self.approvers_of(issuers, &recorded);
        let Some(first) = all.next() else { return Ok(None) };
        let named = first.statement.digest();
        match all
            .map(|roster| roster.statement.digest())
            .find(|other| *other != named)
        {
            Some(other) => Err(CeremoniesError::Approvers(named, other)),
            None => Ok(Some(first.clone())),
        }
    }

    /// What the ceremonies of these issuers' keys have. What does not let a key sign says nothing of people either.
    fn approvers_of<'r>(
        &'r self,
        issuers: &'r Issuers,
        recorded: &'r BTreeMap<Digest, Result<Recorded, NoTrail>>,
    ) -> impl Iterator<Item = &'r Signed<Roster>> {
        issuers.iter().filter_map(|issuer| {
            let recorded = recorded.get(&issuer.chain.key_digest())?;
            self.vouched(issuer, recorded).ok()?.approvers.as_ref()
        })
    }

    /// What speaks against signing, by issuer.
    pub(super) fn reasons(&self) -> Vec<String> {
        let trails = self.trails.read();
        let refused = trails.values().filter_map(|trail| trail.as_ref().err());
        refused
            .map(|no| sealwright_runtime::Chain(&**no).to_string())
            .collect()
    }

    /// What is to be known although it does not speak against signing.
    pub(super) fn notices(&self) -> Vec<String> {
        let trails = self.trails.read();
        let without = trails
            .iter()
            .filter(|(_, trail)| matches!(trail, Ok(Trail { transcript: None, .. })));
        without
            .map(|(issuer, _)| format!("issuer {issuer}: ceremony: none"))
            .collect()
    }

    /// What starts say of the issuers.
    pub(super) fn details(&self) -> BTreeMap<String, String> {
        let said = |found: &Found| match found {
            Ok(Trail {
                transcript: Some(transcript),
                ..
            }) => transcript.to_string(),
            Ok(Trail { transcript: None, .. }) => CeremonyEntry::NONE.to_owned(),
            Err(_) => REFUSED.to_owned(),
        };
        let trails = self.trails.read();
        trails
            .iter()
            .map(|(issuer, trail)| (format!("{}{issuer}", CeremonyEntry::DETAIL), said(trail)))
            .collect()
    }

    async fn record(&self, verified: transcript::Verified) -> Result<Recorded, CeremoniesError> {
        let transcript::Verified {
            archive,
            mut entry,
            approvers,
        } = verified;
        entry.blob = self.ledger.put_blob(BlobKind::Transcript, &archive).await?;
        let appended = self.ledger.ceremony(&entry).await?;
        info!(
            issuer = entry.issuer, key = %entry.key, transcript = %entry.transcript, roster = %entry.roster,
            rehearsal = entry.rehearsal, signed_by = entry.signed_by.join(", "), sequence = appended.sequence,
            "the ceremony of an issuer's key was verified and recorded"
        );
        Ok(Recorded {
            sequence: appended.sequence,
            entry,
            approvers,
        })
    }

    /// A record by people whom the configuration names, in earnest where the issuer is.
    fn vouched<'r>(
        &self,
        issuer: &Issuer,
        recorded: &'r Result<Recorded, NoTrail>,
    ) -> Result<&'r Recorded, NoTrail> {
        let recorded = recorded.as_ref().map_err(Clone::clone)?;
        let Recorded { sequence, entry, .. } = recorded;
        if !self.rosters.is_empty() && !self.rosters.contains(&entry.roster) {
            return Err(NoTrail::RecordedRoster {
                issuer: issuer.name.to_string(),
                sequence: *sequence,
                found: entry.roster,
            });
        }
        if entry.rehearsal && !issuer.rehearsal {
            return Err(NoTrail::RecordedRehearsal {
                issuer: issuer.name.to_string(),
                sequence: *sequence,
            });
        }
        Ok(recorded)
    }

    /// The ledger's record counts, whatever lies in the folder by now.
    fn by_record(&self, issuer: &Issuer, recorded: &Result<Recorded, NoTrail>) -> Result<Trail, NoTrail> {
        let Recorded { entry, .. } = self.vouched(issuer, recorded)?;
        if let Some(folder) = issuer.ceremony.as_ref().and_then(CeremonyConfig::transcript)
            && let Some(found) = transcript::name(folder).filter(|found| *found != entry.transcript)
        {
            warn!(
                issuer = &*issuer.name, folder = %folder.display(), %found, recorded = %entry.transcript,
                "another transcript lies in the folder; the ledger's record counts"
            );
        }
        Ok(Trail {
            key: entry.key,
            transcript: Some(entry.transcript),
        })
    }
}

/// An entry cannot be taken back: two keys whose ceremonies name different people do not come to be in one gate.
fn agrees(
    issuer: &Issuer,
    folder: &Path,
    verified: transcript::Verified,
    people: Option<Digest>,
) -> Result<transcript::Verified, NoTrail> {
    let found = verified
        .approvers
        .as_ref()
        .map(|roster| roster.statement.digest());
    match (people, found) {
        (Some(people), Some(found)) if found != people => Err(NoTrail::Approvers {
            issuer: issuer.name.to_string(),
            folder: folder.to_owned(),
            found,
            people,
        }),
        _ => Ok(verified),
    }
}

/// The ledger has nothing, and no transcript is named.
fn without(issuer: &Issuer) -> Result<Trail, NoTrail> {
    let key = issuer.chain.key_digest();
    if issuer.ceremony == Some(CeremonyConfig::None) {
        return Ok(Trail {
            key,
            transcript: None,
        });
    }
    Err(NoTrail::Missing {
        issuer: issuer.name.to_string(),
        key,
    })
}

fn say(issuer: &Issuer, trail: &Result<Trail, NoTrail>) {
    let name = &*issuer.name;
    match trail {
        Ok(Trail {
            transcript: Some(transcript),
            ..
        }) => info!(issuer = name, ceremony = %transcript, "the issuer's key has its ceremony in the ledger"),
        Ok(Trail { transcript: None, .. }) => {
            warn!(
                issuer = name,
                ceremony = CeremonyEntry::NONE,
                "nobody can tell where the issuer's key comes from"
            );
        }
        Err(no) => {
            error!(issuer = name, error = %sealwright_runtime::Chain(no), "the issuer does not sign");
        }
    }
}

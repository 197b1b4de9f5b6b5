//! Statements kept, judged and enacted.

use std::collections::BTreeSet;

use sealwright_identity::Digest;
use sealwright_proto::gate::{PolicyStatement, PolicyTaken, policy_statement::Action};
use sealwright_runtime::Chain;
use sealwright_statement::policy::{self, Approved, QuorumError, Revision, Revocation, Roster, Set, Verdict};
use sealwright_statement::{Envelope, Sealed, Signed, Statement};
use tracing::{info, warn};

use super::{RequestError, digest, invalid};
use crate::server::policies::Policies;
use crate::server::policies::history::{Brought, History};
use crate::server::policies::staging::{Kind, StagingError, is_over};
use crate::server::refused::Refused;

impl Policies {
    /// Keeps, enacts or drops a statement.
    pub(in crate::server) async fn statement(
        &self,
        request: PolicyStatement,
    ) -> Result<PolicyTaken, RequestError> {
        let mut history = self.history.lock().await;
        let named = match (request.armoured.as_str(), request.digest.as_str()) {
            ("", named) => digest(named)?,
            (armoured, _) => {
                let envelope = Envelope::parse(armoured).map_err(|error| refused_file(&error))?;
                self.keep(envelope, &history).await?
            }
        };
        match request.action() {
            Action::Keep => self.standing_of(&named, &mut history).await,
            Action::Enact => {
                let enacted = self.enact(&named, &mut history).await;
                if let Err(RequestError::Refused(refused)) = &enacted {
                    warn!(statement = %named, %refused, "a policy statement does not take effect");
                }
                enacted
            }
            Action::Drop => {
                self.blocking(move |staging| {
                    staging.remove(&named);
                    Ok(())
                })
                .await?;
                Ok(PolicyTaken {
                    digest: named.to_string(),
                    set_number: history.number(),
                    ..PolicyTaken::default()
                })
            }
            Action::Unspecified => Err(invalid("an action that is none").into()),
        }
    }

    /// Keeps a statement; its signatures are added to those that are there.
    async fn keep(&self, envelope: Envelope, history: &History) -> Result<Digest, RequestError> {
        let named = envelope.digest();
        if history.blob_of(&named).is_some() {
            return Ok(named);
        }
        let kept = self.kept(&named).await?;
        let roster = history.roster();
        let armoured = match envelope.kind() {
            Revision::TYPE => {
                let signed: Signed<Revision> = merged(envelope, kept)?;
                let people = policy::pushers(&signed, roster)?;
                if roster.threshold > 0 && people.is_empty() {
                    return Err(QuorumError::NotPushed(named).into());
                }
                signed.to_string()
            }
            Roster::TYPE => merged::<Roster>(envelope, kept)?.to_string(),
            Set::TYPE => {
                let signed: Signed<Set> = merged(envelope, kept)?;
                policy::approvers(&signed, roster)?;
                signed.to_string()
            }
            Revocation::TYPE => {
                let signed: Signed<Revocation> = merged(envelope, kept)?;
                policy::approvers(&signed, roster)?;
                signed.to_string()
            }
            other => return Err(Refused::Invalid(format!("a {other} is not for the gate")).into()),
        };
        self.blocking(move |staging| staging.put_statement(named, &armoured))
            .await?;
        info!(statement = %named, "a policy statement is kept");
        Ok(named)
    }

    /// How a statement that is kept, or took effect, stands.
    async fn standing_of(&self, named: &Digest, history: &mut History) -> Result<PolicyTaken, RequestError> {
        let mut taken = PolicyTaken {
            digest: named.to_string(),
            set_number: history.number(),
            ..PolicyTaken::default()
        };
        if history.blob_of(named).is_some() {
            "it is in the ledger already".clone_into(&mut taken.trouble);
            return Ok(taken);
        }
        let envelope = self.wanted(named).await?;
        envelope.kind().clone_into(&mut taken.r#type);
        let verdict = match envelope.kind() {
            Set::TYPE => {
                let set: Signed<Set> = opened(envelope)?;
                if let Some(next) = self.before_ahead(&set, history).await? {
                    match history.assess_ahead(&set, &next, self.surroundings()) {
                        Ok(verdict) => {
                            taken.trouble = format!("it can take effect only after set {}", next.number);
                            count(&mut taken, &verdict);
                        }
                        Err(error) => taken.trouble = Chain(&error).to_string(),
                    }
                    return Ok(taken);
                }
                let brought = self.brought(&set, history).await?;
                history.assess(&set, &brought, self.surroundings())
            }
            Revocation::TYPE => {
                let revocation: Signed<Revocation> = opened(envelope)?;
                match history.judge_revocation(&revocation, self.surroundings()) {
                    Ok(approved) => Ok(approved.verdict().clone()),
                    Err(QuorumError::BelowThreshold(verdict)) => Ok(verdict),
                    Err(error) => Err(error),
                }
            }
            _ => return Ok(taken),
        };
        match verdict {
            Ok(verdict) => count(&mut taken, &verdict),
            Err(error) => taken.trouble = Chain(&error).to_string(),
        }
        Ok(taken)
    }

    /// The proposed set that a rollback was signed ahead over.
    async fn before_ahead(
        &self,
        set: &Signed<Set>,
        history: &History,
    ) -> Result<Option<Sealed<Set>>, RequestError> {
        let ahead = set.statement.restores.is_some() && set.statement.number == history.number() + 2;
        let Some(previous) = set.statement.previous.filter(|_| ahead) else {
            return Ok(None);
        };
        let Some(envelope) = self.kept(&previous).await? else {
            return Ok(None);
        };
        let next = (envelope.kind() == Set::TYPE)
            .then(|| opened::<Set>(envelope))
            .transpose()?;
        Ok(next.map(|next| next.statement))
    }

    async fn enact(&self, named: &Digest, history: &mut History) -> Result<PolicyTaken, RequestError> {
        if history.blob_of(named).is_some() {
            return Err(Refused::Denied(format!("{named} took effect already")).into());
        }
        let envelope = self.wanted(named).await?;
        let mut taken = PolicyTaken {
            digest: named.to_string(),
            r#type: envelope.kind().to_owned(),
            ..PolicyTaken::default()
        };
        match envelope.kind() {
            Set::TYPE => {
                let set: Signed<Set> = opened(envelope)?;
                let brought = self.brought(&set, history).await?;
                let approved = history.judge(&set, &brought, self.surroundings())?;
                let used = self.store_blobs(&approved, &brought).await?;
                self.take_effect(history, &approved, &brought, false).await?;
                count(&mut taken, approved.verdict());
                self.tidy(used, history).await;
            }
            Revocation::TYPE => {
                let revocation: Signed<Revocation> = opened(envelope)?;
                let approved = history.judge_revocation(&revocation, self.surroundings())?;
                self.take_away(history, &approved).await?;
                count(&mut taken, approved.verdict());
                self.tidy(BTreeSet::from([*named]), history).await;
            }
            other => return Err(Refused::Invalid(format!("a {other} takes effect with a set")).into()),
        }
        taken.set_number = history.number();
        Ok(taken)
    }

    /// The statements that a set names and no set before it did, as far as they wait here.
    async fn brought(&self, set: &Signed<Set>, history: &History) -> Result<Brought, RequestError> {
        let mut brought = Brought::default();
        for entry in &set.statement.entries {
            if history.knows(&entry.revision) {
                continue;
            }
            if let Some(envelope) = self.kept(&entry.revision).await? {
                brought.revisions.push(opened(envelope)?);
            }
        }
        if set.statement.roster != history.roster().digest()
            && let Some(envelope) = self.kept(&set.statement.roster).await?
        {
            brought.roster = Some(opened(envelope)?);
        }
        Ok(brought)
    }

    /// Stores what the set's revisions consist of. Returns what waits no longer.
    async fn store_blobs(
        &self,
        approved: &Approved,
        brought: &Brought,
    ) -> Result<BTreeSet<Digest>, RequestError> {
        let mut wanted = BTreeSet::new();
        for revision in &brought.revisions {
            wanted.insert((Kind::Module, revision.statement.module));
            wanted.extend(revision.statement.source.map(|source| (Kind::Source, source)));
        }
        let set = &approved.set().statement;
        wanted.extend(
            set.entries
                .iter()
                .filter_map(|entry| Some((Kind::Report, entry.report?))),
        );
        for (kind, digest) in &wanted {
            self.store_blob(*kind, *digest).await?;
        }
        let statements = brought
            .revisions
            .iter()
            .map(|revision| revision.statement.digest());
        let roster = brought.roster.iter().map(|roster| roster.statement.digest());
        let mut used: BTreeSet<_> = statements.chain(roster).chain([set.digest()]).collect();
        used.extend(wanted.into_iter().map(|(_, digest)| digest));
        Ok(used)
    }

    async fn store_blob(&self, kind: Kind, digest: Digest) -> Result<(), RequestError> {
        if self.in_ledger(kind.blob(), &digest).await? {
            return Ok(());
        }
        let bytes = self.blocking(move |staging| staging.read(kind, &digest)).await?;
        let bytes = bytes.filter(|bytes| Digest::of(bytes) == digest);
        let Some(bytes) = bytes else {
            let text = format!("the {} {digest} is not here; upload it first", kind.word());
            return Err(Refused::Invalid(text).into());
        };
        self.ledger.put_blob(kind.blob(), &bytes).await?;
        Ok(())
    }

    /// Takes away what waits no longer: what took effect, and what can no more. Failing that, it waits on.
    async fn tidy(&self, used: BTreeSet<Digest>, history: &History) {
        let (number, now) = (history.number(), self.clock.now());
        let tidied = self.blocking(move |staging| {
            used.iter().for_each(|digest| staging.remove(digest));
            for file in staging.list()? {
                if file.kind != Kind::Statement {
                    continue;
                }
                let text = staging
                    .read(Kind::Statement, &file.digest)?
                    .map(String::from_utf8);
                if let Some(Ok(text)) = text
                    && is_over(&text, number, now)
                {
                    staging.remove(&file.digest);
                }
            }
            Ok::<_, StagingError>(())
        });
        if let Err(RequestError::Refused(refused)) = tidied.await {
            warn!(%refused, "the staging folder could not be tidied");
        }
    }

    async fn wanted(&self, named: &Digest) -> Result<Envelope, RequestError> {
        let kept = self.kept(named).await?;
        Ok(kept
            .ok_or_else(|| Refused::Invalid(format!("the statement {named} is not here; send it first")))?)
    }
}

/// One statement with the signatures of both files.
fn merged<T: Statement>(envelope: Envelope, kept: Option<Envelope>) -> Result<Signed<T>, RequestError> {
    let signatures = envelope.signatures().to_vec();
    let mut signed: Signed<T> = opened(kept.unwrap_or(envelope))?;
    for signature in signatures {
        signed.add(signature);
    }
    if signed.signatures.len() > sealwright_statement::MAX_SIGNATURES {
        return Err(invalid("too many signatures").into());
    }
    Ok(signed)
}

fn opened<T: Statement>(envelope: Envelope) -> Result<Signed<T>, RequestError> {
    Ok(envelope.open().map_err(|error| refused_file(&error))?)
}

fn refused_file(error: &(dyn std::error::Error + 'static)) -> Refused {
    Refused::Invalid(Chain(error).to_string())
}

fn count(taken: &mut PolicyTaken, verdict: &Verdict) {
    taken.needed = verdict.needed;
    taken.counted = verdict.counted.iter().map(|one| one.person.to_string()).collect();
    taken.uncounted = verdict
        .uncounted
        .iter()
        .map(|one| one.person.to_string())
        .collect();
    if !verdict.is_enough() {
        taken.trouble = QuorumError::BelowThreshold(verdict.clone()).to_string();
    }
}

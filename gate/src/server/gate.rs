//! The gate behind its protocol: each kind of request, and the path of a certificate.

use std::path::PathBuf;
use std::sync::Arc;

use sealwright_identity::SharedClock;
use sealwright_ledger::Ledger;
use sealwright_proto::gate::{
    DenialRecorded, Evidence, IssueRequest, Issued, IssuerStatus, OriginRequest, QueryResponse, RecordDenial,
    ServingRequest, Status, request, response,
};

use super::caller::{self, Presented};
use super::ceremonies::Ceremonies;
use super::checked::{Ceilings, Checked};
use super::connection::{Context, Handler, Roles};
use super::door::Door;
use super::evidence;
use super::keys::Keys;
use super::metrics::{Metrics, Stage};
use super::origin::{OriginError, Origins, Standing};
use super::policies::{Policies, RequestError};
use super::profiles::Profiles;
use super::query;
use super::recorded::{Halt, Records, Released};
use super::refused::Refused;
use crate::config::Role;

/// Everything that answers requests.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) ceilings: Ceilings,
    pub(super) records: Records,
    pub(super) keys: Arc<Keys>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: SharedClock,
    pub(super) home: PathBuf,
    pub(super) disk_reserve: u64,
    pub(super) policies: Policies,
    pub(super) ceremonies: Ceremonies,
    profiles: Arc<Profiles>,
    origins: Origins,
}

impl Gate {
    pub(super) fn new(
        ceilings: Ceilings,
        ledger: Ledger,
        policies: Policies,
        ceremonies: Ceremonies,
        keys: Arc<Keys>,
        door: &Door,
        surroundings: Surroundings,
    ) -> Self {
        Self {
            ceilings,
            records: Records::new(ledger),
            keys,
            metrics: Arc::clone(&door.metrics),
            clock: surroundings.clock,
            home: surroundings.home,
            disk_reserve: surroundings.disk_reserve,
            policies,
            ceremonies,
            profiles: Arc::clone(&door.profiles),
            origins: Origins::default(),
        }
    }

    /// Stops canaries when the bounds of their set are exceeded; never returns.
    pub(super) async fn keep_canaries(&self) {
        self.policies
            .keep_canaries(|| self.metrics.canary_stopped())
            .await;
    }

    async fn issue(&self, request: IssueRequest, context: &Context) -> Result<Issued, Refused> {
        let profile_known = self.profiles.know(request.evidence.as_ref());
        let presented = self.presented(request.evidence.as_ref()).await?;
        let in_force = self.policies.hold().await;
        let decided = evidence::set_number(request.evidence.as_ref());
        let another =
            decided != in_force.number() || evidence::stops(request.evidence.as_ref()) != in_force.stops();
        if decided != 0 && another {
            // Nobody's fault and nothing to keep: the front decides again.
            return Err(Refused::Stale {
                decided,
                in_force: in_force.number(),
            });
        }
        let checked = {
            let _timer = self.metrics.timer(Stage::Check);
            self.ceilings.check(request, profile_known, &presented, in_force)
        };
        self.answer(checked.map_err(Halt::from), context).await
    }

    async fn serving(&self, request: &ServingRequest, context: &Context) -> Result<Issued, Refused> {
        let checked = self.ceilings.serving(request);
        self.answer(checked.map_err(Halt::from), context).await
    }

    async fn answer(&self, checked: Result<Checked, Halt>, context: &Context) -> Result<Issued, Refused> {
        let released = match checked {
            Ok(checked) => self.certify(checked, context).await,
            Err(halt) => Err(halt),
        };
        match released {
            Ok(released) => Ok(released.into()),
            Err(halt) => Err(self.records.settle(halt).await),
        }
    }

    /// From what was checked to what may leave: each step takes what only the one before
    /// can make. Once recorded it is brought to its end, whoever still waits.
    async fn certify(&self, checked: Checked, context: &Context) -> Result<Released, Halt> {
        let trail = self.ceremonies.trail(&checked.issuer)?;
        let seat = self.keys.seat(trail)?;
        context.still_wanted()?;
        let metrics = &self.metrics;
        let recorded = metrics.time(Stage::Record, self.records.append(checked)).await?;
        let signing = self.keys.sign(recorded, seat, context.deadline);
        let signed = metrics.time(Stage::Sign, signing).await?;
        let verified = {
            let _timer = metrics.timer(Stage::Verify);
            signed.verify()
        };
        self.keys.verified(&verified);
        metrics.time(Stage::Store, self.records.release(verified?)).await
    }

    async fn denial(&self, request: RecordDenial) -> Result<DenialRecorded, Refused> {
        let presented = self.presented(request.evidence.as_ref()).await?;
        let in_force = self.policies.hold().await;
        let decision = request
            .evidence
            .as_ref()
            .and_then(|evidence| evidence.decision.as_ref());
        if decision.is_some_and(|decision| in_force.was_by_a_stopped_canary(decision)) {
            // It has no say any more. The front decides again, by the enforcing revision.
            return Err(Refused::Stale {
                decided: in_force.number(),
                in_force: in_force.number(),
            });
        }
        let (entry, tally) = self.ceilings.denial(request, &presented, &in_force)?;
        // A record that is cut has no evidence, and nobody could count it again.
        let counts = !tally.is_empty() && self.records.ledger().fits(&entry);
        let sequence = self.records.deny(entry).await?;
        if counts {
            in_force.count(&tally);
        }
        Ok(DenialRecorded { sequence })
    }

    /// What is known of the certificate of a caller that is known by one.
    async fn presented(&self, evidence: Option<&Evidence>) -> Result<Presented, Refused> {
        let Some(certificate) = caller::certificate_of(evidence) else {
            return Ok(Presented::Nothing);
        };
        match self.standing(certificate).await {
            Ok(standing) => Ok(Presented::Certificate(standing)),
            Err(OriginError::Certificate(error)) => Ok(Presented::Unreadable(error)),
            Err(error @ OriginError::Ledger(_)) => Err(unavailable(&error)),
        }
    }

    async fn origin(&self, request: &OriginRequest) -> Result<sealwright_proto::gate::Origin, Refused> {
        match self.standing(&request.certificate).await {
            Ok(standing) => Ok(standing.into()),
            Err(error @ OriginError::Certificate(_)) => Err(Refused::Invalid(error.to_string())),
            Err(error @ OriginError::Ledger(_)) => Err(unavailable(&error)),
        }
    }

    async fn standing(&self, certificate: &[u8]) -> Result<Standing, OriginError> {
        let issuers = self.ceilings.issuers();
        let reader = self.records.ledger().reader();
        self.origins.find(certificate, reader, &issuers).await
    }

    async fn status(&self) -> Status {
        let ledger = self.records.ledger();
        let mut reasons = self.reasons();
        let (policy_set, trouble) = self.policies.standing().await;
        reasons.extend(trouble.map(|trouble| format!("policies: {trouble}")));
        let issuers = self.ceilings.issuers();
        let canaries = self.policies.canaries().await;
        let mut notices = self.ceremonies.notices();
        notices.extend(self.policies.notice());
        Status {
            ready: reasons.is_empty(),
            reasons,
            token_serial: self
                .keys
                .ring()
                .map_or_else(String::new, |ring| ring.info.serial.clone()),
            instance: ledger
                .instance()
                .id
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            issuers: issuers
                .iter()
                .map(|issuer| IssuerStatus {
                    name: issuer.name.to_string(),
                    key_digest: issuer.chain.key_digest().to_string(),
                    not_after: issuer.chain.not_after().unix_seconds(),
                })
                .collect(),
            ledger_sequence: ledger.reader().head().await.map_or(0, |head| head.sequence),
            queue_depth: u32::try_from(self.keys.queue_depth()).unwrap_or(u32::MAX),
            metrics: self
                .metrics
                .encode(ledger.stats(), ledger.queue_depth(), &canaries),
            policy_set,
            notices,
        }
    }

    /// What speaks against signing now.
    pub(super) fn reasons(&self) -> Vec<String> {
        let mut reasons = self.keys.reasons();
        if !self.records.ledger().is_writable() {
            reasons.push("ledger: its writer has ended".into());
        } else if let Some(trouble) = self.records.ledger().trouble() {
            reasons.push(format!("ledger: it cannot be written: {trouble}"));
        }
        if let Ok(disk) = rustix::fs::statvfs(&self.home) {
            let left = disk.f_bavail.saturating_mul(disk.f_frsize);
            if left < self.disk_reserve {
                reasons.push(format!(
                    "ledger: the disk has {left} bytes left, {} are kept in reserve",
                    self.disk_reserve
                ));
            }
        }
        reasons.extend(self.ceremonies.reasons());
        let now = self.clock.now();
        for issuer in self.ceilings.issuers().iter() {
            if let Err(error) = issuer.chain.check_validity(now) {
                let text = sealwright_runtime::Chain(&error).to_string();
                reasons.push(format!("issuer {}: {text}", issuer.name));
            }
        }
        reasons
    }

    async fn query(
        &self,
        request: sealwright_proto::gate::QueryRequest,
        context: &Context,
    ) -> Result<QueryResponse, Refused> {
        query::answer(self.records.ledger().reader(), request, context.deadline).await
    }

    fn answered<T>(&self, answer: Result<T, RequestError>) -> Result<T, Refused> {
        answer.map_err(|error| match error {
            RequestError::Refused(refused) => refused,
            RequestError::Ledger(error) => self.records.refused(&error),
        })
    }

    async fn dispatch(&self, mut body: request::Body, context: &Context) -> Result<response::Body, Refused> {
        use request::Body;
        let role = match &body {
            Body::Issue(_)
            | Body::Serving(_)
            | Body::Denial(_)
            | Body::Origin(_)
            | Body::PolicyUpload(_)
            | Body::PolicyStatement(_)
            | Body::PolicyState(_)
            | Body::PolicyFetch(_) => Some(Role::Issue),
            Body::Query(_) => Some(Role::Read),
            Body::Status(_) | Body::Cancel(_) => None,
        };
        if let Some(role) = role {
            context.roles.require(role)?;
        }
        // Heard while there was no ledger, which there was by the time that the request's turn came.
        self.profiles.store(&mut body, &self.records).await?;
        Ok(match body {
            Body::Issue(request) => response::Body::Issued(self.issue(request, context).await?),
            Body::Serving(request) => response::Body::Issued(self.serving(&request, context).await?),
            Body::Denial(request) => response::Body::Denial(self.denial(request).await?),
            Body::Query(request) => response::Body::Query(self.query(request, context).await?),
            Body::Origin(request) => response::Body::Origin(self.origin(&request).await?),
            Body::PolicyUpload(request) => {
                response::Body::PolicyUpload(self.answered(self.policies.upload(request).await)?)
            }
            Body::PolicyStatement(request) => {
                response::Body::PolicyStatement(self.answered(self.policies.statement(request).await)?)
            }
            Body::PolicyState(_) => response::Body::PolicyState(self.answered(self.policies.state().await)?),
            Body::PolicyFetch(request) => {
                response::Body::PolicyFetch(self.answered(self.policies.fetch(&request).await)?)
            }
            Body::Status(_) => response::Body::Status(self.status().await),
            // Connections take these themselves.
            Body::Cancel(_) => return Err(Refused::Invalid("nothing to cancel".into())),
        })
    }
}

/// What the gate lives in.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) clock: SharedClock,
    pub(super) home: PathBuf,
    pub(super) disk_reserve: u64,
}

impl Handler for Gate {
    async fn prepare(&self, body: &mut request::Body, roles: Roles) -> Result<(), Refused> {
        if roles.require(Role::Issue).is_err() {
            // It is refused when it is handled; until then it stores nothing.
            return Ok(());
        }
        self.profiles.hear(body)?;
        self.profiles.store(body, &self.records).await
    }

    async fn handle(&self, body: request::Body, context: Context) -> response::Body {
        let kind = kind_of(&body);
        let result = self.dispatch(body, &context).await;
        self.metrics
            .answered(kind, result.as_ref().map_or_else(Refused::word, |_| "ok"));
        result.unwrap_or_else(|refused| response::Body::Refusal(refused.into()))
    }
}

fn unavailable(error: &OriginError) -> Refused {
    Refused::Unavailable(sealwright_runtime::Chain(error).to_string())
}

const fn kind_of(body: &request::Body) -> &'static str {
    match body {
        request::Body::Issue(_) => "issue",
        request::Body::Serving(_) => "serving",
        request::Body::Denial(_) => "denial",
        request::Body::Query(_) => "query",
        request::Body::Origin(_) => "origin",
        request::Body::PolicyUpload(_)
        | request::Body::PolicyStatement(_)
        | request::Body::PolicyState(_)
        | request::Body::PolicyFetch(_) => "policy",
        request::Body::Status(_) | request::Body::Cancel(_) => "status",
    }
}

//! Why: all that an auditor needs in order to execute the decision again, for the gate's record.

use sealwright_identity::Timestamp;
pub(super) use sealwright_policy_wasm::evidence::denial;
use sealwright_policy_wasm::evidence::{narrowing, verdict};
use sealwright_policy_wasm::{Decision, EngineProfile, Outcome, PolicyInput, WIT_VERSION};
use sealwright_proto::gate as pb;

use crate::authn::Caller;
use crate::service::{CertificateOrder, RequestContext};
use crate::sets::Deciders;

/// What is known before anything was decided.
pub(super) struct EvidenceBuilder<'a> {
    pub(super) caller: &'a Caller,
    pub(super) order: &'a CertificateOrder,
    pub(super) profile: &'a EngineProfile,
    pub(super) now: Timestamp,
}

impl EvidenceBuilder<'_> {
    /// The ceiling denied: no policy was asked.
    pub(super) fn undecided(&self) -> pb::Evidence {
        self.with(pb::Decision {
            decided_at_micros: self.now.micros(),
            ..pb::Decision::default()
        })
    }

    /// The policies were asked.
    pub(super) fn decided(&self, decision: &Decision, deciders: &Deciders) -> pb::Evidence {
        // Those after the first that did not allow were not asked.
        let asked = decision.evaluations.iter().zip(&deciders.enforcing);
        self.with(pb::Decision {
            decided_at_micros: self.now.micros(),
            engine_profile_digest: self.profile.digest.to_string(),
            // The client of the gate leaves the text out when the connection has carried it.
            engine_profile: self.profile.json.clone(),
            wit_version: WIT_VERSION.to_owned(),
            input_schema: PolicyInput::SCHEMA.to_owned(),
            input: decision.input_json.clone().into(),
            policies: asked
                .map(|(evaluation, asked)| verdict(evaluation, asked.revision))
                .collect(),
            granted: match &decision.outcome {
                Outcome::Allow(granted) => Some(narrowing(granted)),
                Outcome::Deny(_) | Outcome::Aborted { .. } => None,
            },
            set_number: deciders.number,
            stops: deciders.stops,
        })
    }

    fn with(&self, decision: pb::Decision) -> pb::Evidence {
        pb::Evidence {
            caller: Some(caller(self.caller)),
            request: Some(request(self.order)),
            decision: Some(decision),
        }
    }
}

/// The evidence of a request that was refused for its caller alone, before its message was read.
pub(crate) fn unread_evidence(of: &Caller, context: &RequestContext, now: Timestamp) -> pb::Evidence {
    pb::Evidence {
        caller: Some(caller(of)),
        request: Some(pb::RequestFacts {
            request_id: context.id.to_string(),
            method: context.method.to_owned(),
            ..pb::RequestFacts::default()
        }),
        decision: Some(pb::Decision {
            decided_at_micros: now.micros(),
            ..pb::Decision::default()
        }),
    }
}

fn caller(caller: &Caller) -> pb::Caller {
    let (token_header, token_claims) = caller
        .token()
        .map(|token| (token.header_json.clone(), token.claims_json.clone()))
        .unwrap_or_default();
    pb::Caller {
        source: caller.source().as_str().to_owned(),
        authenticator: caller.authenticator().to_owned(),
        identities: caller.identities().iter().map(ToString::to_string).collect(),
        presented: caller.presented().map(ToString::to_string).unwrap_or_default(),
        kubernetes: caller.kubernetes().map(|facts| {
            let pod = facts.pod.clone();
            let node = facts.node.clone();
            pb::KubernetesFacts {
                namespace: facts.namespace.clone(),
                service_account: facts.service_account.clone(),
                pod_name: pod.as_ref().map(|pod| pod.name.clone()).unwrap_or_default(),
                pod_uid: pod.and_then(|pod| pod.uid).unwrap_or_default(),
                node_name: node.as_ref().map(|node| node.name.clone()).unwrap_or_default(),
                node_uid: node.and_then(|node| node.uid).unwrap_or_default(),
            }
        }),
        token_header,
        token_claims,
        client_chain: caller.client_chain().to_vec(),
        peer: caller.peer().to_string(),
        cluster: caller.cluster().unwrap_or_default().to_owned(),
    }
}

fn request(order: &CertificateOrder) -> pb::RequestFacts {
    let context = order.context();
    pb::RequestFacts {
        request_id: context.id.to_string(),
        requested_seconds: i64::try_from(order.requested_seconds()).unwrap_or(i64::MAX),
        cert_signer: order.cert_signer().to_owned(),
        metadata: order.metadata().to_owned(),
        method: context.method.to_owned(),
    }
}

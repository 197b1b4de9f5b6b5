//! The gate's evidence, in words: who asked, for what, and what each policy said.

use prost::Message;
use sealwright_proto::gate::{Caller, Decision, Denial, Evidence, Narrowing, PolicyVerdict, RequestFacts};
use serde_json::{Value, json};

/// Evidence as JSON; `None` when the bytes are none of ours.
pub(super) fn readable(bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    let evidence = Evidence::decode(bytes).ok()?;
    Some(json!({
        "caller": evidence.caller.as_ref().map(caller),
        "request": evidence.request.as_ref().map(request),
        "decision": evidence.decision.as_ref().map(decision),
    }))
}

fn caller(caller: &Caller) -> Value {
    let kubernetes = caller.kubernetes.as_ref().map(|facts| {
        json!({
            "namespace": facts.namespace,
            "service_account": facts.service_account,
            "pod_name": facts.pod_name,
            "pod_uid": facts.pod_uid,
            "node_name": facts.node_name,
            "node_uid": facts.node_uid,
        })
    });
    let chain = caller.client_chain.iter();
    json!({
        "source": caller.source,
        "authenticator": caller.authenticator,
        "identities": caller.identities,
        "presented": caller.presented,
        "kubernetes": kubernetes,
        "token_header": text_json(&caller.token_header),
        "token_claims": text_json(&caller.token_claims),
        "client_chain": chain.map(|der| sealwright_x509::pem::encode("CERTIFICATE", der)).collect::<Vec<_>>(),
        "peer": caller.peer,
        "cluster": caller.cluster,
    })
}

fn request(request: &RequestFacts) -> Value {
    json!({
        "request_id": request.request_id,
        "requested_seconds": request.requested_seconds,
        "cert_signer": request.cert_signer,
        "metadata": text_json(&request.metadata),
        "method": request.method,
    })
}

fn decision(decision: &Decision) -> Value {
    let at = sealwright_identity::Timestamp::from_micros(decision.decided_at_micros);
    json!({
        "decided_at": at,
        "engine_profile_digest": decision.engine_profile_digest,
        "wit_version": decision.wit_version,
        "input_schema": decision.input_schema,
        "input": text_json(&String::from_utf8_lossy(&decision.input)),
        "policies": decision.policies.iter().map(policy).collect::<Vec<_>>(),
        "granted": decision.granted.as_ref().map(narrowing),
    })
}

fn policy(policy: &PolicyVerdict) -> Value {
    json!({
        "name": policy.name,
        "module": policy.module,
        "settings": policy.settings,
        "verdict": policy.verdict,
        "fuel": policy.fuel,
        "narrowing": policy.narrowing.as_ref().map(narrowing),
        "denial": policy.denial.as_ref().map(denial),
        "host_answers": text_json(&policy.host_answers),
    })
}

pub(super) fn narrowing(narrowing: &Narrowing) -> Value {
    json!({
        "lifetime_seconds": narrowing.lifetime_seconds,
        "names": narrowing.names.as_ref().map(|list| &list.items),
        "usages": narrowing.usages.as_ref().map(|list| &list.items),
    })
}

fn denial(denial: &Denial) -> Value {
    json!({
        "policy": denial.policy,
        "code": denial.code,
        "message": denial.message,
        "field": denial.field,
        "hint": denial.hint,
    })
}

/// Text that should be JSON, as JSON; as text when it is not.
fn text_json(text: &str) -> Value {
    match text {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

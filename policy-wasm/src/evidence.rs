//! What a decision leaves in evidence: the one form that the front sends, the gate records and an auditor compares.
//!
//! Only the form: what becomes of it, and who believes it, is for those three.

use sealwright_identity::Digest;
use sealwright_proto::gate as pb;
use serde::{Deserialize, Serialize};

use crate::{
    Limits,
    decision::{Denial, Evaluation, LogLine, Narrowing},
};

/// What the host did for a policy. In evidence it is canonical JSON (RFC 8785).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostAnswers {
    /// What the policy could use.
    pub limits: Limits,
    /// What it wrote.
    pub log: Vec<LogLine>,
}

/// A policy's part in a decision.
#[must_use]
pub fn verdict(evaluation: &Evaluation, revision: Digest) -> pb::PolicyVerdict {
    pb::PolicyVerdict {
        name: evaluation.name.clone(),
        module: evaluation.module.to_string(),
        settings: evaluation.settings.to_string(),
        verdict: evaluation.verdict.as_str().to_owned(),
        fuel: evaluation.fuel,
        narrowing: evaluation.narrowing.as_ref().map(narrowing),
        denial: evaluation.denial.as_ref().map(denial),
        host_answers: host_answers(evaluation),
        revision: revision.to_string(),
    }
}

/// What a policy left.
#[must_use]
pub fn narrowing(narrowing: &Narrowing) -> pb::Narrowing {
    let texts = |items: Vec<String>| pb::StringList { items };
    pb::Narrowing {
        lifetime_seconds: narrowing.lifetime.map(|lifetime| lifetime.as_secs()),
        names: narrowing.names.clone().map(texts),
        usages: narrowing
            .usages
            .as_ref()
            .map(|usages| texts(usages.iter().map(ToString::to_string).collect())),
    }
}

/// Why it said no.
#[must_use]
pub fn denial(denial: &Denial) -> pb::Denial {
    pb::Denial {
        policy: denial.policy.clone(),
        code: denial.code.clone(),
        message: denial.message.clone(),
        field: denial.field.clone().unwrap_or_default(),
        hint: denial.hint.clone().unwrap_or_default(),
    }
}

fn host_answers(evaluation: &Evaluation) -> String {
    // In the order of their names, as their own fields are: plain JSON of it is canonical.
    #[derive(Serialize)]
    struct Borrowed<'a> {
        limits: Limits,
        log: &'a [LogLine],
    }
    let answers = Borrowed {
        limits: evaluation.limits,
        log: &evaluation.log,
    };
    // Strings and small integers always have a JSON form, and one only.
    serde_json::to_string(&answers).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{LogLevel, Verdict};

    #[test]
    fn what_the_host_answered_is_canonical_as_it_is_written() {
        let line = |message: &str| LogLine {
            level: LogLevel::Info,
            message: message.to_owned(),
        };
        let evaluation = Evaluation {
            name: "p".to_owned(),
            module: Digest::of(b"m"),
            settings: Digest::of(b"s"),
            limits: Limits::default(),
            verdict: Verdict::Allow,
            fuel: 1,
            narrowing: None,
            denial: None,
            aborted: None,
            log: vec![line("\"é\u{fb33}\u{1f600}\\/"), line("")],
        };
        let written = host_answers(&evaluation);
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(serde_json_canonicalizer::to_string(&read).unwrap(), written);
        let read: HostAnswers = serde_json::from_str(&written).unwrap();
        assert_eq!((read.limits, read.log), (evaluation.limits, evaluation.log));
    }
}

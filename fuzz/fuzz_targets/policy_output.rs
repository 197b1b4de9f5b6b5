//! What policies answer, from the host's judgement through the authorizer's terms to the gate's check.
//!
//! An input is an offer (identities, DNS names asked for, a lifetime) and up to four answers of policies.
//!
//! Claims: an answer that names anything outside of the ceiling is a denial with the host's code; a denial of a
//! policy comes through with bounded one-line texts and a code that is not the host's own; what is granted is
//! inside the ceiling and inside every answer (fewer answers never grant less); and the gate takes a certificate
//! of the granted terms with the answers as evidence, and does not take a longer or wider one.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sealwright_fuzz::world::{IDENTITY, MAX_LIFETIME, NOW, World, told_of};
use sealwright_identity::{San, SpiffeId, Usage, Validity};
use sealwright_policy_wasm::{
    CeilingFacts, Denial, Narrowing,
    answer::{self, said},
    code,
};
use sealwright_proto::gate::{self, IssueRequest, StringList};
use sealwright_signer::authz::{Offer, Terms};
use sealwright_x509::LeafTbs;

static WORLD: LazyLock<World> = LazyLock::new(World::new);

#[derive(Arbitrary, Debug)]
struct Input {
    /// More identities of the caller than the one that it always has.
    others: Vec<u8>,
    dns: Vec<Dns>,
    lifetime: u16,
    answers: Vec<Answer>,
}

#[derive(Arbitrary, Debug)]
enum Dns {
    Svc(u8),
    Text(String),
}

#[derive(Arbitrary, Debug)]
enum Answer {
    Allow {
        lifetime: Option<u64>,
        names: Option<Vec<Name>>,
        usages: Option<Vec<bool>>,
    },
    Deny {
        code: String,
        message: String,
        field: Option<String>,
        hint: Option<String>,
    },
}

#[derive(Arbitrary, Debug)]
enum Name {
    Offered(u8),
    Text(String),
    Uri(String),
    Shouted(u8),
}

fuzz_target!(|input: Input| {
    let ceiling = &WORLD.issuer().ceiling;
    let mut identities: Vec<SpiffeId> = vec![IDENTITY.parse().expect("an ID")];
    for number in input.others.iter().take(3) {
        identities.push(
            format!("spiffe://cluster.local/other/{number}")
                .parse()
                .expect("an ID"),
        );
    }
    let dns: Vec<String> = input.dns.iter().take(8).map(Dns::text).collect();
    let lifetime = Duration::from_secs(u64::from(input.lifetime).min(MAX_LIFETIME));
    let offer = Offer::new(&identities, &dns, ceiling, lifetime);
    for name in offer.names() {
        assert!(ceiling.allows_san(name), "{name} is offered");
    }
    let names: Vec<String> = offer.names().iter().map(San::to_string).collect();
    let facts = CeilingFacts {
        max_lifetime_seconds: MAX_LIFETIME,
        default_lifetime_seconds: 60,
        names: names.clone(),
        dns_patterns: ceiling.dns.clone(),
        usages: ceiling.usages.clone(),
        key_types: ceiling.key_types.clone(),
    };
    let answers: Vec<said::Verdict> = input
        .answers
        .into_iter()
        .take(4)
        .map(|one| one.say(&names))
        .collect();
    let judged: Vec<_> = answers
        .iter()
        .map(|answer| {
            let found = answer::judge("p", answer.clone(), &facts);
            judgement(answer, &found, &facts);
            found
        })
        .collect();
    let Ok(all) = judged.into_iter().collect::<Result<Vec<Narrowing>, Denial>>() else {
        return;
    };
    let mut sum = Narrowing::default();
    for next in &all {
        match answer::intersect(sum, next, "p") {
            Ok(both) => sum = both,
            Err(denial) => return assert_eq!(denial.code, code::NOTHING_ALLOWED),
        }
    }
    let asked = lifetime;
    match offer.narrowed(&sum) {
        Ok(terms) => granted(&terms, asked, &all, &sum, &identities),
        Err(denial) => assert_eq!(denial.code, code::NOTHING_ALLOWED),
    }
});

impl Dns {
    fn text(&self) -> String {
        match self {
            Self::Svc(number) => format!("a{number}.svc"),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Answer {
    fn say(self, names: &[String]) -> said::Verdict {
        let offered = |number: u8| names[usize::from(number) % names.len()].clone();
        let name = |name| match name {
            Name::Offered(number) => offered(number),
            Name::Shouted(number) => offered(number).to_uppercase(),
            Name::Uri(text) => format!("URI:spiffe://cluster.local/{text}"),
            Name::Text(text) => text,
        };
        let usage = |server| {
            if server {
                said::Usage::Server
            } else {
                said::Usage::Client
            }
        };
        match self {
            Self::Allow {
                lifetime,
                names,
                usages,
            } => said::Verdict::Allow(said::Narrowing {
                lifetime_seconds: lifetime,
                names: names.map(|names| names.into_iter().take(16).map(name).collect()),
                usages: usages.map(|usages| usages.into_iter().take(8).map(usage).collect()),
            }),
            Self::Deny {
                code,
                message,
                field,
                hint,
            } => said::Verdict::Deny(said::Denial {
                code,
                message,
                field,
                hint,
            }),
        }
    }
}

fn judgement(answer: &said::Verdict, found: &Result<Narrowing, Denial>, ceiling: &CeilingFacts) {
    match (answer, found) {
        (said::Verdict::Allow(said), found) => {
            let longer = said
                .lifetime_seconds
                .is_some_and(|seconds| seconds > MAX_LIFETIME);
            let foreign = said
                .names
                .iter()
                .flatten()
                .any(|name| !ceiling.names.contains(name));
            // The ceiling has both usages.
            match found {
                Ok(left) => {
                    assert!(!longer && !foreign, "a policy widened the ceiling");
                    assert_eq!(left.lifetime.map(|life| life.as_secs()), said.lifetime_seconds);
                    assert_eq!(left.names.is_some(), said.names.is_some());
                    assert!(
                        left.names.iter().flatten().all(|name| said
                            .names
                            .iter()
                            .flatten()
                            .any(|one| one == name))
                    );
                    assert!(left.usages.iter().flatten().count() <= 2);
                }
                Err(denial) => {
                    assert!(longer || foreign, "{denial:?}");
                    assert_eq!(denial.code, code::POLICY_WIDENS);
                    tame(denial);
                }
            }
        }
        (said::Verdict::Deny(said), Err(denial)) => {
            let reserved = ["NO_POLICY", "NOTHING_ALLOWED", "INPUT_INVALID"].contains(&said.code.as_str());
            let plain = |octet: u8| matches!(octet, b'A'..=b'Z' | b'0'..=b'9' | b'_');
            let good = (1..=64).contains(&said.code.len()) && said.code.bytes().all(plain);
            if good && !reserved && !said.code.starts_with("POLICY_") {
                assert_eq!(denial.code, said.code);
            } else {
                assert_eq!(denial.code, code::POLICY_DENIED);
            }
            tame(denial);
        }
        (said::Verdict::Deny(_), Ok(_)) => panic!("a denial became a grant"),
    }
}

/// One line, bounded, nothing that deceives whoever reads it.
fn tame(denial: &Denial) {
    let texts = [Some(&denial.message), denial.field.as_ref(), denial.hint.as_ref()];
    for text in texts.into_iter().flatten() {
        assert!(text.len() <= 1024, "{} octets", text.len());
        assert!(!text.chars().any(
            |char| char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}')
        ));
    }
}

fn granted(terms: &Terms, asked: Duration, all: &[Narrowing], sum: &Narrowing, identities: &[SpiffeId]) {
    let ceiling = &WORLD.issuer().ceiling;
    assert!(
        terms.lifetime <= asked && terms.lifetime <= ceiling.max_lifetime && terms.lifetime.as_secs() > 0
    );
    assert!(terms.names.iter().all(|name| ceiling.allows_san(name)));
    let ids: Vec<_> = terms
        .names
        .iter()
        .filter(|name| matches!(name, San::Uri(_)))
        .collect();
    assert!(matches!(ids.as_slice(), [San::Uri(id)] if identities.contains(id)));
    assert!(terms.usages.iter().all(|usage| ceiling.usages.contains(usage)));
    assert!(matches!(
        terms.usages.as_slice(),
        [Usage::ServerAuth | Usage::ClientAuth] | [Usage::ServerAuth, Usage::ClientAuth]
    ));
    for one in all {
        assert!(one.lifetime.is_none_or(|longest| terms.lifetime <= longest));
        let named = |names: &Vec<String>| terms.names.iter().all(|name| names.contains(&name.to_string()));
        assert!(one.names.as_ref().is_none_or(named));
        assert!(
            one.usages
                .as_ref()
                .is_none_or(|usages| terms.usages.iter().all(|usage| usages.contains(usage)))
        );
    }
    if all.iter().all(|one| one.names.is_none()) {
        assert_eq!(terms.names.len(), 1, "a DNS name that no policy chose");
    }
    // The gate's issuer has two policies.
    if let [first, second] = all {
        at_the_gate(terms, [first, second], sum, identities);
    }
}

fn at_the_gate(terms: &Terms, all: [&Narrowing; 2], sum: &Narrowing, identities: &[SpiffeId]) {
    let mut fields = WORLD.fields();
    fields.sans.clone_from(&terms.names);
    fields.usages.clone_from(&terms.usages);
    let lasting = |lifetime| {
        Validity::new(fields.validity.not_before(), NOW.saturating_add(lifetime)).expect("a validity")
    };
    let (right, longer) = (
        lasting(terms.lifetime),
        lasting(terms.lifetime + Duration::from_secs(1)),
    );
    let mut evidence = WORLD.evidence();
    let mut told = Vec::new();
    if let Some(caller) = &mut evidence.caller {
        caller.identities = identities.iter().map(ToString::to_string).collect();
        told = told_of(caller);
    }
    if let Some(decision) = &mut evidence.decision {
        decision.input = told.into();
        for (policy, narrowing) in decision.policies.iter_mut().zip(all) {
            policy.narrowing = Some(wire(narrowing));
        }
        decision.granted = Some(wire(sum));
    }
    let judge = |fields: &sealwright_x509::LeafFields| {
        let tbs = LeafTbs::build(fields).expect("granted terms are of the profile");
        WORLD.rehearsal.issue(IssueRequest {
            credential: None,
            issuer: String::new(),
            tbs: tbs.as_der().to_vec().into(),
            csr: WORLD.csr().into(),
            evidence: Some(evidence.clone()),
        })
    };
    fields.validity = right;
    judge(&fields).expect("the gate takes what was granted");
    if sum.lifetime == Some(terms.lifetime) || terms.lifetime.as_secs() == MAX_LIFETIME {
        fields.validity = longer;
        judge(&fields).expect_err("longer than granted");
        fields.validity = right;
    }
    let foreign: San = "DNS:foreign.example".parse().expect("a name");
    fields.sans.push(foreign);
    judge(&fields).expect_err("wider than granted");
}

fn wire(narrowing: &Narrowing) -> gate::Narrowing {
    gate::Narrowing {
        lifetime_seconds: narrowing.lifetime.map(|lifetime| lifetime.as_secs()),
        names: narrowing.names.clone().map(|items| StringList { items }),
        usages: narrowing.usages.as_ref().map(|usages| StringList {
            items: usages.iter().map(ToString::to_string).collect(),
        }),
    }
}

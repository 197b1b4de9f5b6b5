//! Changes to a good request: what a front that was taken over would try, one at a time or together.

use std::time::Duration;

use arbitrary::Arbitrary;
use sealwright_identity::{SerialNumber, Timestamp, Usage, Validity};
use sealwright_proto::gate::{Decision, Denial, Evidence, IssueRequest, Narrowing, StringList};
use sealwright_x509::{LeafFields, LeafKind, LeafTbs, SpkiRef};

use crate::{
    keys::Key,
    world::{IDENTITY, NOW, TRUST_DOMAIN, World},
};

/// A good request, and what is altered in it, in this order.
#[derive(Arbitrary, Debug)]
pub struct Changes {
    leaf: Vec<LeafChange>,
    evidence: Vec<EvidenceChange>,
    raw: Option<(bool, u16, u8)>,
}

#[derive(Arbitrary, Debug)]
enum LeafChange {
    Serial(Vec<u8>),
    Name(Name),
    DropName(u8),
    Begins(i32),
    Lasts(u32),
    CommonName(Option<String>),
    Usages(u8),
    Aki(Vec<u8>),
    Issuer(Vec<u8>),
    Key(u8),
    Serving,
}

/// Names near the ones that are right.
#[derive(Arbitrary, Debug)]
enum Name {
    Identity,
    Segment(String),
    Domain(String),
    Svc(String),
    Any(String),
}

#[derive(Arbitrary, Debug)]
enum EvidenceChange {
    None,
    NoCaller,
    NoDecision,
    NoInput,
    Authenticator(String),
    Identity(Name),
    DropIdentity(u8),
    DropPolicy(u8),
    RepeatPolicy(u8),
    SwapPolicies,
    Verdict(u8, u8),
    Digests(u8, bool, String),
    PolicyName(u8, String),
    Denied(u8),
    Lifetime(u8, u64),
    Names(u8, Vec<Name>),
    Usages(u8, Vec<bool>),
}

impl Name {
    fn text(self) -> String {
        match self {
            Self::Identity => format!("URI:{IDENTITY}"),
            Self::Segment(text) => format!("URI:spiffe://{TRUST_DOMAIN}/{text}"),
            Self::Domain(text) => format!("URI:spiffe://{text}/ns/a/sa/b"),
            Self::Svc(text) => format!("DNS:{text}.svc"),
            Self::Any(text) => text,
        }
    }
}

impl Changes {
    /// The good request with these changes.
    pub fn apply(self, world: &World) -> IssueRequest {
        let mut fields = world.fields();
        self.leaf
            .into_iter()
            .take(8)
            .for_each(|change| change.apply(&mut fields));
        let mut request = world.request();
        if let Ok(tbs) = LeafTbs::build(&fields) {
            request.tbs = tbs.as_der().to_vec().into();
        }
        let mut evidence = world.evidence();
        let mut whole = true;
        for change in self.evidence.into_iter().take(8) {
            whole &= !matches!(change, EvidenceChange::None);
            change.apply(&mut evidence);
        }
        request.evidence = whole.then_some(evidence);
        if let Some((csr, place, octet)) = self.raw {
            let part = if csr { &mut request.csr } else { &mut request.tbs };
            let mut octets = part.to_vec();
            let place = usize::from(place) % octets.len();
            octets[place] ^= octet;
            *part = octets.into();
        }
        request
    }
}

impl LeafChange {
    fn apply(self, fields: &mut LeafFields) {
        let validity = |begin, end| Validity::new(begin, end).ok();
        let (begin, end) = (fields.validity.not_before(), fields.validity.not_after());
        match self {
            Self::Serial(octets) => {
                if let Ok(serial) = SerialNumber::from_der_content(&octets) {
                    fields.serial = serial;
                }
            }
            Self::Name(name) => fields.sans.extend(name.text().parse()),
            Self::DropName(at) if !fields.sans.is_empty() => {
                fields.sans.remove(usize::from(at) % fields.sans.len());
            }
            Self::DropName(_) => {}
            Self::Begins(offset) => {
                let at = Timestamp::from_unix_seconds(NOW.unix_seconds() + i64::from(offset));
                fields.validity = validity(at, end).unwrap_or(fields.validity);
            }
            Self::Lasts(seconds) => {
                let at = NOW.saturating_add(Duration::from_secs(u64::from(seconds)));
                fields.validity = validity(begin, at).unwrap_or(fields.validity);
            }
            Self::CommonName(name) => fields.common_name = name,
            Self::Usages(which) => {
                fields.usages = match which % 3 {
                    0 => vec![Usage::ServerAuth],
                    1 => vec![Usage::ClientAuth],
                    _ => vec![Usage::ServerAuth, Usage::ClientAuth],
                }
            }
            Self::Aki(octets) => fields.aki = octets,
            Self::Issuer(octets) => fields.issuer_der = octets,
            Self::Key(seed) => fields.spki_der = Key::of(seed).spki().to_vec(),
            Self::Serving => fields.kind = LeafKind::Serving,
        }
        if let Ok(spki) = SpkiRef::parse(&fields.spki_der) {
            assert_eq!(spki.der(), fields.spki_der);
        }
    }
}

impl EvidenceChange {
    fn apply(self, evidence: &mut Evidence) {
        let Some(decision) = evidence.decision.as_mut() else {
            return;
        };
        let Some(caller) = evidence.caller.as_mut() else {
            return;
        };
        let count = decision.policies.len();
        let at = |index: u8| usize::from(index) % count.max(1);
        match self {
            Self::None => {}
            Self::NoCaller => evidence.caller = None,
            Self::NoDecision => evidence.decision = None,
            Self::NoInput => decision.input = bytes::Bytes::new(),
            Self::Authenticator(text) => caller.authenticator = text,
            Self::Identity(name) => {
                let text = name.text();
                caller
                    .identities
                    .push(text.strip_prefix("URI:").unwrap_or(&text).to_owned());
            }
            Self::DropIdentity(index) if !caller.identities.is_empty() => {
                let index = usize::from(index) % caller.identities.len();
                caller.identities.remove(index);
            }
            Self::SwapPolicies => decision.policies.reverse(),
            Self::DropPolicy(index) if count > 0 => {
                decision.policies.remove(at(index));
            }
            Self::RepeatPolicy(index) if count > 0 => {
                decision.policies.push(decision.policies[at(index)].clone())
            }
            Self::Lifetime(index, seconds) => {
                narrowing(decision, index).lifetime_seconds = Some(seconds);
            }
            Self::Names(index, names) => {
                let items = names.into_iter().take(8).map(Name::text).collect();
                narrowing(decision, index).names = Some(StringList { items });
            }
            Self::Usages(index, usages) => {
                let word = |server| if server { "server" } else { "client" }.to_owned();
                let items = usages.into_iter().take(4).map(word).collect();
                narrowing(decision, index).usages = Some(StringList { items });
            }
            Self::Verdict(index, word) if count > 0 => {
                let words = ["allow", "deny", "aborted", "Allow", ""];
                decision.policies[at(index)].verdict = words[usize::from(word) % words.len()].to_owned();
            }
            Self::Digests(index, module, text) if count > 0 => {
                let policy = &mut decision.policies[at(index)];
                *(if module {
                    &mut policy.module
                } else {
                    &mut policy.settings
                }) = text;
            }
            Self::PolicyName(index, text) if count > 0 => decision.policies[at(index)].name = text,
            Self::Denied(index) if count > 0 => decision.policies[at(index)].denial = Some(Denial::default()),
            _ => {}
        }
    }
}

/// Of a policy, or behind the last of the grant.
fn narrowing(decision: &mut Decision, index: u8) -> &mut Narrowing {
    let count = decision.policies.len();
    let place = match decision.policies.get_mut(usize::from(index) % (count + 1)) {
        Some(policy) => &mut policy.narrowing,
        None => &mut decision.granted,
    };
    place.get_or_insert_default()
}

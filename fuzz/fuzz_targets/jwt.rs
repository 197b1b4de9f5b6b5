//! Tokens: their compact form, header, claims, and key sets.
//!
//! An input that begins with `H` has a header and, after a line feed, claims; they are signed here with a known
//! key. One that begins with `K` is a key set. Everything else is a token as it stands, which nobody here signed.
//!
//! Claims: no token is verified that was not signed here, nor with a key of another set, nor after one character
//! of it was changed; a token that is verified says what it has to (issuer, audience, times, subject, algorithm,
//! no `crit`), as read by a plain JSON reader, and its identity is the subject's; what is kept as evidence is
//! what was signed; a verified token is known under its own key set only and no longer than its `exp`; a foreign
//! key set verifies nothing of ours; no error quotes the token.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use libfuzzer_sys::fuzz_target;
use sealwright_fuzz::{keys::Key, seeds};
use sealwright_identity::Timestamp;
use sealwright_jwt::{Algorithm, Error, KeySet, Rules, Settings, SubjectForm, Trust, Verified, Verifier};
use serde_json::Value;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const ISSUER: &str = "https://kubernetes.default.svc";
const AUDIENCE: &str = "istio-ca";
const SKEW: i64 = 60;

static KEY: LazyLock<Key> = LazyLock::new(|| Key::of(20));
static OURS: LazyLock<KeySet> = LazyLock::new(|| set(&KEY));
/// The same name for the key, and another key.
static FOREIGN: LazyLock<KeySet> = LazyLock::new(|| set(&Key::of(21)));

fuzz_target!(
    init: { seeds::write(first()) },
    |input: &[u8]| {
        let verifiers = [SubjectForm::Kubernetes, SubjectForm::Spiffe].map(|form| (form, verifier(form)));
        match input.split_first() {
            Some((b'K', json)) => key_set(json, &verifiers),
            Some((b'H', rest)) => {
                let mut parts = rest.splitn(2, |octet| *octet == b'\n');
                let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                let token = signed(header, claims);
                for (form, verifier) in &verifiers {
                    made(&token, header, claims, *form, verifier, input);
                }
            }
            _ => {
                if let Ok(text) = std::str::from_utf8(input) {
                    for (_, verifier) in &verifiers {
                        assert!(verify(verifier, text, &OURS).is_err(), "a token that nobody signed");
                    }
                }
            }
        }
    }
);

fn verifier(subject: SubjectForm) -> Verifier {
    Verifier::new(Settings {
        issuer: ISSUER.to_owned(),
        algorithms: Algorithm::ALL.to_vec(),
        rules: Rules {
            audiences: vec![AUDIENCE.to_owned()],
            clock_skew: Duration::from_secs(60),
        },
        subject,
        trust: Trust {
            domain: "cluster.local".parse().expect("a trust domain"),
            aliases: vec!["old.local".parse().expect("a trust domain")],
        },
        cache_entries: 8,
    })
}

fn set(key: &Key) -> KeySet {
    let x = BASE64URL.encode(key.raw());
    let json = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}]}}"#);
    KeySet::parse(json.as_bytes()).expect("a key set")
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let signature = BASE64URL.encode(KEY.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn verify(
    verifier: &Verifier,
    token: &str,
    keys: &KeySet,
) -> Result<std::sync::Arc<Verified>, Option<Error>> {
    let digest = Verifier::digest(token);
    let candidate = verifier.open(token, digest).map_err(Some)?;
    let key = keys
        .select(candidate.kid(), candidate.algorithm())
        .map_err(|_| None)?;
    verifier.verify(candidate, &key, NOW).map_err(Some)
}

fn made(token: &str, header: &[u8], claims: &[u8], form: SubjectForm, verifier: &Verifier, input: &[u8]) {
    let verified = match verify(verifier, token, &OURS) {
        Ok(verified) => verified,
        Err(error) => {
            if let Some(error) = error {
                let text = format!("{error} {error:?}");
                assert!(text.len() < 8192 && error.code().starts_with("token_"));
                let parts: Vec<&str> = token.split('.').collect();
                assert!(
                    parts
                        .iter()
                        .filter(|part| part.len() > 40)
                        .all(|part| !text.contains(part))
                );
            }
            return;
        }
    };
    says_what_it_must(&verified, header, claims, form);
    assert_eq!(verified.evidence().header_json.as_bytes(), header);
    assert_eq!(verified.evidence().claims_json.as_bytes(), claims);

    let digest = Verifier::digest(token);
    assert!(matches!(
        verifier.known(&digest, OURS.generation(), NOW),
        Ok(Some(_))
    ));
    assert!(matches!(
        verifier.known(&digest, FOREIGN.generation(), NOW),
        Ok(None)
    ));
    let end = Timestamp::from_unix_seconds(253_402_300_800);
    assert!(verifier.known(&digest, OURS.generation(), end).is_err());

    assert!(verify(verifier, token, &FOREIGN).is_err(), "a key of another set");
    let seed = input.iter().fold(7_usize, |sum, octet| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*octet))
    });
    let mut other = token.as_bytes().to_vec();
    let place = seed % other.len();
    other[place] = if other[place] == b'A' { b'B' } else { b'A' };
    let other = String::from_utf8(other).expect("it is ASCII");
    assert!(
        verify(verifier, &other, &OURS).is_err(),
        "character {place} does not matter"
    );
}

fn says_what_it_must(verified: &Verified, header: &[u8], claims: &[u8], form: SubjectForm) {
    let (header, claims) = (json(header), json(claims));
    assert_eq!(header["alg"], "EdDSA");
    assert!(header.get("crit").is_none());
    assert!(header.get("kid").is_none_or(|kid| kid == "k" || kid.is_null()));
    assert_eq!(claims["iss"], ISSUER);
    let audience = match &claims["aud"] {
        Value::Array(all) => all.iter().any(|one| one == AUDIENCE),
        one => one == AUDIENCE,
    };
    assert!(audience);
    let now = NOW.unix_seconds() as f64;
    let time = |name: &str| claims[name].as_f64().expect("a number");
    assert!(time("exp") > now && time("exp") > time("nbf"));
    // Microseconds are as fine as it gets.
    let horizon = now + SKEW as f64 + 0.001;
    assert!(time("nbf") <= horizon && time("iat") <= horizon);

    let subject = claims["sub"].as_str().expect("a subject");
    let identity = verified.recognized().identity.to_string();
    match form {
        SubjectForm::Kubernetes => {
            let parts: Vec<&str> = subject.split(':').collect();
            let ["system", "serviceaccount", namespace, account] = parts.as_slice() else {
                panic!("{subject} is not a service account's");
            };
            assert_eq!(
                identity,
                format!("spiffe://cluster.local/ns/{namespace}/sa/{account}")
            );
            let facts = verified.kubernetes().expect("facts");
            assert_eq!(
                (facts.namespace.as_str(), facts.service_account.as_str()),
                (*namespace, *account)
            );
            if let Some(claim) = claims.get("kubernetes.io").filter(|claim| !claim.is_null()) {
                assert_eq!(claim["namespace"], *namespace);
                assert_eq!(claim["serviceaccount"]["name"], *account);
                assert_eq!(
                    facts.pod.as_ref().map(|pod| pod.name.as_str()),
                    claim["pod"]["name"].as_str()
                );
                assert_eq!(
                    facts.node.as_ref().map(|node| node.name.as_str()),
                    claim["node"]["name"].as_str()
                );
            }
        }
        SubjectForm::Spiffe => {
            let path = identity
                .strip_prefix("spiffe://cluster.local")
                .expect("our trust domain");
            let presented =
                ["spiffe://cluster.local", "spiffe://old.local"].map(|domain| format!("{domain}{path}"));
            assert!(presented.iter().any(|id| id == subject));
            assert_eq!(
                verified.recognized().presented.is_some(),
                subject.starts_with("spiffe://old.local/")
            );
            assert!(verified.kubernetes().is_none());
        }
    }
}

/// Verified, so each of its members can be read.
fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("a token was verified whose JSON is none")
}

fn key_set(json: &[u8], verifiers: &[(SubjectForm, Verifier)]) {
    let Ok(keys) = KeySet::parse(json) else { return };
    assert!((1..=256).contains(&keys.len()));
    let header = br#"{"alg":"EdDSA"}"#;
    let own = BASE64URL.encode(KEY.raw());
    for (form, verifier) in verifiers {
        let token = signed(header, &good(*form));
        let holds = verify(verifier, &token, &keys).is_ok();
        // An escape in JSON may hide the key from this search, so only one direction is claimed.
        if holds && !json.contains(&b'\\') {
            assert!(
                json.windows(own.len()).any(|part| part == own.as_bytes()),
                "a set without our key"
            );
        }
    }
}

fn good(form: SubjectForm) -> Vec<u8> {
    let subject = match form {
        SubjectForm::Kubernetes => "system:serviceaccount:a:b",
        SubjectForm::Spiffe => "spiffe://old.local/a/b",
    };
    let (nbf, exp) = (NOW.unix_seconds() - 10, NOW.unix_seconds() + 600);
    format!(
        r#"{{"iss":"{ISSUER}","aud":["{AUDIENCE}"],"sub":"{subject}","iat":{nbf},"nbf":{nbf},"exp":{exp}}}"#
    )
    .into_bytes()
}

fn first() -> Vec<(&'static str, Vec<u8>)> {
    let header = r#"{"alg":"EdDSA","kid":"k","typ":"JWT"}"#;
    let with = |claims: &str| format!("H{header}\n{claims}").into_bytes();
    let text = |form| String::from_utf8(good(form)).expect("text");
    let kubernetes = r#","kubernetes.io":{"namespace":"a","serviceaccount":{"name":"b","uid":"u"},"pod":{"name":"p","uid":"1"},"node":{"name":"n","uid":"2"}}}"#;
    let plain = text(SubjectForm::Kubernetes);
    let bound = format!("{}{kubernetes}", plain.strip_suffix('}').expect("an object"));
    for form in [SubjectForm::Kubernetes, SubjectForm::Spiffe] {
        let token = signed(header.as_bytes(), &good(form));
        assert!(
            verify(&verifier(form), &token, &OURS).is_ok(),
            "the good token is good"
        );
    }
    let token = signed(header.as_bytes(), &good(SubjectForm::Kubernetes));
    let (message, _) = token.rsplit_once('.').expect("three parts");
    let (own, zeros) = (BASE64URL.encode(KEY.raw()), "A".repeat(43));
    let jwks = format!(
        r#"K{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"k","alg":"EdDSA","use":"sig","x":"{own}"}},{{"kty":"EC","crv":"P-256","x":"{zeros}","y":"{zeros}","key_ops":["verify"]}},{{"kty":"RSA","n":"AQAB","e":"AQAB"}}]}}"#
    );
    vec![
        ("account", with(&text(SubjectForm::Kubernetes))),
        ("spiffe", with(&text(SubjectForm::Spiffe))),
        ("bound", with(&bound)),
        (
            "fraction",
            with(&text(SubjectForm::Spiffe).replace("600}", "600.5}")),
        ),
        ("none", format!("{message}.AA").into_bytes()),
        ("jwks", jwks.into_bytes()),
    ]
}

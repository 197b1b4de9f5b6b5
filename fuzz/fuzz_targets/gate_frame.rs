//! What a front that was taken over can send to the gate.
//!
//! The first octet says what the rest is: `F` octets of the stream, `T` a to-be-signed certificate, `L` a list of
//! changes to a good request, in which the certificate is built again by its own profile.
//!
//! Claims: the stream gives the same messages however it is cut, and a message is the same after being written
//! and read; a to-be-signed certificate that is taken is exactly what its fields build, and `x509-cert` reads the
//! same names in it; a request that the gate would sign is inside the ceiling and justified by its evidence, as
//! judged by the rules below, which are written from the threat model and share no code with the gate.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use arbitrary::{Arbitrary, Unstructured};
use bytes::BytesMut;
use der::Decode as _;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use sealwright_fuzz::{
    changes::Changes,
    seeds,
    world::{AUTHENTICATOR, MAX_LIFETIME, NOW, TRUST_DOMAIN, World},
};
use sealwright_gate::protocol::{MessageCodec, encode_frame};
use sealwright_identity::KeyType;
use sealwright_proto::gate::{
    Denial, IssueRequest, Narrowing, RecordDenial, Request, Response, request::Body,
};
use sealwright_x509::{CsrLimits, LeafFields, LeafTbs, SignatureAlgorithm, VerifiedCsr};
use tokio_util::codec::Decoder as _;
use x509_cert::{
    TbsCertificate,
    ext::pkix::{BasicConstraints, SubjectAltName, name::GeneralName},
};

static WORLD: LazyLock<World> = LazyLock::new(World::new);

fuzz_target!(
    init: { seeds::write(first()) },
    |input: &[u8]| {
        match input.split_first() {
            Some((b'F', stream)) => frames(stream),
            Some((b'T', der)) => certificate(der),
            Some((b'L', changes)) => {
                if let Ok(changes) = Changes::arbitrary_take_rest(Unstructured::new(changes)) {
                    issue(changes.apply(&WORLD));
                }
            }
            _ => {}
        }
    }
);

fn read(stream: &[u8], piece: usize) -> (Vec<Request>, bool) {
    let mut codec = MessageCodec::<Request, Response>::default();
    let (mut source, mut found) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        source.extend_from_slice(piece);
        loop {
            match codec.decode(&mut source) {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

fn frames(stream: &[u8]) {
    let (whole, failed) = read(stream, stream.len().max(1));
    assert_eq!(read(stream, 7), (whole.clone(), failed));
    for message in whole {
        let mut wire = BytesMut::new();
        encode_frame(&message, &mut wire).expect("what came in a frame fits a frame");
        assert_eq!(read(&wire, wire.len()), (vec![message.clone()], false));
        match message.body {
            Some(Body::Issue(request)) => issue(request),
            Some(Body::Denial(request)) => denial(request),
            _ => {}
        }
    }
}

fn certificate(der: &[u8]) {
    let Ok(tbs) = LeafTbs::decode(der) else { return };
    assert_eq!(tbs.as_der(), der);
    assert_eq!(LeafTbs::build(tbs.fields()).as_ref(), Ok(&tbs));
    let own = tbs.fields().issuer_der == WORLD.issuer().chain.issuer_name_der();
    // Foreign issuers' names may have object identifiers and texts that it is stricter with.
    let other = match TbsCertificate::from_der(der) {
        Ok(other) => other,
        Err(error) if own => panic!("another reader does not take it: {error}"),
        Err(_) => return,
    };
    let (critical, names) = other
        .get_extension::<SubjectAltName>()
        .expect("names")
        .expect("names");
    assert!(critical);
    let names: Vec<String> = names.0.iter().map(written).collect();
    let ours: Vec<String> = tbs.fields().sans.iter().map(ToString::to_string).collect();
    assert_eq!(names, ours);
    let basic = other
        .get_extension::<BasicConstraints>()
        .expect("basic constraints");
    assert!(basic.is_some_and(|(critical, basic)| critical && !basic.ca));
    assert_eq!(other.serial_number().as_bytes(), tbs.fields().serial.as_bytes());
    let validity = other.validity();
    let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs() as i64;
    assert_eq!(
        seconds(&validity.not_before),
        tbs.fields().validity.not_before().unix_seconds()
    );
    assert_eq!(
        seconds(&validity.not_after),
        tbs.fields().validity.not_after().unix_seconds()
    );
}

fn written(name: &GeneralName) -> String {
    match name {
        GeneralName::UniformResourceIdentifier(text) => format!("URI:{}", text.as_str()),
        GeneralName::DnsName(text) => format!("DNS:{}", text.as_str()),
        GeneralName::IpAddress(octets) => match octets.as_bytes().len() {
            4 => format!(
                "IP:{}",
                std::net::Ipv4Addr::from(<[u8; 4]>::try_from(octets.as_bytes()).expect("four"))
            ),
            _ => format!(
                "IP:{}",
                std::net::Ipv6Addr::from(<[u8; 16]>::try_from(octets.as_bytes()).expect("16"))
            ),
        },
        other => panic!("{other:?} in a leaf"),
    }
}

fn denial(request: RecordDenial) {
    let evidence = request.evidence.clone().unwrap_or_default();
    let named = request.denial.is_some();
    if WORLD.rehearsal.denial(request).is_ok() {
        let identities = evidence
            .caller
            .map(|caller| caller.identities)
            .unwrap_or_default();
        assert!(named && (1..=64).contains(&identities.len()));
        assert!(
            identities
                .iter()
                .all(|id| id.starts_with("spiffe://cluster.local/"))
        );
    }
}

fn issue(request: IssueRequest) {
    certificate(&request.tbs);
    match WORLD.rehearsal.issue(request.clone()) {
        Ok(tbs) => {
            assert_eq!(tbs.as_der(), &request.tbs[..]);
            justified(&request, tbs.fields());
        }
        Err(text) => assert!(
            !text.is_empty() && text.len() < 16_384,
            "{} octets of a refusal",
            text.len()
        ),
    }
}

/// The gate would sign this: it must be right.
fn justified(request: &IssueRequest, fields: &LeafFields) {
    let issuer = WORLD.issuer();
    assert!(request.issuer.is_empty() || request.issuer == "default");
    let csr = VerifiedCsr::from_der(&request.csr, &CsrLimits { max_bytes: 32_768 }).expect("possession");
    assert_eq!(csr.spki_der(), fields.spki_der);
    assert!(matches!(csr.key_type(), KeyType::P256 | KeyType::Ed25519));
    assert_eq!(fields.issuer_der, issuer.chain.issuer_name_der());
    assert_eq!(fields.aki, issuer.chain.ski());
    assert_eq!(fields.signature_algorithm, SignatureAlgorithm::Ed25519);
    let (begin, end) = (fields.validity.not_before(), fields.validity.not_after());
    let lifetime = end.unix_seconds() - NOW.unix_seconds();
    // A front's clock may be ahead by a minute, and backdating (two) does not count.
    assert!(
        lifetime <= MAX_LIFETIME as i64 + 180 && end <= issuer.chain.not_after(),
        "{lifetime}"
    );
    assert!((NOW.unix_seconds() - 300..=NOW.unix_seconds() + 60).contains(&begin.unix_seconds()));
    assert!(fields.common_name.is_none() && !fields.usages.is_empty());

    let evidence = request.evidence.as_ref().expect("evidence");
    let caller = evidence.caller.as_ref().expect("a caller");
    assert_eq!(caller.authenticator, AUTHENTICATOR);
    let decision = evidence.decision.as_ref().expect("a decision");
    assert!(!decision.input.is_empty());
    assert_eq!(decision.policies.len(), issuer.policies.len());
    let mut dns_chosen = false;
    for (policy, expected) in decision.policies.iter().zip(&issuer.policies) {
        assert_eq!(policy.name, *expected.name);
        assert_eq!(policy.module, expected.module.to_string());
        assert_eq!(policy.settings, expected.settings.to_string());
        assert!(policy.verdict == "allow" && policy.denial.is_none());
        dns_chosen |= policy
            .narrowing
            .as_ref()
            .is_some_and(|narrowing| narrowing.names.is_some());
    }
    let narrowings = decision
        .policies
        .iter()
        .filter_map(|policy| policy.narrowing.as_ref());
    narrowings
        .chain(&decision.granted)
        .for_each(|narrowing| inside(narrowing, fields));

    let mut uris = 0;
    for name in fields.sans.iter().map(ToString::to_string) {
        match name.split_once(':') {
            Some(("URI", id)) => {
                uris += 1;
                assert!(id.starts_with("spiffe://cluster.local/") && TRUST_DOMAIN == "cluster.local");
                assert!(
                    caller.identities.iter().any(|own| own == id),
                    "{id} is not the caller's"
                );
            }
            Some(("DNS", dns)) => {
                let label = dns.strip_suffix(".svc").expect("a name outside of the patterns");
                assert!(dns_chosen && !label.is_empty() && !label.contains('.'), "{dns}");
            }
            _ => panic!("{name} in a workload's certificate"),
        }
    }
    assert_eq!(uris, 1);
}

fn inside(narrowing: &Narrowing, fields: &LeafFields) {
    if let Some(seconds) = narrowing.lifetime_seconds {
        let life = fields
            .validity
            .duration()
            .saturating_sub(Duration::from_secs(120));
        assert!(life <= Duration::from_secs(seconds));
    }
    if let Some(names) = &narrowing.names {
        let lower = |text: &String| {
            text.strip_prefix("DNS:")
                .map_or(text.clone(), |dns| format!("DNS:{}", dns.to_ascii_lowercase()))
        };
        let names: Vec<String> = names.items.iter().map(lower).collect();
        assert!(fields.sans.iter().all(|name| names.contains(&name.to_string())));
    }
    if let Some(usages) = &narrowing.usages {
        assert!(
            fields
                .usages
                .iter()
                .all(|usage| usages.items.iter().any(|item| item == usage.as_str()))
        );
    }
}

fn first() -> Vec<(&'static str, Vec<u8>)> {
    let request = WORLD.request();
    assert!(
        WORLD.rehearsal.issue(request.clone()).is_ok(),
        "the good request is good"
    );
    let body = |body| Request {
        id: 1,
        timeout_ms: 0,
        body: Some(body),
    };
    let denial = RecordDenial {
        evidence: Some(WORLD.evidence()),
        denial: Some(Denial {
            code: "NO".to_owned(),
            ..Denial::default()
        }),
        ..RecordDenial::default()
    };
    let framed = |message: &Request| {
        let mut wire = BytesMut::from(&b"F"[..]);
        encode_frame(message, &mut wire).expect("it fits");
        assert!(message.encoded_len() < 4096);
        wire.to_vec()
    };
    vec![
        ("issue", framed(&body(Body::Issue(request.clone())))),
        ("denial", framed(&body(Body::Denial(denial)))),
        ("cancel", framed(&body(Body::Cancel(7)))),
        ("certificate", [&b"T"[..], &request.tbs].concat()),
        ("changes", b"L\0\0\0\0\0\0\0\0".to_vec()),
    ]
}

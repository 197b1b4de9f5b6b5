//! SPIFFE IDs, and the other names of `identity` that come from a stranger's text.
//!
//! Claims: a text is taken exactly when the checker below, written from the SPIFFE ID specification alone, takes
//! it; what was taken prints back to what it was and comes apart into its trust domain and path; Istio's
//! identities are exactly the paths `/ns/…/sa/…`; a DNS pattern matches what its own rule says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sealwright_fuzz::seeds;
use sealwright_identity::{DnsName, DnsPattern, Identity, San, SpiffeId, TrustDomain};

fuzz_target!(
    init: {
        seeds::write([
            ("istio", "spiffe://cluster.local/ns/a/sa/b"),
            ("pattern", "*.example.com a.example.com"),
            ("address", "IP:::1"),
        ]);
    },
    |text: &str| check(text)
);

fn check(text: &str) {
    let found = text.parse::<SpiffeId>();
    assert_eq!(found.is_ok(), specification(text.as_bytes()), "{found:?}");
    match found {
        Ok(id) => taken(text, &id),
        Err(error) => assert!(error.to_string().len() < 200, "an error quotes its input"),
    }
    let json = serde_json::to_string(text).expect("a text has a JSON form");
    assert_eq!(serde_json::from_str::<SpiffeId>(&json).ok(), text.parse().ok());
    name(text);
    dns(text);
}

fn taken(text: &str, id: &SpiffeId) {
    assert_eq!(id.to_string(), text);
    assert_eq!(id.as_str(), text);
    assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
    assert_eq!(SpiffeId::new(id.trust_domain(), id.path()).as_ref(), Ok(id));
    assert_eq!(id.trust_domain().as_str().parse().as_ref(), Ok(id.trust_domain()));

    let segments: Vec<&str> = id.path()[1..].split('/').collect();
    match (Identity::try_from(id), segments.as_slice()) {
        (Ok(identity), ["ns", namespace, "sa", account]) => {
            assert_eq!(
                (identity.namespace(), identity.service_account()),
                (*namespace, *account)
            );
            assert_eq!(identity.trust_domain(), id.trust_domain());
            assert_eq!(identity.to_string(), text);
            let again = Identity::new(id.trust_domain(), namespace, account);
            assert_eq!(again.as_ref(), Ok(&identity));
        }
        (Err(_), ["ns", _, "sa", _]) => panic!("an Istio identity was refused"),
        (Ok(identity), _) => panic!("{identity} is not of Istio's form"),
        (Err(_), _) => {}
    }

    let other: TrustDomain = "b".parse().expect("a trust domain");
    let moved = id.in_trust_domain(&other).expect("it only got shorter");
    assert_eq!((moved.trust_domain(), moved.path()), (&other, id.path()));

    let san: San = format!("URI:{text}").parse().expect("an ID is a name");
    assert_eq!(san, San::Uri(id.clone()));
}

/// Names print to a text that is read as the same name.
fn name(text: &str) {
    if let Ok(san) = text.parse::<San>() {
        let printed = san.to_string();
        assert_eq!(printed.parse::<San>().as_ref(), Ok(&san));
        if let San::Uri(_) = san {
            assert_eq!(printed, text);
        }
    }
}

fn dns(text: &str) {
    if let Ok(name) = text.parse::<DnsName>() {
        assert_eq!(name.to_string(), text.to_ascii_lowercase());
        assert_eq!(name.as_str().parse::<DnsName>().as_ref(), Ok(&name));
        assert!(name.as_str().len() <= 253 && name.as_str().split('.').all(|label| label.len() <= 63));
        assert!(name.as_str().parse::<std::net::Ipv4Addr>().is_err(), "an address");
    }
    // A pattern and a name, a blank between them.
    let Some((pattern, name)) = text.split_once(' ') else {
        return;
    };
    let (Ok(pattern), Ok(name)) = (pattern.parse::<DnsPattern>(), name.parse::<DnsName>()) else {
        return;
    };
    let printed = pattern.to_string();
    assert_eq!(printed.parse::<DnsPattern>().as_ref(), Ok(&pattern));
    let expected = match printed.strip_prefix("*.") {
        Some(parent) => {
            let label = name
                .as_str()
                .strip_suffix(parent)
                .and_then(|front| front.strip_suffix('.'));
            label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
        }
        None => printed == name.as_str(),
    };
    assert_eq!(pattern.matches(&name), expected, "{printed} {name}");
}

/// SPIFFE ID specification, section 2, by octets. An ID without a path is a trust domain's, not a workload's.
fn specification(id: &[u8]) -> bool {
    let Some(rest) = id.strip_prefix(b"spiffe://") else {
        return false;
    };
    let mut parts = rest.split(|octet| *octet == b'/');
    let domain = parts.next().unwrap_or_default();
    let domain_octet = |octet: &u8| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let path_octet = |octet: &u8| domain_octet(octet) || octet.is_ascii_uppercase();
    let mut segments = 0;
    let path = parts.all(|segment| {
        segments += 1;
        !segment.is_empty() && segment != b"." && segment != b".." && segment.iter().all(path_octet)
    });
    id.len() <= 2048
        && (1..=255).contains(&domain.len())
        && domain.iter().all(domain_octet)
        && path
        && segments > 0
}

//! The changes of the corpus: each makes an ordinary request a hostile one.

use sealwright_identity::{KeyType, TrustDomain, Usage};

use crate::{KubernetesFacts, PolicyInput};

pub(super) type Change = (&'static str, fn(&mut PolicyInput));

/// The change that leaves the most behind.
pub(in super::super) const LARGEST: &str = "thousand-names";

/// The largest number that a record can hold.
const MOST: u64 = 1 << 53;
const EVIL: &str = "spiffe://evil.example/ns/default/sa/default";
/// Line ends, an escape sequence, a bell, NUL, a C1 control.
const CONTROLS: &str = "a\r\nb\u{1b}[2J\u{7}\0\u{85}";
/// Marks that turn the direction of what follows.
const MARKS: &str = "\u{202e}\u{2066}lacol\u{200f}\u{feff}";

/// The names that are added to a request that was denied.
pub(super) const ADDED_NAMES: &[Change] = &[
    ("one-more-dns-name", |input| {
        input.csr.dns.push("extra.example".to_owned());
        input.ceiling.names.push("DNS:extra.example".to_owned());
    }),
    ("one-more-uri", |input| {
        let uri = format!("spiffe://{}/ns/extra/sa/extra", input.issuer.trust_domain);
        input.ceiling.names.push(format!("URI:{uri}"));
        input.csr.uris.push(uri);
    }),
    ("one-more-address", |input| {
        input.csr.ips.push("192.0.2.1".to_owned());
        input.ceiling.names.push("IP:192.0.2.1".to_owned());
    }),
];

/// The corpus.
pub(super) const CHANGES: &[Change] = &[
    // What is asked for.
    ("ca", |input| input.csr.is_ca = true),
    ("ca-extensions", |input| {
        input.csr.is_ca = true;
        input.csr.extensions = words(["2.5.29.19", "2.5.29.15", "2.5.29.30", "2.5.29.36", "2.5.29.54"]);
    }),
    ("thousand-extensions", |input| {
        input.csr.extensions = many(|number| format!("1.3.6.1.4.1.{number}"));
    }),
    ("foreign-uri", |input| input.csr.uris.push(EVIL.to_owned())),
    ("foreign-candidate", |input| {
        input.ceiling.names.push(format!("URI:{EVIL}"))
    }),
    ("duplicate-names", |input| {
        input.csr.dns = words(["a.example", "a.example", "A.EXAMPLE", "a.example."]);
        twice(&mut input.csr.uris);
        twice(&mut input.ceiling.names);
    }),
    ("wildcards", |input| {
        input.csr.dns = words(["*", "*.", "*.example", "a.*.example", "**.example"]);
        input.ceiling.names.push("DNS:*".to_owned());
    }),
    ("strange-addresses", |input| {
        input.csr.ips = words([
            "0.0.0.0",
            "::",
            "::ffff:127.0.0.1",
            "255.255.255.255",
            "fe80::1%eth0",
            "",
        ]);
    }),
    ("mail-addresses", |input| {
        input.csr.emails = words(["root@cluster.local", "@", "\"a b\"@c", ""]);
    }),
    (LARGEST, |input| {
        input.csr.dns = many(|number| format!("name-{number}.default.svc.cluster.local"));
        input.ceiling.names.extend(many(|number| {
            format!("DNS:name-{number}.default.svc.cluster.local")
        }));
    }),
    ("long-name", |input| {
        let name = format!("{}.example", "x".repeat(16 << 10));
        input.csr.common_name = Some(name.clone());
        input.ceiling.names.push(format!("DNS:{name}"));
        input.csr.dns.push(name);
    }),
    ("controls", |input| {
        input.csr.common_name = Some(CONTROLS.to_owned());
        input.csr.dns.push(CONTROLS.to_owned());
        input.csr.organizations.push(CONTROLS.to_owned());
        input
            .caller
            .identities
            .push(format!("spiffe://cluster.local/ns/{CONTROLS}/sa/a"));
        input
            .caller
            .claims
            .insert(CONTROLS.to_owned(), CONTROLS.to_owned());
        input.ceiling.names.push(format!("DNS:{CONTROLS}"));
    }),
    ("direction-marks", |input| {
        input.csr.common_name = Some(MARKS.to_owned());
        input.csr.dns.push(MARKS.to_owned());
        input
            .caller
            .identities
            .push(format!("spiffe://cluster.local/ns/{MARKS}/sa/a"));
    }),
    ("weak-key", |input| {
        input.csr.key_type = KeyType::Rsa(512);
        input.csr.signature_algorithm = "md5WithRSAEncryption".to_owned();
    }),
    ("huge-key", |input| {
        input.csr.key_type = KeyType::Rsa(u16::MAX.into())
    }),
    // Who asks.
    ("foreign-identity", |input| {
        input.caller.identities = words([EVIL])
    }),
    ("second-identity-foreign", |input| {
        input.caller.identities.push(EVIL.to_owned())
    }),
    ("foreign-issuer", |input| {
        if let Ok(domain) = "evil.example".parse::<TrustDomain>() {
            input.issuer.trust_domain = domain;
        }
    }),
    ("no-identity", |input| input.caller.identities.clear()),
    ("empty-identity", |input| input.caller.identities = words([""])),
    ("duplicate-identities", |input| {
        twice(&mut input.caller.identities)
    }),
    ("thousand-identities", |input| {
        input.caller.identities = many(|number| format!("spiffe://cluster.local/ns/n{number}/sa/a"));
    }),
    ("identity-with-dots", |input| {
        input.caller.identities = words(["spiffe://cluster.local/ns/x/../default/sa/default"]);
    }),
    ("identity-encoded", |input| {
        input.caller.identities = words(["spiffe://cluster.local/ns/%64efault/sa/default%00"]);
    }),
    ("identity-in-upper-case", |input| {
        input.caller.identities = words(["SPIFFE://CLUSTER.LOCAL/NS/DEFAULT/SA/DEFAULT"]);
    }),
    ("identity-in-look-alikes", |input| {
        // The second letter of the namespace is a Cyrillic one.
        input.caller.identities = words(["spiffe://cluster.local/ns/d\u{435}fault/sa/default"]);
    }),
    ("identity-of-another-kind", |input| {
        input.caller.identities = words(["https://cluster.local/ns/default/sa/default", "spiffe:", "/"]);
    }),
    ("identity-with-authority", |input| {
        input.caller.identities = words(["spiffe://user@cluster.local:443/ns/default/sa/default?x#y"]);
    }),
    ("deep-identity", |input| {
        input.caller.identities = vec![format!("spiffe://cluster.local{}", "/ns/a".repeat(200))];
    }),
    ("no-pod", |input| input.caller.kubernetes = None),
    ("pod-of-another-namespace", |input| {
        input.caller.kubernetes = Some(pod("kube-system", "admin"));
    }),
    ("empty-pod", |input| input.caller.kubernetes = Some(pod("", ""))),
    ("unknown-source", |input| input.caller.source = "none".to_owned()),
    ("renewal", |input| {
        input.caller.source = "client-certificate".to_owned();
        input.caller.kubernetes = None;
        input.caller.previous_serial = Some("7f".repeat(20));
        input.caller.first_authenticated_at = Some(input.decided_at - 86_400);
    }),
    ("renewal-from-the-future", |input| {
        input.caller.first_authenticated_at = Some(1 << 53);
    }),
    ("renewal-from-the-past", |input| {
        input.caller.first_authenticated_at = Some(-(1 << 53));
    }),
    ("attributes-that-are-not-numbers", |input| {
        for name in ["impersonator", "previous_serial", "first_authenticated_at"] {
            input
                .caller
                .attributes
                .insert(name.to_owned(), "-\u{661}e9".to_owned());
        }
    }),
    ("claims-that-lie", |input| {
        for (name, value) in [("namespace", "kube-system"), ("role", "admin"), ("", "")] {
            input.caller.claims.insert(name.to_owned(), value.to_owned());
        }
    }),
    ("thousand-claims", |input| {
        input.caller.claims = many(|number| format!("claim-{number}"))
            .into_iter()
            .map(|name| (name, "x".repeat(100)))
            .collect();
    }),
    // For how long, and when.
    ("no-lifetime", |input| input.request.lifetime_seconds = 0),
    ("one-second", |input| input.request.lifetime_seconds = 1),
    ("longest-lifetime", |input| input.request.lifetime_seconds = MOST),
    ("longest-ceiling", |input| {
        input.request.lifetime_seconds = MOST;
        input.ceiling.max_lifetime_seconds = MOST;
        input.ceiling.default_lifetime_seconds = MOST;
    }),
    ("shortest-ceiling", |input| {
        input.ceiling.max_lifetime_seconds = 1;
        input.ceiling.default_lifetime_seconds = 1;
    }),
    ("no-ceiling", |input| {
        input.ceiling.max_lifetime_seconds = 0;
        input.ceiling.default_lifetime_seconds = 0;
    }),
    ("at-the-epoch", |input| input.decided_at = 0),
    ("at-the-beginning-of-time", |input| input.decided_at = -(1 << 53)),
    ("at-the-end-of-time", |input| input.decided_at = 1 << 53),
    // What could be granted.
    ("no-candidates", |input| {
        input.ceiling.names.clear();
        input.ceiling.dns_patterns.clear();
    }),
    ("nothing-to-grant", |input| {
        input.ceiling.names.clear();
        input.ceiling.dns_patterns.clear();
        input.ceiling.usages.clear();
        input.ceiling.key_types.clear();
    }),
    ("client-only", |input| {
        input.ceiling.usages = vec![Usage::ClientAuth]
    }),
    ("server-only", |input| {
        input.ceiling.usages = vec![Usage::ServerAuth]
    }),
    // Nothing, everywhere.
    ("empty-texts", |input| {
        input.caller.authenticator.clear();
        input.caller.source.clear();
        input.caller.identities = words([""]);
        input.caller.cluster = Some(String::new());
        input.caller.kubernetes = Some(pod("", ""));
        input.csr.common_name = Some(String::new());
        input.csr.signature_algorithm.clear();
        for list in [
            &mut input.csr.uris,
            &mut input.csr.dns,
            &mut input.csr.ips,
            &mut input.csr.emails,
            &mut input.csr.organizations,
            &mut input.csr.extensions,
            &mut input.ceiling.names,
        ] {
            *list = words([""]);
        }
        input.issuer.name.clear();
    }),
    ("empty-lists", |input| {
        input.caller.identities.clear();
        input.caller.attributes.clear();
        input.caller.claims.clear();
        input.caller.kubernetes = None;
        input.caller.cluster = None;
        input.csr.uris.clear();
        input.csr.dns.clear();
        input.csr.extensions.clear();
        input.csr.organizations.clear();
        input.ceiling.names.clear();
        input.ceiling.usages.clear();
        input.ceiling.key_types.clear();
    }),
];

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

fn many(name: impl Fn(usize) -> String) -> Vec<String> {
    (0..1000).map(name).collect()
}

fn twice(list: &mut Vec<String>) {
    list.extend_from_within(..);
}

fn pod(namespace: &str, service_account: &str) -> KubernetesFacts {
    KubernetesFacts {
        namespace: namespace.to_owned(),
        node_name: None,
        node_uid: None,
        pod_name: None,
        pod_uid: None,
        service_account: service_account.to_owned(),
    }
}

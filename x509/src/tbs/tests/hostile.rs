//! To-be-signed bytes as a taken-over front would send them: each refused, for its own reason.

use sealwright_identity::{KeyType, Timestamp, Validity};

use super::super::*;
use crate::{
    ceiling, oids,
    testing::{DAY, HOUR, NOW, TestCa, TestKey, ceiling as ceiling_of},
};

/// A certificate in parts, each of which a test can replace by any bytes.
struct Forge {
    version: Vec<u8>,
    serial: Vec<u8>,
    subject: Vec<u8>,
    unique_ids: Vec<u8>,
    extensions: Vec<(Vec<u8>, Option<u8>, Vec<u8>)>,
    after: Vec<u8>,
    fields: LeafFields,
}

impl Forge {
    /// The profile's own parts.
    fn new(fields: LeafFields) -> Self {
        let spki = SpkiRef::parse(&fields.spki_der).unwrap();
        let mut aki = vec![0x30, 2 + u8::try_from(fields.aki.len()).unwrap(), 0x80];
        aki.push(u8::try_from(fields.aki.len()).unwrap());
        aki.extend_from_slice(&fields.aki);
        let extension =
            |oid: &[u8], critical: bool, value: Vec<u8>| (oid.to_vec(), critical.then_some(0xff), value);
        let extensions = vec![
            extension(oids::BASIC_CONSTRAINTS, true, vec![0x30, 0]),
            extension(oids::KEY_USAGE, true, vec![3, 2, 7, 0x80]),
            extension(
                oids::EXTENDED_KEY_USAGE,
                false,
                ekus(&[oids::SERVER_AUTH, oids::CLIENT_AUTH]),
            ),
            extension(
                oids::SUBJECT_KEY_IDENTIFIER,
                false,
                [vec![4, 20], spki.key_identifier().to_vec()].concat(),
            ),
            extension(oids::AUTHORITY_KEY_IDENTIFIER, false, aki),
            extension(
                oids::SUBJECT_ALT_NAME,
                true,
                names(&[(6, b"spiffe://cluster.local/ns/default/sa/web")]),
            ),
        ];
        Self {
            version: vec![0xa0, 3, 2, 1, 2],
            serial: fields.serial.as_bytes().to_vec(),
            subject: vec![0x30, 0],
            unique_ids: Vec::new(),
            extensions,
            after: Vec::new(),
            fields,
        }
    }

    fn extension(&mut self, oid: &[u8]) -> &mut (Vec<u8>, Option<u8>, Vec<u8>) {
        self.extensions
            .iter_mut()
            .find(|(found, ..)| found == oid)
            .unwrap()
    }

    fn value(&mut self, oid: &[u8], value: impl Into<Vec<u8>>) {
        self.extension(oid).2 = value.into();
    }

    fn der(&self) -> Vec<u8> {
        let moment = |at| crate::time::date_time(at).unwrap();
        let (from, to) = (
            self.fields.validity.not_before(),
            self.fields.validity.not_after(),
        );
        let mut w = Writer::with_capacity(0);
        w.nest(tag::SEQUENCE, |w| {
            w.raw(&self.version);
            w.value(tag::INTEGER, &self.serial);
            w.raw(self.fields.signature_algorithm.identifier_der());
            w.raw(&self.fields.issuer_der);
            crate::time::write_validity(w, moment(from), moment(to));
            w.raw(&self.subject);
            w.raw(&self.fields.spki_der);
            w.raw(&self.unique_ids);
            w.nest(0xa3, |w| {
                w.nest(tag::SEQUENCE, |w| {
                    for (oid, critical, value) in &self.extensions {
                        w.nest(tag::SEQUENCE, |w| {
                            w.value(tag::OID, oid);
                            if let Some(octet) = critical {
                                w.value(tag::BOOLEAN, &[*octet]);
                            }
                            w.value(tag::OCTET_STRING, value);
                        });
                    }
                });
            });
        });
        w.raw(&self.after);
        w.into_bytes()
    }
}

fn ekus(oids: &[&[u8]]) -> Vec<u8> {
    let mut w = Writer::with_capacity(0);
    w.nest(tag::SEQUENCE, |w| {
        oids.iter().for_each(|oid| w.value(tag::OID, oid))
    });
    w.into_bytes()
}

fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let mut w = Writer::with_capacity(0);
    w.nest(tag::SEQUENCE, |w| {
        names
            .iter()
            .for_each(|(number, value)| w.value(tag::context(*number), value));
    });
    w.into_bytes()
}

fn forge() -> (TestCa, Forge) {
    let ca = TestCa::new(KeyType::P256);
    let fields = ca.leaf(TestKey::generate(KeyType::P256).spki_der());
    let forge = Forge::new(fields);
    (ca, forge)
}

#[test]
fn the_forge_forges_the_profile_when_nothing_is_changed() {
    let (ca, forge) = forge();
    let decoded = LeafTbs::decode(&forge.der()).unwrap();
    assert_eq!(decoded.as_der(), LeafTbs::build(&forge.fields).unwrap().as_der());
    ceiling::check(decoded.fields(), &ceiling_of(), &ca.chain, NOW).unwrap();
}

type Change = fn(&mut Forge);

/// Everything that the profile cannot say.
const NOT_THE_PROFILE: &[(&str, &str, Change)] = &[
    ("a CA", "tbs_is_ca", |f| {
        f.value(oids::BASIC_CONSTRAINTS, [0x30, 3, 1, 1, 0xff])
    }),
    ("a path length", "tbs_is_ca", |f| {
        f.value(oids::BASIC_CONSTRAINTS, [0x30, 3, 2, 1, 0])
    }),
    ("cA FALSE written out", "tbs_malformed", |f| {
        f.value(oids::BASIC_CONSTRAINTS, [0x30, 3, 1, 1, 0])
    }),
    ("keyCertSign", "tbs_key_usage", |f| {
        f.value(oids::KEY_USAGE, [3, 2, 2, 0x84])
    }),
    ("keyEncipherment for EC", "tbs_key_usage", |f| {
        f.value(oids::KEY_USAGE, [3, 2, 5, 0xa0])
    }),
    ("another form of keyUsage", "tbs_key_usage", |f| {
        f.value(oids::KEY_USAGE, [3, 2, 0, 0x80])
    }),
    ("codeSigning", "tbs_extended_key_usage", |f| {
        let code_signing = [0x2b, 6, 1, 5, 5, 7, 3, 3];
        f.value(
            oids::EXTENDED_KEY_USAGE,
            ekus(&[oids::SERVER_AUTH, &code_signing]),
        );
    }),
    ("anyExtendedKeyUsage", "tbs_extended_key_usage", |f| {
        f.value(oids::EXTENDED_KEY_USAGE, ekus(&[oids::ANY_EXTENDED_KEY_USAGE]));
    }),
    ("no usages", "tbs_usages", |f| {
        f.value(oids::EXTENDED_KEY_USAGE, [0x30, 0])
    }),
    ("usages out of order", "tbs_usages", |f| {
        f.value(
            oids::EXTENDED_KEY_USAGE,
            ekus(&[oids::CLIENT_AUTH, oids::SERVER_AUTH]),
        );
    }),
    ("a usage twice", "tbs_usages", |f| {
        f.value(
            oids::EXTENDED_KEY_USAGE,
            ekus(&[oids::SERVER_AUTH, oids::SERVER_AUTH]),
        );
    }),
    ("O=system:masters", "tbs_subject", |f| {
        f.subject = [
            &[0x30, 25, 0x31, 23, 0x30, 21, 6, 3, 0x55, 4, 0x0a, 0x0c, 14],
            &b"system:masters"[..],
        ]
        .concat();
    }),
    ("two common names", "tbs_subject", |f| {
        let one = [0x31, 10, 0x30, 8, 6, 3, 0x55, 4, 3, 0x0c, 1, b'a'];
        f.subject = [&[0x30, 24], &one[..], &one[..]].concat();
    }),
    ("a common name that is no name", "tbs_common_name", |f| {
        f.subject = [
            &[0x30, 17, 0x31, 15, 0x30, 13, 6, 3, 0x55, 4, 3, 0x0c, 6],
            &b"istiod"[..],
        ]
        .concat();
    }),
    ("an unknown extension", "tbs_unknown_extension", |f| {
        f.extensions.push((vec![0x2a, 3, 4], None, vec![5, 0]));
    }),
    ("name constraints", "tbs_unknown_extension", |f| {
        f.extensions
            .push((vec![0x55, 0x1d, 0x1e], Some(0xff), vec![0x30, 0]));
    }),
    ("a SAN that is not critical", "tbs_criticality", |f| {
        f.extension(oids::SUBJECT_ALT_NAME).1 = None
    }),
    ("FALSE written out", "tbs_extensions", |f| {
        f.extension(oids::SUBJECT_ALT_NAME).1 = Some(0)
    }),
    ("an odd truth", "tbs_extensions", |f| {
        f.extension(oids::SUBJECT_ALT_NAME).1 = Some(1)
    }),
    ("a critical EKU", "tbs_criticality", |f| {
        f.extension(oids::EXTENDED_KEY_USAGE).1 = Some(0xff)
    }),
    ("a repeated extension", "tbs_extensions", |f| {
        let again = f.extension(oids::SUBJECT_ALT_NAME).clone();
        f.extensions.push(again);
    }),
    ("sixty-five extensions", "tbs_extensions", |f| {
        f.extensions
            .extend((0..60).map(|n| (vec![0x2a, 3, n], None, vec![5, 0])));
    }),
    ("extensions in another order", "tbs_differs", |f| {
        f.extensions.swap(0, 1)
    }),
    ("no AKI", "tbs_missing_extension", |f| {
        f.extensions
            .retain(|(oid, ..)| oid != oids::AUTHORITY_KEY_IDENTIFIER);
    }),
    ("no SKI", "tbs_missing_extension", |f| {
        f.extensions
            .retain(|(oid, ..)| oid != oids::SUBJECT_KEY_IDENTIFIER);
    }),
    ("no SAN", "tbs_missing_extension", |f| {
        f.extensions.retain(|(oid, ..)| oid != oids::SUBJECT_ALT_NAME);
    }),
    ("no extensions", "tbs_missing_extension", |f| f.extensions.clear()),
    ("another key's SKI", "tbs_differs", |f| {
        f.value(oids::SUBJECT_KEY_IDENTIFIER, [vec![4, 20], vec![7; 20]].concat());
    }),
    ("an AKI with an issuer", "tbs_authority_key_identifier", |f| {
        f.value(oids::AUTHORITY_KEY_IDENTIFIER, [0x30, 6, 0x80, 1, 9, 0x82, 1, 9]);
    }),
    ("an empty AKI", "tbs_authority_key_identifier", |f| {
        f.value(oids::AUTHORITY_KEY_IDENTIFIER, [0x30, 0]);
    }),
    ("two URIs", "tbs_kind", |f| {
        f.value(
            oids::SUBJECT_ALT_NAME,
            names(&[(6, b"spiffe://cluster.local/a"), (6, b"spiffe://cluster.local/b")]),
        );
    }),
    ("a name twice", "tbs_sans", |f| {
        let one: (u8, &[u8]) = (6, b"spiffe://cluster.local/a");
        f.value(oids::SUBJECT_ALT_NAME, names(&[one, one]));
    }),
    ("no names", "tbs_sans", |f| {
        f.value(oids::SUBJECT_ALT_NAME, [0x30, 0])
    }),
    ("two names joined by a comma", "tbs_san", |f| {
        f.value(
            oids::SUBJECT_ALT_NAME,
            names(&[(6, b"spiffe://cluster.local/a,spiffe://cluster.local/b")]),
        );
    }),
    ("a comma in a DNS name", "tbs_san", |f| {
        f.value(
            oids::SUBJECT_ALT_NAME,
            names(&[(6, b"spiffe://cluster.local/a"), (2, b"a,b.svc")]),
        );
    }),
    ("a URI of another scheme", "tbs_san", |f| {
        f.value(oids::SUBJECT_ALT_NAME, names(&[(6, b"https://cluster.local/a")]));
    }),
    ("a trust domain's own ID", "tbs_san", |f| {
        f.value(oids::SUBJECT_ALT_NAME, names(&[(6, b"spiffe://cluster.local")]));
    }),
    ("a mail address", "tbs_san", |f| {
        f.value(
            oids::SUBJECT_ALT_NAME,
            names(&[(6, b"spiffe://cluster.local/a"), (1, b"a@b")]),
        );
    }),
    ("a wildcard", "tbs_san", |f| {
        f.value(
            oids::SUBJECT_ALT_NAME,
            names(&[(6, b"spiffe://cluster.local/a"), (2, b"*.svc")]),
        );
    }),
    ("a DNS name in capitals", "tbs_differs", |f| {
        f.value(
            oids::SUBJECT_ALT_NAME,
            names(&[(6, b"spiffe://cluster.local/a"), (2, b"A.svc")]),
        );
    }),
    ("a NUL in a name", "tbs_malformed", |f| {
        f.value(
            oids::SUBJECT_ALT_NAME,
            names(&[(6, b"spiffe://cluster.local/a"), (2, b"a\0.svc")]),
        );
    }),
    ("an address beside an ID", "tbs_kind", |f| {
        f.value(
            oids::SUBJECT_ALT_NAME,
            names(&[(6, b"spiffe://cluster.local/a"), (7, &[127, 0, 0, 1])]),
        );
    }),
    ("an address of five octets", "tbs_malformed", |f| {
        f.value(oids::SUBJECT_ALT_NAME, names(&[(7, &[127, 0, 0, 1, 1])]));
    }),
    ("an ID that is too long", "tbs_san", |f| {
        let long = format!("spiffe://cluster.local/{}", "a".repeat(2048));
        f.value(oids::SUBJECT_ALT_NAME, names(&[(6, long.as_bytes())]));
    }),
    ("bytes after", "tbs_trailing_bytes", |f| f.after = vec![0]),
    ("a second certificate after", "tbs_trailing_bytes", |f| {
        f.after = vec![0x30, 0]
    }),
    ("version 1", "tbs_version", |f| f.version.clear()),
    ("version 2", "tbs_version", |f| f.version = vec![0xa0, 3, 2, 1, 1]),
    ("a zero serial", "tbs_serial", |f| f.serial = vec![0]),
    ("a negative serial", "tbs_serial", |f| f.serial = vec![0x80]),
    ("a padded serial", "tbs_serial", |f| f.serial = vec![0, 1]),
    ("a serial of 21 octets", "tbs_serial", |f| f.serial = vec![1; 21]),
    ("a unique identifier", "tbs_missing_extension", |f| {
        f.unique_ids = vec![0x81, 2, 0, 1]
    }),
    ("a key on another curve", "tbs_key", |f| {
        let position = f.fields.spki_der.windows(3).position(|w| w == [3, 1, 7]).unwrap();
        f.fields.spki_der[position + 2] = 1;
    }),
];

#[test]
fn what_the_profile_cannot_say_is_refused_by_name() {
    let (ca, _) = forge();
    let key = TestKey::generate(KeyType::P256);
    for (what, code, change) in NOT_THE_PROFILE {
        let mut forge = Forge::new(ca.leaf(key.spki_der()));
        change(&mut forge);
        let error = LeafTbs::decode(&forge.der()).expect_err(what);
        assert_eq!(error.code(), *code, "{what}: {error}");
    }
}

#[test]
fn what_the_ceiling_has_not_is_refused_by_name() {
    fn validity(f: &mut Forge, from: Timestamp, to: Timestamp) {
        f.fields.validity = Validity::new(from, to).unwrap();
    }
    let table: &[(&str, &str, Change)] = &[
        ("a foreign trust domain", "CEILING_NAME", |f| {
            f.value(
                oids::SUBJECT_ALT_NAME,
                names(&[(6, b"spiffe://other/ns/default/sa/web")]),
            );
        }),
        ("a foreign DNS name", "CEILING_NAME", |f| {
            let id: &[u8] = b"spiffe://cluster.local/a";
            f.value(oids::SUBJECT_ALT_NAME, names(&[(6, id), (2, b"example.com")]));
        }),
        ("a serving certificate for anything", "CEILING_KIND", |f| {
            f.value(oids::EXTENDED_KEY_USAGE, ekus(&[oids::SERVER_AUTH]));
            f.value(oids::SUBJECT_ALT_NAME, names(&[(2, b"example.com")]));
        }),
        ("from 2030 on", "CEILING_NOT_BEFORE", |f| {
            let start = Timestamp::from_unix_seconds(1_893_456_000);
            validity(f, start, start.saturating_add(HOUR));
        }),
        ("from ten minutes ago", "CEILING_NOT_BEFORE", |f| {
            validity(f, NOW.saturating_sub(HOUR / 6), NOW.saturating_add(HOUR));
        }),
        ("over already", "CEILING_EXPIRED", |f| {
            validity(f, NOW.saturating_sub(HOUR / 20), NOW.saturating_sub(HOUR / 60));
        }),
        ("longer than the issuer", "CEILING_OUTLIVES_ISSUER", |f| {
            validity(f, NOW, NOW.saturating_add(DAY * 11));
        }),
        ("longer than allowed", "CEILING_LIFETIME", |f| {
            validity(f, NOW, NOW.saturating_add(DAY * 2))
        }),
        ("another issuer", "CEILING_ISSUER", |f| {
            f.fields.issuer_der = crate::name::authority_name(None, "Other");
        }),
        ("another AKI", "CEILING_ISSUER", |f| {
            f.value(oids::AUTHORITY_KEY_IDENTIFIER, [0x30, 3, 0x80, 1, 9]);
        }),
        ("another algorithm", "CEILING_ISSUER", |f| {
            f.fields.signature_algorithm = SignatureAlgorithm::RsaPkcs1Sha256;
        }),
        ("a common name", "CEILING_COMMON_NAME", |f| {
            let first = b"spiffe://cluster.local/ns/default/sa/web";
            let mut w = Writer::with_capacity(0);
            crate::name::write_subject(&mut w, Some(std::str::from_utf8(first).unwrap()));
            f.subject = w.into_bytes();
        }),
    ];
    let (ca, _) = forge();
    let key = TestKey::generate(KeyType::P256);
    let mut ceiling = ceiling_of();
    ceiling.max_lifetime = DAY;
    for (what, code, change) in table {
        let mut forge = Forge::new(ca.leaf(key.spki_der()));
        change(&mut forge);
        let leaf = LeafTbs::decode(&forge.der()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let limits = if *code == "CEILING_OUTLIVES_ISSUER" {
            &ceiling_of()
        } else {
            &ceiling
        };
        let error = ceiling::check(leaf.fields(), limits, &ca.chain, NOW).expect_err(what);
        assert_eq!(error.code(), *code, "{what}: {error}");
    }
    let own = Forge::new(ca.leaf(ca.key.spki_der()));
    let leaf = LeafTbs::decode(&own.der()).unwrap();
    let error = ceiling::check(leaf.fields(), &ceiling, &ca.chain, NOW).unwrap_err();
    assert_eq!(error, ceiling::CeilingViolation::IssuersKey);
}

/// A refusal goes into a record of at most 64 KiB: whoever writes at length must not escape it.
#[test]
fn errors_are_short_whatever_the_bytes_say() {
    const LONG: usize = 100_000;
    let attribute = |oid: &[u8]| {
        let mut w = Writer::with_capacity(0);
        w.nest(tag::SEQUENCE, |w| {
            w.nest(tag::SET, |w| {
                w.nest(tag::SEQUENCE, |w| {
                    w.value(tag::OID, oid);
                    w.value(tag::UTF8_STRING, &[b'a'; LONG]);
                });
            });
        });
        w.into_bytes()
    };
    let long_oid = [0x81_u8; LONG];
    let many = vec![oids::SERVER_AUTH; LONG / 8];
    let changes: [&dyn Fn(&mut Forge); 6] = [
        &|f| f.subject = attribute(oids::ORGANIZATION),
        &|f| f.subject = attribute(oids::COMMON_NAME),
        &|f| f.subject = attribute(&long_oid),
        &|f| f.value(oids::EXTENDED_KEY_USAGE, ekus(&many)),
        &|f| f.extensions.push((long_oid.to_vec(), None, vec![])),
        &|f| f.value(oids::SUBJECT_ALT_NAME, names(&[(6, &[b'x'; LONG])])),
    ];
    for (number, change) in changes.iter().enumerate() {
        let (_, mut forge) = forge();
        change(&mut forge);
        let error = LeafTbs::decode(&forge.der()).unwrap_err();
        let mut length = 0;
        let mut next: Option<&dyn std::error::Error> = Some(&error);
        while let Some(layer) = next {
            length += layer.to_string().len();
            next = layer.source();
        }
        assert!(length < 2048, "{number}: {length}");
    }
}

//! Chains that hold, and each way in which one does not.

use sealwright_identity::KeyType;

use super::*;
use crate::{
    AuthorityFields, AuthorityTbs, name,
    testing::{CA_KEYS, DAY, NOW, TestCa, TestKey, authority, authority_fields, to_pem},
};

fn signed(fields: &AuthorityFields, signer: &TestKey) -> Vec<u8> {
    let tbs = AuthorityTbs::build(fields).unwrap();
    tbs.assemble(&signer.sign(tbs.as_der()))
}

/// A root, and an intermediate that a test may change before it is signed.
fn pair(change: impl FnOnce(&mut AuthorityFields)) -> (Vec<u8>, Vec<u8>) {
    let (root_key, key) = (TestKey::generate(KeyType::P256), TestKey::generate(KeyType::P256));
    let root = signed(
        &authority_fields(&root_key, "Root", None, &root_key, None),
        &root_key,
    );
    let mut fields = authority_fields(&key, "Issuing", Some("Root"), &root_key, Some(&[1; 20]));
    change(&mut fields);
    (signed(&fields, &root_key), root)
}

fn load(chain: &[&[u8]], roots: &[&[u8]]) -> Result<IssuerChain, ChainError> {
    let pem = |list: &[&[u8]]| list.iter().flat_map(|der| to_pem(der)).collect::<Vec<u8>>();
    IssuerChain::load(&pem(chain), &pem(roots), NOW)
}

#[test]
fn a_chain_says_what_leaves_need() {
    for key_type in CA_KEYS {
        let ca = TestCa::new(key_type);
        let chain = &ca.chain;
        assert_eq!(chain.key_type(), key_type);
        assert_eq!(chain.spki_der(), ca.key.spki_der());
        assert_eq!(chain.key_digest(), Digest::of(&ca.key.spki_der()));
        assert_eq!(
            chain.issuer_name_der(),
            name::authority_name(Some("Test"), "Issuing")
        );
        assert_eq!(chain.ski().len(), 20);
        assert_eq!(chain.intermediates_der(), std::slice::from_ref(&ca.intermediate));
        assert_eq!(chain.roots_der(), std::slice::from_ref(&ca.root));
        assert_eq!(chain.roots_pem().as_bytes(), to_pem(&ca.root));
        assert!(chain.intermediates_pem()[0].ends_with("-----END CERTIFICATE-----\n"));
        assert_eq!(chain.usages(), [Usage::ServerAuth, Usage::ClientAuth]);
        let signature = ca.key.sign(b"bytes");
        chain.verify(b"bytes", &signature).unwrap();
        assert_eq!(chain.verify(b"other", &signature), Err(VerifyError::Signature));
    }
}

#[test]
fn a_root_in_the_chain_file_is_left_out_of_the_chain() {
    let ca = TestCa::new(KeyType::P256);
    let chain = load(&[&ca.intermediate, &ca.root], &[&ca.root, &ca.root]).unwrap();
    assert_eq!(chain.intermediates_der(), std::slice::from_ref(&ca.intermediate));
    assert_eq!(chain.roots_der().len(), 1, "each root once");

    let key = TestKey::generate(KeyType::P256);
    let root = signed(&authority_fields(&key, "Root", None, &key, None), &key);
    let chain = load(&[&root], &[&root]).unwrap();
    assert!(chain.intermediates_der().is_empty());
    assert_eq!(chain.spki_der(), key.spki_der());
}

#[test]
fn a_longer_chain_ends_with_its_shortest_certificate() {
    let keys = [(); 3].map(|()| TestKey::generate(KeyType::P384));
    let [root_key, middle_key, key] = &keys;
    let root_tbs = authority(root_key, "Root", None, root_key, None);
    let root = root_tbs.assemble(&root_key.sign(root_tbs.as_der()));
    let mut middle = authority_fields(middle_key, "Middle", Some("Root"), root_key, Some(root_tbs.ski()));
    middle.path_len = Some(1);
    let end = NOW.saturating_add(DAY * 3).truncated_to_seconds();
    let start = NOW.saturating_sub(DAY / 24);
    middle.validity = sealwright_identity::Validity::new(start, end).unwrap();
    let middle_der = signed(&middle, root_key);
    let issuing = signed(
        &authority_fields(key, "Issuing", Some("Middle"), middle_key, Some(&[1; 20])),
        middle_key,
    );

    let chain = load(&[&issuing, &middle_der], &[&root]).unwrap();
    assert_eq!((chain.not_before(), chain.not_after()), (start, end));
    assert_eq!(chain.intermediates_der().len(), 2);
    assert!(chain.check_validity(end).is_ok());
    assert!(chain.check_validity(end.saturating_add(DAY)).is_err());

    let wrong_order = load(&[&middle_der, &issuing], &[&root]).unwrap_err();
    assert_eq!(wrong_order, ChainError::NoRoot);
    assert_eq!(load(&[&issuing], &[&root]).unwrap_err(), ChainError::NoRoot);
    let after_root = load(&[&middle_der, &root, &issuing], &[&root]).unwrap_err();
    assert_eq!(after_root, ChainError::AfterRoot);
    let twice = load(&[&issuing, &issuing, &middle_der], &[&root]).unwrap_err();
    assert_eq!(twice, ChainError::Order { position: 1 });

    middle.path_len = Some(0);
    let short = signed(&middle, root_key);
    let error = load(&[&issuing, &short], &[&root]).unwrap_err();
    assert_eq!(error, ChainError::PathLength { position: 2 });
}

#[test]
fn a_chain_that_does_not_hold_is_refused_by_name() {
    let (good, root) = pair(|_| {});
    load(&[&good], &[&root]).unwrap();

    let (_, other_root) = pair(|_| {});
    // The same name, another key.
    assert!(matches!(
        load(&[&good], &[&other_root]),
        Err(ChainError::RootSignature {
            source: VerifyError::Signature
        })
    ));
    // Both of that name: the one that signed is found.
    load(&[&good], &[&other_root, &root]).unwrap();

    let (foreign, _) = pair(|fields| fields.issuer_der = name::authority_name(None, "Elsewhere"));
    assert_eq!(load(&[&foreign], &[&root]).unwrap_err(), ChainError::NoRoot);

    for (from, to) in [(2, 3), (-3, -2)] {
        let at = |days: i32| {
            let distance = DAY * days.unsigned_abs();
            if days < 0 {
                NOW.saturating_sub(distance)
            } else {
                NOW.saturating_add(distance)
            }
        };
        let (dated, root) = pair(|fields| {
            fields.validity = sealwright_identity::Validity::new(at(from), at(to)).unwrap();
        });
        let error = load(&[&dated], &[&root]).unwrap_err();
        assert!(
            matches!(error, ChainError::NotValid { position: 1, .. }),
            "{error:?}"
        );
    }

    let mut broken = good.clone();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    assert!(matches!(
        load(&[&broken], &[&root]),
        Err(ChainError::RootSignature { .. })
    ));

    let pem = |der: &[u8]| to_pem(der);
    let load_pem = |chain: &[u8], roots: &[u8]| IssuerChain::load(chain, roots, NOW).unwrap_err();
    assert!(matches!(load_pem(b"", &pem(&root)), ChainError::ChainPem(_)));
    assert!(matches!(load_pem(&pem(&good), b"x"), ChainError::RootsPem(_)));
    assert!(matches!(
        load_pem(&pem(b"\x30\x00"), &pem(&root)),
        ChainError::Certificate { position: 1, .. }
    ));
    assert!(matches!(
        load_pem(&pem(&good), &pem(b"\x30\x00")),
        ChainError::Root { position: 1, .. }
    ));
    let long: Vec<&[u8]> = vec![&good; 9];
    assert_eq!(
        load(&long, &[&root]).unwrap_err(),
        ChainError::TooLong { length: 9 }
    );
}

#[test]
fn a_leaf_is_no_issuer_and_no_root() {
    let ca = TestCa::new(KeyType::P256);
    let key = TestKey::generate(KeyType::P256);
    let tbs = crate::LeafTbs::build(&ca.leaf(key.spki_der())).unwrap();
    let leaf = tbs.assemble(&ca.key.sign(tbs.as_der()));
    let error = load(&[&leaf, &ca.intermediate], &[&ca.root]).unwrap_err();
    assert_eq!(error, ChainError::NoAuthority { position: 1 });
    let error = load(&[&ca.intermediate], &[&leaf, &ca.root]).unwrap_err();
    assert_eq!(error, ChainError::RootIsNoAuthority { position: 1 });
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let _ = CertificateRef::parse(&bytes);
        let _ = IssuerChain::from_ders(vec![bytes.clone()], vec![bytes], NOW);
    }
}

#[test]
fn a_changed_octet_breaks_the_chain() {
    let (good, root) = pair(|_| {});
    for position in 0..good.len() {
        let mut changed = good.clone();
        changed[position] ^= 1;
        assert!(load(&[&changed], &[&root]).is_err(), "{position}");
    }
}

/// Certificates of other tools: usages in the chain, no key usage, critical extensions that nobody here honours.
#[test]
fn extensions_of_other_cas_are_honoured_or_refused() {
    use crate::testing::openssl;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let read = |file: &str| std::fs::read(path.join(file)).unwrap();
    let ca = "basicConstraints=critical,CA:TRUE";
    let make = |file: &str, extensions: &[&str]| {
        let base = [
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-keyout",
            "key.pem",
            "-subj",
            "/CN=Root",
            "-days",
            "36500",
            "-out",
            file,
            "-config",
            "empty.cnf",
        ];
        let mut arguments = base.to_vec();
        for extension in extensions {
            arguments.extend(["-addext", extension]);
        }
        openssl(path, &arguments);
        let root = read(file);
        // openssl's present is the machine's, which may be before ours.
        let far = Timestamp::from_unix_seconds(4_102_444_800);
        IssuerChain::load(&root, &root, far)
    };
    std::fs::write(path.join("empty.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
    let sign = "keyUsage=critical,keyCertSign";
    let plain = make("plain.pem", &[ca, sign]).unwrap();
    assert_eq!(plain.usages(), [Usage::ServerAuth, Usage::ClientAuth]);
    let clients = make("clients.pem", &[ca, sign, "extendedKeyUsage=clientAuth"]).unwrap();
    assert_eq!(clients.usages(), [Usage::ClientAuth]);
    let any = make("any.pem", &[ca, sign, "extendedKeyUsage=anyExtendedKeyUsage"]).unwrap();
    assert_eq!(any.usages().len(), 2);
    let no_usage = make("no-usage.pem", &[ca]).unwrap_err();
    assert_eq!(no_usage, ChainError::MayNotSign { position: 1 });
    let crl_only = make("crl-only.pem", &[ca, "keyUsage=critical,cRLSign"]).unwrap_err();
    assert_eq!(crl_only, ChainError::MayNotSign { position: 1 });
    let constrained = make(
        "names.pem",
        &[ca, sign, "nameConstraints=critical,permitted;DNS:svc"],
    )
    .unwrap_err();
    assert_eq!(
        constrained,
        ChainError::Critical {
            position: 1,
            oid: "2.5.29.30".to_owned()
        }
    );

    // The same root above an intermediate: its constraints would fail our leaves at every client.
    let request = [
        "req",
        "-new",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ];
    let request = [
        &request[..],
        &["-keyout", "issuing-key.pem", "-subj", "/CN=Issuing"],
    ]
    .concat();
    let request = [&request[..], &["-out", "issuing.csr", "-config", "empty.cnf"]].concat();
    openssl(path, &[&request[..], &["-addext", ca, "-addext", sign]].concat());
    let issue = [
        "x509",
        "-req",
        "-in",
        "issuing.csr",
        "-CA",
        "names.pem",
        "-CAkey",
        "key.pem",
    ];
    let issue = [&issue[..], &["-days", "36500", "-out", "issuing.pem"]].concat();
    openssl(path, &[&issue[..], &["-copy_extensions", "copyall"]].concat());
    let far = Timestamp::from_unix_seconds(4_102_444_800);
    let below = IssuerChain::load(&read("issuing.pem"), &read("names.pem"), far).unwrap_err();
    assert!(
        matches!(below, ChainError::Critical { position: 0, .. }),
        "{below:?}"
    );
}

use super::*;
use crate::policy::Revocation;
use crate::{FileSigner, KeyKind};

fn signed() -> Signed<Revocation> {
    let statement = Revocation {
        deployment: Digest::of(b"deployment"),
        revision: Digest::of(b"revision"),
        reason: "it allows too much ".repeat(20),
        number: 3,
    };
    let mut signed = Signed::unsigned(Sealed::new(statement).unwrap());
    for kind in [KeyKind::Ed25519, KeyKind::P256, KeyKind::P384] {
        signed.sign(&FileSigner::generate(kind).unwrap().0).unwrap();
    }
    signed
}

#[test]
fn a_file_reads_back() {
    let signed = signed();
    let text = signed.to_string();
    let envelope = Envelope::parse(&text).unwrap();
    assert_eq!(envelope.kind(), "policy-revocation");
    assert_eq!(envelope.digest(), signed.statement.digest());
    assert_eq!(envelope.signatures().len(), 3);
    assert_eq!(envelope.open::<Revocation>().unwrap(), signed);
    // As mail programs leave it.
    let carried = format!("{}\r\n\r\n", text.trim_end().replace('\n', "\r\n"));
    assert_eq!(Envelope::parse(&carried).unwrap().to_string(), text);
    let unsigned = Signed::unsigned(signed.statement);
    assert!(
        Envelope::parse(&unsigned.to_string())
            .unwrap()
            .signatures()
            .is_empty()
    );
    let wrong = unsigned.envelope().open::<crate::policy::Set>().unwrap_err();
    assert!(matches!(wrong, EnvelopeError::Type { .. }));
}

#[test]
fn one_key_signs_once() {
    let mut signed = signed();
    let key = FileSigner::generate(KeyKind::P256).unwrap().0;
    signed.sign(&key).unwrap();
    signed.sign(&key).unwrap();
    assert_eq!(signed.signatures.len(), 4);
    signed.signatures.push(signed.signatures[0].clone());
    let refused = Envelope::parse(&signed.to_string()).unwrap_err();
    assert!(matches!(refused, EnvelopeError::Twice(_)));
    let (first, many) = (signed.signatures[0].clone(), MAX_SIGNATURES + 1);
    signed.signatures = vec![first; many];
    assert!(Envelope::parse(&signed.to_string()).is_err());
}

#[test]
fn any_other_spelling_is_refused() {
    let text = signed().to_string();
    let words = text.lines().find(|line| line.starts_with("Words: ")).unwrap();
    let key = text.lines().find(|line| line.starts_with("Key: ")).unwrap();
    let other = format!("Key: {}", Digest::of(b"other"));
    let table = [
        String::new(),
        "junk".to_owned(),
        format!("\n{text}"),
        format!("note\n{text}"),
        format!("{text}note\n"),
        format!("{text}{text}"),
        text.replace("SEALWRIGHT STATEMENT", "STATEMENT"),
        text.replace("Type: policy-revocation", "Type: policy-set"),
        text.replace("Type: policy-revocation", "Type: Policy"),
        text.replacen("Type:", "Type :", 1),
        text.replacen("Digest: sha256:", "Digest: sha256:00", 1),
        text.replacen(&format!("{words}\n"), "", 1),
        text.replacen(words, "Words: aardvark adroitness aardvark adroitness", 1),
        text.replacen(words, &format!("{words}\n{words}"), 1),
        text.replacen(key, &other, 1),
        text.replacen("\n\n", "\nNote: x\n\n", 1),
        text.replacen("\n\n", "\n\n ", 1),
        text.replacen("\n\n", "\n\n\n", 1),
        text.chars().take(text.len() / 2).collect(),
        "x".repeat(MAX_ARMOUR_BYTES + 1),
    ];
    for changed in table {
        assert_ne!(changed, text);
        let excerpt: String = changed.chars().take(600).collect();
        assert!(Envelope::parse(&changed).is_err(), "{excerpt}");
    }
}

#[test]
fn a_changed_character_is_found() {
    let signed = signed();
    let text = signed.to_string();
    for at in (0..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        if bytes == text.as_bytes() {
            continue;
        }
        let Ok(changed) = String::from_utf8(bytes) else {
            continue;
        };
        // Only a signature may still have its form; then it does not hold.
        if let Ok(envelope) = Envelope::parse(&changed) {
            assert_eq!(envelope.bytes(), signed.statement.bytes());
            let preimage = envelope.preimage();
            let mut all = envelope.signatures().iter();
            assert!(all.any(|one| one.verify(&preimage).is_err()), "character {at}");
        }
    }
}

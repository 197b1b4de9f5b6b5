//! Examples of RFC 7512 section 3, refusals, and round trips.

use proptest::{collection::vec, option, prelude::*};

use super::*;

#[test]
fn examples_of_the_standard_are_read() {
    let uri: Pkcs11Uri = "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;\
         manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;\
         type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial="
        .parse()
        .unwrap();
    assert_eq!(uri.token.as_deref(), Some("The Software PKCS#11 Softtoken"));
    assert_eq!(uri.manufacturer.as_deref(), Some("Snake Oil, Inc."));
    assert_eq!(uri.object_type, Some(ObjectType::Certificate));
    assert_eq!(uri.serial.as_deref(), Some(""));
    assert_eq!(
        uri.id.as_deref(),
        Some(&[0x69, 0x95, 0x3E, 0x5C, 0xF4, 0xBD, 0xEC, 0x91][..])
    );
    assert_eq!("pkcs11:".parse(), Ok(Pkcs11Uri::default()));
    let slot: Pkcs11Uri = "PKCS11:slot-description=Sun%20Metaslot;slot-id=327"
        .parse()
        .unwrap();
    assert_eq!(slot.slot_id, Some(327));
}

#[test]
fn the_canonical_text_encodes_every_byte_of_the_id() {
    let uri: Pkcs11Uri = "pkcs11:id=ab%01;object=issuing%20key".parse().unwrap();
    assert_eq!(uri.to_string(), "pkcs11:object=issuing%20key;id=%61%62%01");
}

#[test]
fn what_is_not_a_usable_uri_is_refused() {
    let refused = |text: &str| text.parse::<Pkcs11Uri>().unwrap_err();
    assert_eq!(refused(""), UriError::Scheme);
    assert_eq!(refused("pkcs12:token=a"), UriError::Scheme);
    assert_eq!(refused("pkcs11:token"), UriError::NotAPair);
    assert_eq!(refused("pkcs11:token=a;"), UriError::NotAPair);
    assert_eq!(refused("pkcs11:token=a;token=a"), UriError::Twice("token".into()));
    assert_eq!(refused("pkcs11:x-vendor=a"), UriError::Unknown("x-vendor".into()));
    assert_eq!(refused("pkcs11:token=%2"), UriError::Encoding("token".into()));
    assert_eq!(refused("pkcs11:token=a/b"), UriError::Encoding("token".into()));
    assert_eq!(refused("pkcs11:token=%FF"), UriError::NotUtf8("token".into()));
    assert_eq!(refused("pkcs11:type=key"), UriError::Value("type".into()));
    assert_eq!(refused("pkcs11:slot-id=+1"), UriError::Value("slot-id".into()));
    assert_eq!(
        refused("pkcs11:library-version=a.1"),
        UriError::Value("library-version".into())
    );
    assert_eq!(
        refused(&format!("pkcs11:token={}", "a".repeat(MAX_BYTES))),
        UriError::TooLong
    );
    // A multi-byte character across the end of the scheme must not panic.
    assert_eq!(refused("pkcs11\u{e9}"), UriError::Scheme);
}

#[test]
fn a_pin_or_a_module_in_the_uri_is_sent_elsewhere() {
    assert_eq!(
        "pkcs11:token=a?pin-value=1234".parse::<Pkcs11Uri>(),
        Err(UriError::Elsewhere {
            name: "pin-value".into(),
            instead: "pin_file",
        })
    );
    let text = "pkcs11:token=a?pin-value=1234"
        .parse::<Pkcs11Uri>()
        .unwrap_err()
        .to_string();
    assert!(!text.contains("1234"));
    assert!("pkcs11:token=a?module-path=/m.so".parse::<Pkcs11Uri>().is_err());
    assert!("pkcs11:token=a?".parse::<Pkcs11Uri>().is_err());
}

fn any_uri() -> impl Strategy<Value = Pkcs11Uri> {
    let text = || option::of(".{0,12}");
    (
        (text(), text(), text(), text()),
        (text(), text(), text(), text(), text()),
        option::of(any::<u64>()),
        option::of("[0-9]{1,3}(\\.[0-9]{1,3})?"),
        option::of(prop_oneof![
            Just(ObjectType::Public),
            Just(ObjectType::Private),
            Just(ObjectType::Data),
        ]),
        option::of(vec(any::<u8>(), 0..20)),
    )
        .prop_map(|(token, object, slot_id, version, object_type, id)| Pkcs11Uri {
            token: token.0,
            manufacturer: token.1,
            serial: token.2,
            model: token.3,
            library_manufacturer: object.0,
            library_description: object.1,
            slot_description: object.2,
            slot_manufacturer: object.3,
            object: object.4,
            library_version: version,
            slot_id,
            object_type,
            id,
        })
}

/// Found by the fuzz target `pkcs11_uri`: its own text was too long to be read again.
#[test]
fn an_id_that_has_no_readable_text_is_refused() {
    let uri = |octets: usize| format!("pkcs11:object=a;id={}", "n".repeat(octets)).parse::<Pkcs11Uri>();
    let longest = (MAX_BYTES - "pkcs11:object=a;id=".len()) / 3;
    let taken = uri(longest).unwrap();
    assert_eq!(taken.to_string().parse(), Ok(taken));
    assert_eq!(uri(longest + 1), Err(UriError::TooLong));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(uri in any_uri()) {
        let text = uri.to_string();
        prop_assert!(text.is_ascii());
        prop_assert_eq!(text.parse::<Pkcs11Uri>(), Ok(uri));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = text.parse::<Pkcs11Uri>();
        let _ = format!("pkcs11:{text}").parse::<Pkcs11Uri>();
    }

    #[test]
    fn what_is_read_has_one_canonical_text(text in "pkcs11:(token=[a-zA-Z%20]{0,6})?") {
        if let Ok(uri) = text.parse::<Pkcs11Uri>() {
            prop_assert_eq!(uri.to_string().parse::<Pkcs11Uri>(), Ok(uri));
        }
    }
}

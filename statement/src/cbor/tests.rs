use proptest::prelude::*;

use super::*;

#[test]
fn encodes_as_the_rfc_does() {
    let table = [
        (Value::Uint(0), "00"),
        (Value::Uint(23), "17"),
        (Value::Uint(24), "1818"),
        (Value::Uint(255), "18ff"),
        (Value::Uint(256), "190100"),
        (Value::Uint(1_000_000), "1a000f4240"),
        (Value::Uint(u64::MAX), "1bffffffffffffffff"),
        (Value::Bytes(vec![1, 2, 3, 4]), "4401020304"),
        (Value::text("\u{fc}"), "62c3bc"),
        (Value::Bool(false), "f4"),
        (Value::Bool(true), "f5"),
        (Value::Array(vec![]), "80"),
        (
            Value::map([
                ("b", Some(Value::Uint(1))),
                ("aa", Some(Value::Uint(2))),
                ("a", None),
            ]),
            "a261620162616102",
        ),
    ];
    for (value, bytes) in table {
        assert_eq!(hex::encode(encode(&value)), bytes);
        assert_eq!(decode(&hex::decode(bytes).unwrap()), Ok(value));
    }
}

#[test]
fn refuses_what_is_not_deterministic() {
    let unsupported = |what| CborError::Unsupported { what, at: 0 };
    let order = |key: &str, at| CborError::KeyOrder {
        key: key.to_owned(),
        at,
    };
    let simple = "null, undefined or other simple values";
    let table = [
        ("", CborError::Truncated(0)),
        ("18", CborError::Truncated(0)),
        ("1817", CborError::NotShortest(0)),
        ("1900ff", CborError::NotShortest(0)),
        ("1a0000ffff", CborError::NotShortest(0)),
        ("1b00000000ffffffff", CborError::NotShortest(0)),
        ("5803010203", CborError::NotShortest(0)),
        ("0000", CborError::Trailing(1)),
        ("20", unsupported("negative integers")),
        ("c000", unsupported("tags")),
        ("f6", unsupported(simple)),
        ("f7", unsupported(simple)),
        ("f800", unsupported(simple)),
        ("f97e00", unsupported("floating-point numbers")),
        ("fb3ff0000000000000", unsupported("floating-point numbers")),
        ("1c", unsupported("reserved forms")),
        ("5f4101ff", CborError::Indefinite(0)),
        ("9fff", CborError::Indefinite(0)),
        ("bfff", CborError::Indefinite(0)),
        ("ff", CborError::Indefinite(0)),
        ("43aabb", CborError::Truncated(0)),
        ("5bffffffffffffffff", CborError::Truncated(0)),
        ("9bffffffffffffffff", CborError::Truncated(9)),
        ("bbffffffffffffffff", CborError::Truncated(9)),
        ("61ff", CborError::Utf8(0)),
        ("a10000", CborError::KeyNotText(1)),
        ("a1410000", CborError::KeyNotText(1)),
        ("a2616101616102", order("a", 4)),
        ("a2616201616102", order("a", 4)),
        ("a262616101616202", order("b", 5)),
        ("818181818181818180", CborError::TooDeep(8)),
    ];
    for (bytes, error) in table {
        assert_eq!(decode(&hex::decode(bytes).unwrap()), Err(error), "{bytes}");
    }
    let large = encode(&Value::Bytes(vec![0; MAX_BYTES]));
    assert_eq!(decode(&large), Err(CborError::TooLarge(MAX_BYTES + 5)));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(Value::Uint),
        (0u64..300).prop_map(Value::Uint),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ".{0,30}".prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::btree_map(".{0,30}".prop_map(Key), inner, 0..6).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn decodes_what_it_encodes(value in value()) {
        prop_assert_eq!(decode(&encode(&value)), Ok(value));
    }

    #[test]
    fn what_is_decoded_has_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(value) = decode(&bytes) {
            prop_assert_eq!(encode(&value), bytes);
        }
    }

    #[test]
    fn a_changed_byte_is_another_value_or_none(value in value(), at in any::<prop::sample::Index>(), by in 1u8..) {
        let mut bytes = encode(&value);
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        prop_assert_ne!(decode(&bytes), Ok(value));
    }
}

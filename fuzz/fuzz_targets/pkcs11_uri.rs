//! PKCS#11 URIs (RFC 7512), and what is selected with them.
//!
//! Claims: what was taken prints to a text that is taken as the same value, and prints the same again; each
//! attribute holds what percent-decoding its part of the text gives; nothing with a query is taken; a selector
//! of a key names something, and comes back from its own text.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use sealwright_fuzz::seeds;
use sealwright_hsm::{KeySelector, Pkcs11Uri};

fuzz_target!(
    init: {
        seeds::write([
            ("key", "pkcs11:token=sealwright;object=issuing;id=%01"),
            ("slot", "pkcs11:slot-id=007;library-version=3.2;type=private;manufacturer=SoftHSM%20project"),
        ]);
    },
    |text: &str| check(text)
);

fn check(text: &str) {
    if let Ok(selector) = text.parse::<KeySelector>() {
        let uri = Pkcs11Uri::from(selector.clone());
        assert!(uri.object.is_some() || uri.id.is_some(), "it selects every key");
        assert_eq!(selector.to_string().parse::<KeySelector>().ok(), Some(selector));
    }
    let Ok(uri) = text.parse::<Pkcs11Uri>() else {
        return;
    };
    let printed = uri.to_string();
    assert_eq!(printed.parse::<Pkcs11Uri>().as_ref(), Ok(&uri), "{printed}");
    assert!(!text.contains('?'), "a query was taken");
    assert!(printed.is_ascii() && !printed.contains(|c: char| c.is_ascii_control() || c == ' '));

    let expected = attributes(&text["pkcs11:".len()..]);
    let printed = attributes(&printed["pkcs11:".len()..]);
    // A slot's number may have been written with zeros before it.
    let numbers = |map: &BTreeMap<String, Vec<u8>>| {
        let text = String::from_utf8(map.get("slot-id")?.clone()).ok()?;
        text.parse::<u64>().ok()
    };
    assert_eq!(numbers(&expected), numbers(&printed));
    let others = |map: BTreeMap<String, Vec<u8>>| {
        map.into_iter()
            .filter(|(name, _)| name != "slot-id")
            .collect::<Vec<_>>()
    };
    assert_eq!(others(expected), others(printed));

    let json = serde_json::to_string(&uri).expect("a URI has a JSON form");
    assert_eq!(serde_json::from_str::<Pkcs11Uri>(&json).ok(), Some(uri));
}

/// The attributes of a path that was taken: each once, decoded.
fn attributes(path: &str) -> BTreeMap<String, Vec<u8>> {
    let mut map = BTreeMap::new();
    for pair in path.split(';').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').expect("an attribute has a value");
        let mut octets = Vec::new();
        let mut rest = value;
        while let Some(octet) = rest.bytes().next() {
            let (octet, length) = match octet {
                b'%' => (u8::from_str_radix(&rest[1..3], 16).expect("two digits"), 3),
                plain => (plain, 1),
            };
            octets.push(octet);
            rest = &rest[length..];
        }
        assert!(
            map.insert(name.to_owned(), octets).is_none(),
            "{name} is there twice"
        );
    }
    map
}

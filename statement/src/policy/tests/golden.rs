//! The bytes of each type, written down: what was signed once must be read for ever.

use sealwright_identity::Timestamp;

use super::super::testing::*;
use super::super::*;
use crate::{PublicKey, Sealed, Statement};

fn golden<T: Statement + PartialEq + std::fmt::Debug>(statement: T, hex: &str, digest: &str) {
    let sealed = Sealed::new(statement).unwrap();
    let found = (hex::encode(sealed.bytes()), sealed.digest().to_string());
    assert_eq!(
        found,
        (hex.replace(['\n', ' '], ""), format!("sha256:{digest}")),
        "{}",
        T::TYPE
    );
    assert_eq!(Sealed::decode(&hex::decode(found.0).unwrap()).unwrap(), sealed);
}

fn bytes(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

/// The public key of RFC 8410, section 10.1.
fn key() -> PublicKey {
    let spki = "302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    PublicKey::from_spki(&hex::decode(spki).unwrap()).unwrap()
}

#[test]
fn revision_bytes() {
    let mut revision = revision("baseline", b"");
    revision.module = bytes(1);
    revision.source = Some(bytes(2));
    revision.settings = r#"{"a":1}"#.to_owned();
    revision.scope.issuers = vec!["default".to_owned()];
    revision.scope.namespaces = vec!["shop".to_owned()];
    revision.scope.service_accounts = vec!["shop/web".to_owned()];
    golden(revision, REVISION.0, REVISION.1);
}

#[test]
fn roster_bytes() {
    let roster = Roster {
        number: 2,
        previous: Some(bytes(4)),
        threshold: 1,
        people: vec![Person {
            name: name("anna"),
            roles: vec![Role::Author, Role::Approver],
            keys: vec![key()],
        }],
    };
    golden(roster, ROSTER.0, ROSTER.1);
}

#[test]
fn set_bytes() {
    let entry = |mode, report| Entry {
        revision: bytes(5),
        mode,
        report,
    };
    let set = Set {
        deployment: bytes(6),
        number: 3,
        previous: Some(bytes(7)),
        not_before: Timestamp::from_unix_seconds(1_795_341_600),
        not_after: Timestamp::from_unix_seconds(1_795_428_000),
        roster: bytes(8),
        entries: vec![
            entry(Mode::Enforce, Some(bytes(9))),
            entry(canary(250), None),
            entry(Mode::Shadow, None),
        ],
        stop: Some(StopBounds {
            decisions: 1000,
            denied: 100,
            aborted: 1,
        }),
        restores: Some(1),
    };
    golden(set, SET.0, SET.1);
}

#[test]
fn revocation_bytes() {
    let revocation = Revocation {
        deployment: bytes(6),
        revision: bytes(5),
        reason: "too much allowed".to_owned(),
        number: 3,
    };
    golden(revocation, REVOCATION.0, REVOCATION.1);
}

#[test]
fn deployment_is_the_digest_of_names_and_keys() {
    let both = [
        b"a\0".as_slice(),
        bytes(2).as_bytes(),
        b"b\0",
        bytes(1).as_bytes(),
    ]
    .concat();
    assert_eq!(
        deployment_id([("b", bytes(1)), ("a", bytes(2))]),
        Digest::of(&both)
    );
}

const REVISION: (&str, &str) = (
    "a763776974777365616c7772696768743a706f6c69637940312e302e306573636f7065a4676973737565727381676465 \
     6661756c746a6e616d65737061636573816473686f706c74727573742d646f6d61696e6d636c75737465722e6c6f6361 \
     6c70736572766963652d6163636f756e7473816873686f702f776562666c696d697473a2646675656c1a00989680666d \
     656d6f727900666d6f64756c655820010101010101010101010101010101010101010101010101010101010101010166 \
     706f6c69637968626173656c696e6566736f757263655820020202020202020202020202020202020202020202020202 \
     02020202020202026873657474696e6773677b2261223a317d",
    "716245ca510082eaadc326b5d3bbb82fdcbb21e63bb090d870d1214135c1bf82",
);
const ROSTER: (&str, &str) = (
    "a4666e756d626572026670656f706c6581a3646b65797381582c302a300506032b657003210019bf44096984cdfe8541 \
     bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1646e616d6564616e6e6165726f6c65738266617574686f726861 \
     7070726f7665726870726576696f75735820040404040404040404040404040404040404040404040404040404040404 \
     0404697468726573686f6c6401",
    "162c8503b5692e0d7b912de0b311c859f52af23eb61d4f4e608d5083b1389056",
);
const SET: (&str, &str) = (
    "a96473746f70a36664656e69656418646761626f7274656401696465636973696f6e731903e8666e756d626572036672 \
     6f737465725820080808080808080808080808080808080808080808080808080808080808080867656e747269657383 \
     a3646d6f646567656e666f726365667265706f7274582009090909090909090909090909090909090909090909090909 \
     09090909090909687265766973696f6e5820050505050505050505050505050505050505050505050505050505050505 \
     0505a4646d6f64656663616e6172796473616c74483031323334353637687265766973696f6e58200505050505050505 \
     0505050505050505050505050505050505050505050505056a68756e6472656474687318faa2646d6f64656673686164 \
     6f77687265766973696f6e58200505050505050505050505050505050505050505050505050505050505050505687072 \
     6576696f75735820070707070707070707070707070707070707070707070707070707070707070768726573746f7265 \
     7301696e6f742d61667465721a6b040ea06a6465706c6f796d656e745820060606060606060606060606060606060606 \
     06060606060606060606060606066a6e6f742d6265666f72651a6b02bd20",
    "4126fc9ba178d058e716309fd9fc86d2fa4fb6311a60019b1d354fcfdde26739",
);
const REVOCATION: (&str, &str) = (
    "a4666e756d6265720366726561736f6e70746f6f206d75636820616c6c6f776564687265766973696f6e582005050505 \
     050505050505050505050505050505050505050505050505050505056a6465706c6f796d656e74582006060606060606 \
     06060606060606060606060606060606060606060606060606",
    "afdcc60be8fa8db74f9f629467272b18144814090e374754a684abf7b2094fbb",
);

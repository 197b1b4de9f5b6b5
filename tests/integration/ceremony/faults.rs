//! Tokens that lie, and tokens that are pulled out: by a module that does so on demand.

use sealwright_tests::{
    Outcome,
    ceremony::{Room, verify},
};

/// Attributes that only the table of the custody judges: half, name, type, a wrong value; in hexadecimal digits.
const JUDGED: [(&str, &str, &str, &str); 24] = [
    ("private", "CKA_CLASS", "0", "0400000000000000"),
    ("private", "CKA_TOKEN", "1", "00"),
    ("private", "CKA_PRIVATE", "2", "00"),
    ("private", "CKA_KEY_TYPE", "100", "0000000000000000"),
    ("private", "CKA_SENSITIVE", "103", "00"),
    ("private", "CKA_DECRYPT", "105", "01"),
    ("private", "CKA_UNWRAP", "107", "01"),
    ("private", "CKA_SIGN_RECOVER", "109", "01"),
    ("private", "CKA_DERIVE", "10c", "01"),
    ("private", "CKA_EXTRACTABLE", "162", "01"),
    ("private", "CKA_LOCAL", "163", "00"),
    ("private", "CKA_NEVER_EXTRACTABLE", "164", "00"),
    ("private", "CKA_ALWAYS_SENSITIVE", "165", "00"),
    ("private", "CKA_KEY_GEN_MECHANISM", "166", "0000000000000000"),
    ("private", "CKA_MODIFIABLE", "170", "01"),
    (
        "private",
        "CKA_ALLOWED_MECHANISMS",
        "40000600",
        "4210000000000000",
    ),
    ("public", "CKA_CLASS", "0", "0400000000000000"),
    ("public", "CKA_TOKEN", "1", "00"),
    ("public", "CKA_PRIVATE", "2", "01"),
    ("public", "CKA_ENCRYPT", "104", "01"),
    ("public", "CKA_WRAP", "106", "01"),
    ("public", "CKA_VERIFY", "10a", "00"),
    ("public", "CKA_DERIVE", "10c", "01"),
    ("public", "CKA_MODIFIABLE", "170", "01"),
];

/// Attributes by which a key is found or its public half read, so that something else may notice first.
const FOUND_BY: [(&str, &str, &str, &str); 9] = [
    ("private", "CKA_LABEL", "3", "6f6464"),
    ("private", "CKA_ID", "102", "ff"),
    ("private", "CKA_SIGN", "108", "00"),
    ("public", "CKA_LABEL", "3", "6f6464"),
    ("public", "CKA_ID", "102", "ff"),
    ("public", "CKA_KEY_TYPE", "100", "0000000000000000"),
    ("public", "CKA_EC_PARAMS", "180", "06052b81040022"),
    // The generator: a point of the curve, and not this key.
    (
        "public",
        "CKA_EC_POINT",
        "181",
        "0441046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
         4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
    ),
    ("public", "CKA_EC_POINT", "181", "0400"),
];

fn line(half: &str, kind: &str, value: &str) -> String {
    format!("attribute={half}:{kind}:{value}\n")
}

/// Runs a small ceremony with these faults; the key was made by then.
fn run_with(faults: &str) -> (Room, Outcome) {
    let room = Room::small().faulty();
    room.agree();
    room.inject(faults);
    let outcome = room.run(&[]);
    (room, outcome)
}

/// It stopped, nothing was certified, and it can only be given up.
fn is_over(room: &Room, outcome: &Outcome, what: &str) {
    assert_ne!(outcome.code, 0, "{what}");
    assert!(!room.file("out/certificates").exists(), "{what}");
    assert!(
        !room.events().iter().any(|event| event["step"] == "root-ca"),
        "{what}"
    );
}

#[test]
fn a_token_whose_attributes_are_wrong_or_not_told_makes_no_ca() {
    let wrong: String = JUDGED
        .map(|(half, _, kind, value)| line(half, kind, value))
        .concat();
    let hidden: String = JUDGED.map(|(half, _, kind, _)| line(half, kind, "hide")).concat();
    for (faults, says) in [(wrong, "is "), (hidden, "is not reported")] {
        let (room, refused) = run_with(&faults);
        assert_eq!(refused.code, 8, "{}", refused.stderr);
        for (half, name, ..) in JUDGED {
            let deviation = format!("{half} {name} {says}");
            assert!(
                refused.stderr.contains(&deviation),
                "{deviation}: {}",
                refused.stderr
            );
        }
        is_over(&room, &refused, says);
        // What was read back once counts, whatever the token says later.
        room.inject("");
        let again = room.run(&["--resume"]);
        assert_eq!(again.code, 8, "{}", again.stderr);
        let why = ["--resume", "--declare", "failed", "--reason", "the token lies"];
        let ended = room.run(&why);
        assert_eq!(ended.code, 13, "{}", ended.stderr);
        let verified = verify(&room.file("out")).json_of(13);
        assert_eq!(verified["outcome"], "failed");
        assert!(
            verified["remarks"].to_string().contains("CKA_LOCAL"),
            "{verified}"
        );
    }
}

#[test]
fn a_key_that_is_found_by_wrong_attributes_is_not_used() {
    for (half, name, kind, value) in FOUND_BY {
        let (room, refused) = run_with(&line(half, kind, value));
        is_over(&room, &refused, &format!("{half} {name}"));
    }
}

#[test]
fn what_the_plan_accepts_as_not_told_stands_in_the_transcript() {
    let mut room = Room::small().faulty();
    room.replace(
        "initialize = true",
        "initialize = true\naccept_not_reported = [\"CKA_LOCAL\"]",
    );
    room.agree();
    room.inject(&line("private", "163", "hide"));
    room.run(&[]).success();
    let events = room.events();
    let fact = events.iter().find(|event| event["call"] == "key").unwrap();
    assert_eq!(
        fact["data"]["not_reported"],
        serde_json::json!(["private CKA_LOCAL"]),
        "{fact}"
    );
    verify(&room.file("out")).success();
}

#[test]
#[ignore = "minutes: part of make soak"]
fn each_attribute_alone_stops_a_ceremony() {
    for (half, name, kind, value) in JUDGED {
        for value in [value, "hide"] {
            let (room, refused) = run_with(&line(half, kind, value));
            assert_eq!(refused.code, 8, "{half} {name}: {}", refused.stderr);
            assert!(refused.stderr.contains(name), "{half} {name}: {}", refused.stderr);
            is_over(&room, &refused, name);
        }
    }
}

/// The token is pulled out at a call, and comes back: `removed` before the call was made, `lost` after it was.
#[test]
fn a_token_that_is_pulled_out_comes_back_and_nothing_is_made_twice() {
    for (function, after, call) in [
        ("init_token", 0, "C_InitToken"),
        ("init_pin", 0, "C_InitPIN"),
        // The security officer's login comes first.
        ("login", 1, "C_Login/root"),
        ("create_object", 0, "C_CreateObject/open"),
        ("create_object", 1, "C_CreateObject/finished"),
        ("generate_random", 0, "C_GenerateRandom"),
        ("generate_key_pair", 0, "C_GenerateKeyPair"),
        ("sign", 1, "C_Sign"),
    ] {
        for fault in ["device_removed", "lost"] {
            let what = format!("{function}={fault} after:{after}");
            let (room, pulled) = run_with(&what);
            assert_eq!(pulled.code, 10, "{what}: {}", pulled.stderr);
            assert!(
                pulled.stderr.contains("CKR_DEVICE_REMOVED"),
                "{what}: {}",
                pulled.stderr
            );
            let failure = room.events().into_iter().find(|event| event["kind"] == "failure");
            let failure = failure.unwrap_or_else(|| panic!("{what}: no failure is written down"));
            assert_eq!(failure["call"], call, "{failure}");
            room.inject("");
            let resumed = room.run(&["--resume"]);
            assert_eq!(resumed.code, 0, "{what}: {}", resumed.stderr);
            // The halves of one key pair and two marks.
            assert_eq!(room.objects().len(), 4, "{what}");
            verify(&room.file("out")).success();
        }
    }
}

/// Of three signatures each one in turn: possession, certificate, confirmation.
#[test]
fn a_wrong_signature_is_found_and_ends_the_ceremony() {
    for before in 0..3 {
        let (room, refused) = run_with(&format!("sign=wrong_signature after:{before} count:1"));
        assert_eq!(refused.code, 8, "{before}: {}", refused.stderr);
        assert!(
            refused.stderr.contains("the signature of root-key is wrong"),
            "{before}: {}",
            refused.stderr
        );
        assert!(!room.file("out/certificates").exists(), "{before}");
        // A token that gave a wrong answer once is not asked again in the hope of a better one.
        room.inject("");
        let again = room.run(&["--resume"]);
        assert_eq!(again.code, 8, "{before}: {}", again.stderr);
        let why = ["--resume", "--declare", "failed", "--reason", "a wrong signature"];
        let ended = room.run(&why);
        assert_eq!(ended.code, 13, "{before}: {}", ended.stderr);
        let remarks = verify(&room.file("out")).json_of(13)["remarks"].to_string();
        assert!(remarks.contains("is wrong"), "{before}: {remarks}");
    }
}

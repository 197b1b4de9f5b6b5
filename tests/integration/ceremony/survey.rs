//! Plans on paper, a rehearsal beside the real thing, and what is on a token.

use std::process::Command;

use sealwright_tests::ceremony::{PIN, Room, SO_PIN, verify};
use serde_json::Value;

fn serial(room: &Room, token: &str) -> String {
    let step = format!("token-{token}");
    let events = room.events();
    let event = events
        .iter()
        .find(|event| event["step"] == *step && event["call"] == "identity");
    event.unwrap()["data"]["serial"].as_str().unwrap().to_owned()
}

/// Every question is answered by typing, none of the certificates has the mark of a rehearsal, and the rehearsal of the
/// same plan looks the same.
#[test]
fn a_ceremony_in_earnest_is_like_its_rehearsal() {
    let (practice, earnest) = (Room::new(), Room::of("p256", false));
    practice.finish();
    let ended = earnest.in_earnest();
    assert_eq!(ended["rehearsal"], false);
    let verified = verify(&earnest.file("out")).json();
    let remarks = verified["remarks"].as_array().unwrap();
    assert!(
        remarks.len() == 1
            && remarks[0]
                .as_str()
                .unwrap()
                .starts_with("attestation of root-key, ")
    );
    for name in ["root-ca", "issuing-ca"] {
        let file = format!("certificates/{name}.pem");
        let text = earnest
            .openssl(&["x509", "-noout", "-text", "-in", &file])
            .unwrap();
        assert!(!text.contains("2.25.232870012"), "{text}");
    }
    let confirmed = earnest.events();
    let confirmed: Vec<_> = confirmed
        .iter()
        .filter(|event| event["call"] == "confirmed")
        .collect();
    assert_eq!(confirmed.len(), 2);
    assert!(
        confirmed
            .iter()
            .all(|event| event["data"].as_str().unwrap().ends_with("typed"))
    );

    let (first, second) = (practice.path("out"), earnest.path("out"));
    let compared = practice
        .sealwright(&["ceremony", "compare", &first, &second])
        .json();
    let declared: Vec<_> = compared["declared"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["place"].clone())
        .collect();
    for place in ["ceremony", "rehearsal", "roster"] {
        assert!(declared.contains(&place.into()), "{place}");
    }
    assert_eq!(compared["unexplained"].as_array().unwrap().len(), 0);

    // The rehearsal of another plan is not its rehearsal.
    let mut other = Room::new();
    other.replace("path_length = 1", "path_length = 2");
    other.finish();
    let refused = other.sealwright(&["ceremony", "compare", &other.path("out"), &second]);
    assert_eq!(refused.code, 11, "{}", refused.stderr);
    assert!(
        refused.stdout.contains("steps.root-ca.profile.path_length"),
        "{}",
        refused.stdout
    );
    let refused = other.sealwright(&["ceremony", "compare", &second, &first]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
}

#[test]
fn an_object_that_no_transcript_explains_is_found() {
    let room = Room::new();
    room.finish();
    let (serial, pin) = (serial(&room, "issuing"), format!("x=file:{}", room.path("pin")));
    let (out, state) = (room.path("out"), room.path("inventory.state"));
    let inventory = |more: &[&str]| {
        let arguments = [
            "ceremony",
            "inventory",
            "--module",
            "/usr/lib/softhsm/libsofthsm2.so",
            "--serial",
            &serial,
            "--pin",
            &pin,
            "--state",
            &state,
        ];
        room.sealwright(&[&arguments, more].concat())
    };
    let all: Vec<Value> = inventory(&["--transcript", &out]).json_lines();
    // Two pairs, and two marks.
    assert_eq!(all.len(), 6);
    let none = inventory(&[]);
    assert_eq!(none.code, 12, "{}", none.stderr);

    // Somebody imports a key with the token's own tool.
    let key = room.path("stray.pem");
    room.openssl(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        &key,
    ])
    .unwrap();
    let imported = Command::new("softhsm2-util")
        .args([
            "--import",
            &key,
            "--token",
            "Example Issuing",
            "--label",
            "issuing",
            "--id",
            "aa",
        ])
        .args(["--pin", PIN, "--so-pin", SO_PIN])
        .env("SOFTHSM2_CONF", room.file("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    let odd = inventory(&["--transcript", &out]);
    assert_eq!(odd.code, 12, "{}", odd.stderr);
    let odd: Vec<Value> = odd
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|found: &Value| found["ceremony"].is_null())
        .collect();
    assert!(
        odd.iter().all(|found| found["id"] == "aa") && odd.len() == 2,
        "{odd:?}"
    );
}

#[test]
fn a_plan_is_compared_estimated_and_printed() {
    let room = Room::new();
    let (plan, roster) = (room.path("plan.toml"), room.path("roster.toml"));
    let other = room.path("other.toml");
    std::fs::write(&other, room.plan.replace("path_length = 1", "path_length = 2")).unwrap();
    let same = room.sealwright(&["ceremony", "plan", "diff", &plan, &plan]);
    assert_eq!((same.code, same.stdout.as_str()), (0, ""));
    let differs = room.sealwright(&["ceremony", "plan", "diff", &plan, &other]);
    assert_eq!(differs.code, 1);
    let difference: Value = serde_json::from_str(differs.stdout.trim()).unwrap();
    assert_eq!(difference["place"], "steps.root-ca.profile.path_length");
    assert_eq!(
        (&difference["first"], &difference["second"]),
        (&"1".into(), &"2".into())
    );

    let takes = room.sealwright(&["ceremony", "estimate", &plan]).json();
    assert_eq!(
        (&takes["keys"], &takes["signatures"], &takes["pins"]),
        (&3.into(), &9.into(), &6.into())
    );
    assert_eq!(
        (&takes["questions"], &takes["read_aloud"]),
        (&7.into(), &2.into())
    );

    let script = room
        .sealwright(&["ceremony", "script", "--plan", &plan, "--roster", &roster])
        .success();
    let words = room.sealwright(&["ceremony", "plan", "digest", &plan]).json();
    let first: Vec<_> = words["words"].as_str().unwrap().split(' ').take(8).collect();
    for part in [
        "anna",
        "carl",
        "witness",
        "Example Root CA",
        "the-root-is-made",
        &first.join(" "),
    ] {
        assert!(script.contains(part), "{part}");
    }
}

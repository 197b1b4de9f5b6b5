//! What vendors say of the devices that hold keys: none, a file, an attribute; kept, and never believed.

use std::fs;

use sealwright_tests::ceremony::{Room, verify};
use serde_json::{Value, json};

use super::tamper::{edit, tampered_of};

const KIND: &str = "0x80001234";

/// A small room whose key has this attestation.
fn attested(mut room: Room, attestation: &str) -> Room {
    room.replace(
        "label = \"root\"\nalgo",
        &format!("attestation = {attestation}\nlabel = \"root\"\nalgo"),
    );
    room
}

fn fact(room: &Room) -> Value {
    let events = room.events();
    let fact = events
        .iter()
        .find(|event| event["call"] == "key" && event["step"] == "root-key");
    fact.unwrap()["data"].clone()
}

fn remarks(room: &Room) -> String {
    verify(&room.file("out")).json()["remarks"].to_string()
}

#[test]
fn that_there_is_no_attestation_is_said_aloud() {
    let room = Room::small();
    let (plan, roster) = (room.path("plan.toml"), room.path("roster.toml"));
    let digest = || room.sealwright(&["ceremony", "plan", "digest", &plan]).json()["digest"].clone();
    let before = digest();
    let named = attested(Room::small(), "\"none\"").plan;
    assert!(named.contains("attestation = \"none\""));
    // To leave it out and to say it is the same plan, so plans from before keep their digest.
    fs::write(
        &plan,
        room.plan.replace(
            "label = \"root\"\nalgo",
            "attestation = \"none\"\nlabel = \"root\"\nalgo",
        ),
    )
    .unwrap();
    assert_eq!(digest(), before);
    let loud = "NO ATTESTATION: only the people in the room know";
    let linted = room.sealwright(&["ceremony", "plan", "lint", &plan]);
    assert!(
        format!("{}{}", linted.stdout, linted.stderr).contains(loud),
        "{linted:?}"
    );
    let script = room.sealwright(&["ceremony", "script", "--plan", &plan, "--roster", &roster]);
    assert!(script.success().contains(loud));
    room.agree();
    let outcome = room.run(&[]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("ATTESTATION none: only the people"),
        "{}",
        outcome.stderr
    );
    assert!(fact(&room)["attestation"].as_str().unwrap().starts_with("none: "));
    assert!(!room.file("out/attestations").exists());
    assert!(remarks(&room).contains("attestation of root-key: none"));
    let html = room.path("page.html");
    room.sealwright(&["ceremony", "report", &room.path("out"), "--html", &html])
        .success();
    let page = fs::read_to_string(html).unwrap();
    assert!(
        page.contains(loud) && page.contains("<td>attestation of root-key: none"),
        "{page}"
    );
}

#[test]
fn a_file_is_kept_as_it_was_given_and_not_believed() {
    let room = Room::small();
    let file = room.file("vendor.bin");
    let room = attested(room, &format!("{{ file = {:?} }}", file.to_str().unwrap()));
    room.agree();
    let stops = |more: &[&str], says: &str| {
        let stopped = room.run(more);
        assert_eq!(stopped.code, 10, "{}", stopped.stderr);
        assert!(stopped.stderr.contains(says), "{}", stopped.stderr);
    };
    fs::write(&file, "of another key").unwrap();
    stops(&[], "is there before the key root-key is made");
    fs::remove_file(&file).unwrap();
    stops(&["--resume"], "go on with --resume");
    fs::write(&file, "").unwrap();
    stops(&["--resume"], "is empty or larger");
    fs::write(&file, vec![1; 65_537]).unwrap();
    stops(&["--resume"], "is empty or larger");
    let given: Vec<u8> = (0..=255).cycle().take(65_536).collect();
    fs::write(&file, &given).unwrap();
    room.run(&["--resume"]).success();

    let kept = "attestations/root-key.bin";
    assert_eq!(fs::read(room.file("out").join(kept)).unwrap(), given);
    let sums = fs::read_to_string(room.file("out/SHA256SUMS")).unwrap();
    assert!(sums.contains(kept));
    let fact = fact(&room);
    assert!(
        fact["attestation"]
            .as_str()
            .unwrap()
            .starts_with("unverified: from a file")
    );
    assert_eq!(
        (&fact["attested"]["file"], &fact["attested"]["octets"]),
        (&json!(kept), &json!(65_536))
    );
    assert!(
        sums.contains(
            fact["attested"]["digest"]
                .as_str()
                .unwrap()
                .trim_start_matches("sha256:")
        )
    );
    assert!(remarks(&room).contains("attestation of root-key: unverified"));
    // The file that was given is of no account any more; each of the three places that hold it is.
    fs::remove_file(&file).unwrap();
    verify(&room.file("out")).success();
    tampered_of(&room, "the file", |folder| {
        fs::write(folder.join(kept), "other").unwrap()
    });
    tampered_of(&room, "no file", |folder| {
        fs::remove_file(folder.join(kept)).unwrap()
    });
    tampered_of(&room, "another file", |folder| {
        fs::write(folder.join("attestations/health-key.bin"), "x").unwrap();
    });
    tampered_of(&room, "the event", |folder| {
        edit(&folder.join("events.jsonl"), |text| {
            text.replacen("0001020304", "0001020305", 1)
        });
    });
    tampered_of(&room, "the label", |folder| {
        edit(&folder.join("events.jsonl"), |text| {
            text.replacen("unverified: ", "verified: ", 1)
        });
    });
    tampered_of(&room, "event and file", |folder| {
        edit(&folder.join("events.jsonl"), |text| {
            text.replacen("0001020304", "0001020305", 1)
        });
        let mut other = given.clone();
        other[4] = 5;
        fs::write(folder.join(kept), other).unwrap();
    });
}

#[test]
fn a_vendors_attribute_is_kept_as_it_was_told_and_not_believed() {
    let room = || attested(Room::small().faulty(), &format!("{{ attribute = {KIND:?} }}"));
    let told = |value: &str| format!("attribute=private:{}:{value}\n", &KIND[2..]);
    let run = |room: &Room, value: &str| {
        room.agree();
        room.inject(&told(value));
        room.run(&[])
    };
    let good = room();
    run(&good, "c0ffee").success();
    assert_eq!(
        fs::read(good.file("out/attestations/root-key.bin")).unwrap(),
        [0xc0, 0xff, 0xee]
    );
    let said = fact(&good)["attestation"].as_str().unwrap().to_owned();
    assert_eq!(
        said,
        format!("unverified: the token's attribute {KIND}; nobody here can check it")
    );
    verify(&good.file("out")).success();
    tampered_of(&good, "the event", |folder| {
        edit(&folder.join("events.jsonl"), |text| {
            text.replacen("c0ffee", "c0ffef", 1)
        });
    });

    // SoftHSM has no such attribute; and no attestation is empty, or longer than what is kept.
    let long = "00".repeat(65_537);
    for (value, says) in [
        ("hide", "private 0x80001234 is not reported"),
        ("", "0 octets"),
        (&long, "65537 octets"),
    ] {
        let room = room();
        let refused = run(&room, value);
        assert_eq!(refused.code, 8, "{}", refused.stderr);
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
        assert!(!room.file("out/certificates").exists());
    }
    let mut silent = room();
    silent.replace(
        "initialize = true",
        &format!("initialize = true\naccept_not_reported = [{KIND:?}]"),
    );
    run(&silent, "hide").success();
    assert_eq!(fact(&silent)["not_reported"], json!([format!("private {KIND}")]));
    assert!(remarks(&silent).contains("attestation of root-key: none: not reported"));
    assert!(!silent.file("out/attestations").exists());

    // Only what is a vendor's own is ever asked for.
    for odd in [
        "{ attribute = \"0x00000011\" }",
        "{ file = \"\" }",
        "\"perhaps\"",
        "{ url = \"x\" }",
    ] {
        let room = attested(Room::small(), odd);
        let refused = room.sealwright(&["ceremony", "plan", "lint", &room.path("plan.toml")]);
        assert_eq!(refused.code, 6, "{odd}: {}", refused.stderr);
    }
}

/// Practice is on SoftHSM, which attests to nothing; a key that has less in earnest than it had in practice is found.
#[test]
fn in_earnest_a_key_may_have_an_attestation_more_and_not_less() {
    let attribute = format!("{{ attribute = {KIND:?} }}");
    let make = |rehearsal: bool, attestation: bool| {
        let mut room = Room::of("p256", rehearsal).faulty();
        if attestation {
            room = attested(room, &attribute);
        }
        room.inject(&format!("attribute=private:{}:c0ffee\n", &KIND[2..]));
        if rehearsal {
            room.finish()
        } else {
            room.in_earnest()
        };
        room
    };
    let (without, with) = (make(true, false), make(true, true));
    let (plain, earnest) = (make(false, false), make(false, true));
    let compare = |first: &Room, second: &Room| {
        first.sealwright(&["ceremony", "compare", &first.path("out"), &second.path("out")])
    };
    for first in [&without, &with] {
        let compared = compare(first, &earnest).json();
        assert_eq!(compared["unexplained"], json!([]));
    }
    let declared = compare(&without, &earnest).json()["declared"].to_string();
    assert!(
        declared.contains("steps.root-key.attestation.attribute"),
        "{declared}"
    );
    let less = compare(&with, &plain);
    assert_eq!(less.code, 11, "{}", less.stderr);
    assert!(
        less.stdout.contains("steps.root-key.attestation.attribute"),
        "{}",
        less.stdout
    );
}

//! A root of today under the root of yesterday.

use std::{fs, sync::OnceLock};

use sealwright_tests::ceremony::{Room, verify};
use serde_json::Value;

use super::tamper;

/// What a room has to know of the one before: the token of its root.
pub(super) struct Before {
    pub(super) room: Room,
    pub(super) serial: String,
    /// The digest that names the transcript.
    pub(super) digest: String,
    id: String,
    certificate: String,
}

/// A root that is there, by a ceremony of its own.
pub(super) fn before() -> Before {
    let mut room = Room::small();
    room.replace("path_length = 1", "path_length = 2");
    let ended = room.finish();
    let events = room.events();
    let find = |step: &str, call: &str| {
        let found = events
            .iter()
            .find(|event| event["step"] == step && event["call"] == call);
        found.unwrap()["data"].clone()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Before {
        digest: text(&ended["digest"]),
        serial: text(&find("token-root", "identity")["serial"]),
        id: text(&find("root-key", "C_GenerateKeyPair")["id"]),
        certificate: fs::read_to_string(room.file("out/certificates/root-ca.pem")).unwrap(),
        room,
    }
}

/// A plan that makes a root and an issuing CA, and has the root of before certify the new root.
fn crossing(before: &Before) -> Room {
    let mut room = Room::new();
    fs::copy(before.room.file("softhsm2.conf"), room.file("softhsm2.conf")).unwrap();
    room.replace("Example Root\"\ninit", "New Root\"\ninit");
    room.replace("Example Root CA", "Example Root CA 2");
    let (_, profile) = room.plan.split_once("[steps.profile]").unwrap();
    let (profile, _) = profile.split_once("\n\n").unwrap();
    let (_, end) = room.plan.split_once("Example Issuing CA\"\nnot_before").unwrap();
    let end = end.split('"').nth(3).unwrap();
    let (start, _) = profile.split_once("not_after").unwrap();
    let profile = format!(
        "{start}not_after = \"{end}\"\npath_length = 1\ncrl_urls = [\"http://pki.example/old.crl\"]\n"
    );
    let (serial, id, older) = (&before.serial, &before.id, &before.certificate);
    let step = format!(
        "[[steps]]\nkind = \"cross-certificate\"\nname = \"root-by-old\"\nkey = \"root-key\"\ntoken = \"older\"\n\
         label = \"root\"\nid = \"{id}\"\nolder = '''{older}'''\n[steps.profile]{profile}\n"
    );
    let token = format!("[[tokens]]\nname = \"older\"\nlabel = \"Example Root\"\nserial = \"{serial}\"\n\n");
    room.replace(
        "[[steps]]\nkind = \"checkpoint\"",
        &format!("{step}[[steps]]\nkind = \"checkpoint\""),
    );
    room.replace(
        "[[steps]]\nkind = \"key\"\nname = \"root-key\"",
        &format!("{token}[[steps]]\nkind = \"key\"\nname = \"root-key\""),
    );
    room
}

fn run(room: &Room, more: &[&str]) -> sealwright_tests::Outcome {
    let pin = format!("older=file:{}", room.path("pin"));
    room.run(&[&["--pin", &pin], more].concat())
}

#[test]
fn a_new_root_is_reached_from_the_old_one_too() {
    let before = before();
    let room = crossing(&before);
    room.agree();
    run(&room, &[]).success();
    // Whoever knows the old root alone gets to the issuing CA, and whoever knows the new one alone.
    let old = before.room.path("out/certificates/root-ca.pem");
    let new = room.path("out/certificates/root-ca.pem");
    for (root, chain) in [
        (&old, "crossed/root-by-old/issuing-ca.pem"),
        (&new, "chains/issuing-ca.pem"),
    ] {
        let verify = [
            "verify",
            "-x509_strict",
            "-no-CApath",
            "-CAfile",
            root,
            "-untrusted",
            chain,
            chain,
        ];
        room.openssl(&verify).unwrap();
    }
    assert!(
        room.openssl(&["verify", "-x509_strict", "-CAfile", &old, "chains/issuing-ca.pem"])
            .is_err()
    );
    // The same name and key, by another issuer; and both roots are in the bundle.
    let field = |file: &str, field: &str| room.openssl(&["x509", "-noout", field, "-in", file]).unwrap();
    let cross = "certificates/root-by-old.pem";
    for same in ["-subject", "-pubkey"] {
        assert_eq!(field(cross, same), field(&new, same));
    }
    assert_eq!(
        field(cross, "-issuer"),
        field(&old, "-subject").replace("subject=", "issuer=")
    );
    let bundle = fs::read_to_string(room.file("out/trust-bundle.pem")).unwrap();
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(bundle.contains(&before.certificate));
    verify(&room.file("out")).success();

    let (plan, roster) = (room.path("plan.toml"), room.path("roster.toml"));
    let takes = room.sealwright(&["ceremony", "estimate", &plan]).json();
    assert_eq!((&takes["tokens"], &takes["signatures"]), (&3.into(), &10.into()));
    let script = room.sealwright(&["ceremony", "script", "--plan", &plan, "--roster", &roster]);
    assert!(script.success().contains("is signed by the older key \"root\""));
    let shown = room.sealwright(&["ceremony", "plan", "show", &plan]).json();
    assert!(shown.to_string().contains("cross-certificate"));
}

#[test]
fn what_the_old_root_does_not_allow_is_refused() {
    let before = before();
    let room = crossing(&before);
    let (_, cross) = room.plan.split_once("kind = \"cross-certificate\"").unwrap();
    let (cross, _) = cross.split_once("[[steps]]").unwrap();
    let lint = |change: Change<'_>| {
        let changed = room.plan.replace(cross, &change(cross));
        assert_ne!(changed, room.plan);
        fs::write(room.file("other.toml"), changed).unwrap();
        let refused = room.sealwright(&["ceremony", "plan", "lint", &room.path("other.toml")]);
        assert_eq!(refused.code, 6, "{}", refused.stderr);
        refused.stderr
    };
    let from_to = |from: &'static str, to: &'static str| move |text: &str| text.replace(from, to);
    let certificate = before.certificate.clone();
    let health = fs::read_to_string(before.room.file("out/keys/root-key.pem")).unwrap();
    let table: [(Change<'_>, &str); 7] = [
        (
            &from_to("path_length = 1", "path_length = 2"),
            "not below that of `older`",
        ),
        (
            &from_to("path_length = 1", "path_length = 0"),
            "issuing-ca is 1 below it",
        ),
        (&from_to("Root CA 2", "Root CA 3"), "the names are not those"),
        (&from_to("not_after = \"20", "not_after = \"21"), "not_after"),
        (&from_to("token = \"older\"", "token = \"none\""), "no token none"),
        (&from_to("id = \"", "id = \"x"), "hexadecimal"),
        (&|text: &str| text.replace(&certificate, &health), "`older`"),
    ];
    for (change, says) in table {
        let said = lint(change);
        assert!(said.contains(says), "{says}: {said}");
    }
    // In earnest nothing is signed by a rehearsal's key.
    fs::write(
        room.file("other.toml"),
        room.plan.replace("rehearsal = true", "rehearsal = false"),
    )
    .unwrap();
    let refused = room.sealwright(&["ceremony", "plan", "lint", &room.path("other.toml")]);
    assert!(
        refused.stderr.contains("comes from a rehearsal"),
        "{}",
        refused.stderr
    );
}

/// Before anything is made the key is looked for, and held against the certificate.
#[test]
fn the_old_key_must_be_on_its_token() {
    let before = before();
    let mut room = crossing(&before);
    let tokens = || fs::read_dir(before.room.file("tokens")).unwrap().count();
    room.replace(&before.id, &before.id.chars().rev().collect::<String>());
    room.agree();
    let refused = run(&room, &[]);
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("finding the older key"),
        "{}",
        refused.stderr
    );
    assert_eq!(tokens(), 1);

    // The certificate of another root of that name.
    let mut room = crossing(&before);
    let other = self::before();
    room.replace(&before.certificate, &other.certificate);
    room.agree();
    let refused = run(&room, &[]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("is not the one of the older certificate"),
        "{}",
        refused.stderr
    );
    assert_eq!(tokens(), 1);
}

#[test]
fn it_goes_on_where_it_was_cut_off() {
    let whole = crossed();
    let events = whole.events();
    let at = |call: &str, kind: &str| {
        let is =
            |event: &&Value| event["step"] == "root-by-old" && event["call"] == call && event["kind"] == kind;
        events.iter().find(is).unwrap()["sequence"].to_string()
    };
    let places = [
        ("--crash-after", at("C_Sign", "intent")),
        ("--crash-within", at("C_Sign", "result")),
        ("--crash-before", at("certificate", "fact")),
        ("--crash-within", at("openssl/issuing-ca", "observation")),
    ];
    let before = before();
    for (number, (place, event)) in places.into_iter().enumerate() {
        let mut room = crossing(&before);
        room.replace("New Root", &format!("New Root {number}"));
        room.replace("Example Issuing\"\ninit", &format!("Issuing {number}\"\ninit"));
        room.agree();
        assert_ne!(run(&room, &[place, &event]).code, 0);
        let cut = room.events();
        let ended = run(&room, &["--resume"]);
        assert_eq!(ended.code, 0, "{place} {event}: {}", ended.stderr);
        assert_eq!(room.events()[..cut.len()], cut[..]);
        verify(&room.file("out")).success();
    }
}

/// What somebody makes of a step.
type Change<'a> = &'a dyn Fn(&str) -> String;

fn crossed() -> &'static Room {
    static CROSSED: OnceLock<(Before, Room)> = OnceLock::new();
    let (_, room) = CROSSED.get_or_init(|| {
        let before = before();
        let room = crossing(&before);
        room.agree();
        run(&room, &[]).success();
        (before, room)
    });
    room
}

#[test]
fn every_field_of_a_cross_certificate_counts() {
    let changed = tamper::every_field(crossed(), |event| {
        event["step"] == "root-by-old" || event["call"] == "older/root-by-old"
    });
    assert!(changed > 40, "{changed}");
    for file in [
        "certificates/root-by-old.pem",
        "crossed/root-by-old/issuing-ca.pem",
    ] {
        tamper::tampered_of(crossed(), file, |folder| {
            tamper::edit(&folder.join(file), |text| text.replacen('A', "B", 1));
        });
        tamper::tampered_of(crossed(), file, |folder| {
            fs::remove_file(folder.join(file)).unwrap()
        });
    }
}

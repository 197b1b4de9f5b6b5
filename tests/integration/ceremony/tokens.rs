//! People whose keys are on tokens: what those sign, and what they refuse.

use std::fs;

use sealwright_tests::{
    Home, Outcome,
    ceremony::{self, Room, files, verify},
    tokens::{MODULE, PIN, Tokens},
};

/// A room where anna's key is on a token.
struct Scene {
    room: Room,
    tokens: Tokens,
    /// What her key is called.
    anna: String,
}

impl Scene {
    fn new(kind: &str) -> Self {
        Self::of(kind, Room::new(), Tokens::new())
    }

    fn of(kind: &str, mut room: Room, tokens: Tokens) -> Self {
        tokens.init("anna");
        let made = tokens.key("anna", kind, &tokens.path("anna"));
        let roster = fs::read_to_string(room.file("roster.toml")).unwrap();
        let in_file = fs::read_to_string(room.file("anna.pem.pub")).unwrap();
        let named = |room: &Room| {
            let named = room.sealwright(&["ceremony", "roster", &room.path("roster.toml")]);
            named.json()["digest"].as_str().unwrap().to_owned()
        };
        let before = named(&room);
        let on_token = made["public_key"].as_str().unwrap();
        assert!(roster.contains(&in_file));
        fs::write(room.file("roster.toml"), roster.replace(&in_file, on_token)).unwrap();
        let after = named(&room);
        room.replace(&before, &after);
        Self {
            room,
            tokens,
            anna: made["key"].as_str().unwrap().to_owned(),
        }
    }

    /// The arguments by which somebody approves with this key.
    fn approval(&self, key: &str) -> Vec<String> {
        let (plan, roster) = (self.room.path("plan.toml"), self.room.path("roster.toml"));
        let out = self.room.path("anna.txt");
        let _ = fs::remove_file(&out);
        [
            "ceremony",
            "approve",
            "--plan",
            &plan,
            "--roster",
            &roster,
            "--role",
            "operator",
            "--sign-with",
            key,
            "--out",
            &out,
            "--yes",
        ]
        .map(str::to_owned)
        .into()
    }

    fn approve(&self, key: &str, more: &[&str]) -> Outcome {
        let all = self.approval(key);
        let all: Vec<&str> = all
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        self.tokens.run(&all, "anna")
    }

    /// Approves with this key, which has to be refused with this code and words.
    fn refused(&self, key: &str, more: &[&str], code: i32, says: &str) {
        let refused = self.approve(key, more);
        assert_eq!(refused.code, code, "{key}: {}", refused.stderr);
        assert!(refused.stderr.contains(says), "{key}: {}", refused.stderr);
        assert!(!self.room.file("anna.txt").exists(), "{key}");
    }
}

#[test]
fn an_operator_agrees_and_signs_with_a_key_on_a_token() {
    for kind in ["p256", "ed25519"] {
        let scene = Scene::new(kind);
        let (room, anna) = (&scene.room, scene.anna.as_str());
        let agreed = scene.approve(anna, &[]);
        let mut said = format!("{}{}", agreed.stdout, agreed.stderr);
        assert_eq!(agreed.json()["person"], "anna");
        room.approve("bert", "operator").success();

        // Which module it is in is said before anything begins.
        let refused = room.run(&["--sign-with", anna]);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.contains("--pkcs11-module"), "{}", refused.stderr);
        assert!(!room.file("out").exists());
        let mut arguments = room.arguments();
        let place = arguments
            .iter()
            .position(|one| one.ends_with("/anna.pem"))
            .unwrap();
        arguments.drain(place - 1..=place);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        room.sealwright(&arguments).success();

        let out = room.path("out");
        let signed = scene
            .tokens
            .run(&["ceremony", "sign", &out, "--sign-with", anna, "--yes"], "anna");
        said.push_str(&signed.stdout);
        said.push_str(&signed.stderr);
        signed.success();
        let verified = verify(&room.file("out")).json();
        let signers: Vec<_> = verified["signed_by"].as_object().unwrap().keys().collect();
        assert_eq!(signers, ["anna", "bert"], "{verified}");

        assert!(!said.contains(PIN));
        let kept = [files(&room.file("out")), files(&scene.tokens.file("memory"))].concat();
        for (path, bytes) in kept {
            let there = bytes.windows(PIN.len()).any(|window| window == PIN.as_bytes());
            assert!(!there, "{}", path.display());
        }
    }
}

/// A ceremony's process loads the module of people's tokens when all else is over.
#[test]
fn a_key_on_a_token_signs_at_the_end_of_the_run() {
    let mut room = Room::small();
    room.token("anna");
    fs::write(room.file("wrong"), "0000000000").unwrap();
    let pin = format!("anna=file:{}", room.path("pin"));
    let (out, state, public) = (room.path("out"), room.path("memory"), room.path("on-token"));
    let token = ["--pkcs11-module", MODULE, "--state", &state, "--pin", &pin];
    let make = [
        "ceremony",
        "new-key",
        "--on",
        "pkcs11:token=anna",
        "--kind",
        "p256",
        "--out",
        &public,
    ];
    let made = room.sealwright(&[&make[..], &token].concat()).json();
    let (on_token, key) = (
        made["public_key"].as_str().unwrap(),
        made["key"].as_str().unwrap(),
    );
    let roster = fs::read_to_string(room.file("roster.toml")).unwrap();
    let in_file = fs::read_to_string(room.file("anna.pem.pub")).unwrap();
    let named = |room: &Room| {
        let named = room.sealwright(&["ceremony", "roster", &room.path("roster.toml")]);
        named.json()["digest"].as_str().unwrap().to_owned()
    };
    let before = named(&room);
    // Anna has both keys.
    let both = format!("\"\"\"{in_file}\"\"\", \"\"\"{on_token}\"\"\"");
    fs::write(
        room.file("roster.toml"),
        roster.replace(&format!("\"\"\"{in_file}\"\"\""), &both),
    )
    .unwrap();
    let after = named(&room);
    room.replace(&before, &after);
    room.agree();

    // A PIN of the plan's token is none of a person's, and a wrong one does not undo the ceremony.
    let wrong = format!("anna=file:{}", room.path("wrong"));
    let module = ["--sign-with", key, "--pkcs11-module", MODULE];
    let refused = room.run(&[&module[..], &["--pin", &wrong]].concat());
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("the ceremony is over")
            && refused.stderr.contains("refused the PIN: incorrect"),
        "{}",
        refused.stderr
    );
    let signers = |room: &Room| {
        let verified = verify(&room.file("out")).json();
        verified["signed_by"]["anna"].as_array().unwrap().len()
    };
    assert_eq!(signers(&room), 1);
    let sign = ["ceremony", "sign", &out, "--sign-with", key, "--yes"];
    room.sealwright(&[&sign[..], &token].concat()).success();
    assert_eq!(signers(&room), 2);

    fs::remove_dir_all(&out).unwrap();
    fs::remove_dir_all(room.file("out.state")).unwrap();
    let id = "ceremony = \"";
    let (start, rest) = room.plan.split_once(id).unwrap();
    let next = format!("{start}{id}{}{}", "ab".repeat(16), rest.split_at(32).1);
    let next = next.replace("label = \"Example Root\"", "label = \"Other Root\"");
    room.write_plan(&next);
    room.agree();
    let ended = room.run(&[&module[..], &["--pin", &pin]].concat());
    let digest = ended.json()["digest"].clone();
    assert_eq!(signers(&room), 2);
    assert_eq!(verify(&room.file("out")).json()["digest"], digest);
    assert!(
        !fs::read_to_string(room.file("out/events.jsonl"))
            .unwrap()
            .contains(ceremony::PIN)
    );
}

#[test]
fn a_persons_pin_that_was_refused_is_not_tried_again() {
    let scene = Scene::new("p256");
    let anna = scene.anna.as_str();
    scene.tokens.pin("0000000000");
    scene.refused(anna, &[], 7, "refused the PIN: incorrect");
    scene.refused(anna, &[], 7, "it was not tried again");
    // What was typed where no PIN belongs is not repeated.
    for odd in [
        &["--pin", PIN][..],
        &["--pin", &format!("anna={PIN}")],
        &["--sign-with", &format!("pkcs11:token=anna?pin-value={PIN}")],
    ] {
        let refused = scene.approve(anna, odd);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(!refused.stderr.contains(PIN), "{}", refused.stderr);
    }
    // No source is a prompt, and there is no terminal.
    let (all, state) = (scene.approval(anna), scene.tokens.path("memory"));
    let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
    all.extend(["--pkcs11-module", MODULE, "--state", &state]);
    let asked = scene.tokens.sealwright(&all, &format!("{PIN}\n"));
    assert_eq!(asked.code, 7, "{}", asked.stderr);
    assert!(asked.stderr.contains("no usable terminal"), "{}", asked.stderr);
    all.extend(["--pin", "anna=fd:0"]);
    scene.tokens.sealwright(&all, &format!("{PIN}\n")).success();
}

#[test]
fn the_key_of_a_uri_is_one_key_or_none_signs() {
    let scene = Scene::new("p256");
    scene.refused("pkcs11:token=anna;object=nobody", &[], 2, "no private key");
    scene.refused("pkcs11:token=nobody;object=statement", &[], 5, "no token");
    scene.refused("pkcs11:token=anna", &[], 2, "`object`, `id` or both");
    scene.approve("pkcs11:token=anna;object=statement", &[]).success();
    let (all, tokens) = (scene.approval(&scene.anna), &scene.tokens);
    let without: Vec<&str> = all.iter().map(String::as_str).collect();
    let refused = tokens.sealwright(&without, "");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("--pkcs11-module"), "{}", refused.stderr);

    // A second key of that label is not made, and where there are two, none is taken.
    let again = tokens.run(&["policy", "keygen", "--on", "pkcs11:token=anna"], "anna");
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    for (number, file) in tokens.objects().iter().enumerate() {
        let copy = format!("00000000-0000-0000-0000-00000000000{number}.object");
        fs::copy(file, file.with_file_name(copy)).unwrap();
    }
    scene.refused("pkcs11:token=anna;object=statement", &[], 2, "2 private keys fit");
}

/// A key says by itself what it is for: neither its name nor the PIN of its token make it another.
#[test]
fn only_a_key_that_was_made_for_statements_signs_them() {
    let scene = Scene::new("p256");
    let home = Home::new();
    let config = fs::read_to_string(home.config()).unwrap();
    let (_, rest) = config.split_once("uri = \"pkcs11:token=").unwrap();
    let label = rest.split('"').next().unwrap();
    let key = format!("pkcs11:token={label};object=issuing");
    let tokens = &scene.tokens;
    let foreign = |arguments: &[&str], conf: &str, pin: &str| {
        // Another SoftHSM in the place of anna's.
        let own = fs::read(tokens.file("softhsm2.conf")).unwrap();
        fs::copy(conf, tokens.file("softhsm2.conf")).unwrap();
        let state = tokens.path("memory");
        let more = ["--pkcs11-module", MODULE, "--state", &state, "--pin", pin];
        let outcome = tokens.sealwright(&[arguments, &more].concat(), "");
        fs::write(tokens.file("softhsm2.conf"), own).unwrap();
        outcome
    };

    // A signer's key, with the signer's PIN.
    let all = scene.approval(&key);
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let conf = home.file("softhsm2.conf");
    let pin = format!("{label}=file:{}", home.file("pin").display());
    let refused = foreign(&all, conf.to_str().unwrap(), &pin);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("was not made for statements"),
        "{}",
        refused.stderr
    );

    // A root of a ceremony, and a person's key beside it.
    let other = Room::small();
    other.finish();
    let pin = format!("Example Root=file:{}", other.path("pin"));
    let conf = other.path("softhsm2.conf");
    let all = scene.approval("pkcs11:token=Example%20Root;object=root");
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let refused = foreign(&all, &conf, &pin);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("was not made for statements"),
        "{}",
        refused.stderr
    );
    let beside = ["policy", "keygen", "--on", "pkcs11:token=Example%20Root"];
    let refused = foreign(&beside, &conf, &pin);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("has seen a key ceremony"),
        "{}",
        refused.stderr
    );
    assert!(!ceremony::PIN.is_empty() && !refused.stderr.contains(ceremony::PIN));

    // A key that was in a file before, imported under the id of a person's key.
    let file = scene.room.path("stray.pem");
    let algorithm = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ];
    other
        .openssl(&[&algorithm[..], &["-out", &file]].concat())
        .unwrap();
    let id = "73746174656d656e742f00000000000000000000";
    let import = [
        "--import", &file, "--token", "anna", "--label", "stray", "--id", id,
    ];
    tokens.util(&[&import[..], &["--pin", PIN]].concat());
    scene.refused(
        "pkcs11:token=anna;object=stray",
        &[],
        4,
        "private CKA_LOCAL is false",
    );
}

/// The other way round: a gate that is pointed at a person's key does not sign with it.
#[test]
fn a_persons_key_signs_no_certificate() {
    let tokens = Tokens::new();
    tokens.init("anna");
    tokens.key("anna", "p256", &tokens.path("anna"));
    let home = Home::new();
    fs::copy(tokens.file("softhsm2.conf"), home.file("softhsm2.conf")).unwrap();
    fs::write(home.file("pin"), PIN).unwrap();
    let config = fs::read_to_string(home.config()).unwrap();
    let value = |start: &str| {
        let (_, rest) = config.split_once(start).unwrap();
        format!("{start}{}\"", rest.split('"').next().unwrap())
    };
    home.replace(&value("\nuri = \"pkcs11:"), "\nuri = \"pkcs11:token=anna\"");
    home.replace(&value("\nkey = \"pkcs11:"), "\nkey = \"pkcs11:object=statement\"");
    let refused = home.refused();
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("made for the statements of a person"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_token_that_lies_fails_or_hangs_signs_nothing() {
    let scene = Scene::of("p256", Room::new(), Tokens::new().faulty());
    let anna = scene.anna.as_str();
    for (faults, more, says) in [
        ("sign=wrong_signature", &[][..], "does not hold"),
        ("sign=device_removed", &[], "CKR_DEVICE_REMOVED"),
        (
            "sign=hang",
            &["--token-deadline", "1s"],
            "did not answer within 1s",
        ),
        (
            "open_session=hang",
            &["--token-deadline", "1s"],
            "did not answer within 1s",
        ),
    ] {
        scene.tokens.inject(faults);
        scene.refused(anna, more, 5, says);
    }
    scene.tokens.inject("");
    scene.approve(anna, &[]).success();
}

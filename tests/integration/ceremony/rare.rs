//! What plans ask for less often: large keys, PINs in parts, certificates from elsewhere.

use std::{fs, path::Path, process::Command};

use sealwright_tests::ceremony::{PIN, Room, SO_PIN, files, verify};
use serde_json::Value;

#[test]
fn an_rsa_4096_root_is_made() {
    let mut room = Room::small();
    room.replace("algorithm = \"p256\"", "algorithm = \"rsa4096\"");
    room.finish();
    let text = room
        .openssl(&["x509", "-noout", "-text", "-in", "certificates/root-ca.pem"])
        .unwrap();
    assert!(text.contains("Public-Key: (4096 bit)"), "{text}");
    assert!(
        text.contains("Signature Algorithm: sha256WithRSAEncryption"),
        "{text}"
    );
    room.openssl(&[
        "verify",
        "-CAfile",
        "trust-bundle.pem",
        "certificates/root-ca.pem",
    ])
    .unwrap();
    verify(&room.file("out")).success();
}

/// The arguments of a run in which these files hold the parts of each PIN, in this order.
fn in_parts(room: &Room, pins: [&str; 2], so_pins: [&str; 2]) -> Vec<String> {
    let mut arguments = room.arguments();
    let pin = format!("root=file:{}", room.path("pin"));
    let so_pin = format!("root=file:{}", room.path("so-pin"));
    for (whole, option, parts) in [(pin, "--pin", pins), (so_pin, "--so-pin", so_pins)] {
        let place = arguments.iter().position(|one| *one == whole).unwrap();
        arguments.drain(place - 1..=place);
        for part in parts {
            arguments.extend([option.to_owned(), format!("root=file:{}", room.path(part))]);
        }
    }
    arguments
}

#[test]
fn a_pin_in_parts_is_their_parts_one_after_the_other() {
    let mut room = Room::small();
    room.replace("initialize = true", "initialize = true\npin_parts = 2");
    let (pin, so_pin) = (PIN.split_at(4), SO_PIN.split_at(5));
    for (name, part) in [("a", pin.0), ("b", pin.1), ("c", so_pin.0), ("d", so_pin.1)] {
        fs::write(room.file(name), format!("{part}\n")).unwrap();
    }
    room.agree();
    let run = |pins: [&str; 2], more: &[&str]| {
        let arguments = in_parts(&room, pins, ["c", "d"]);
        let arguments: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        room.sealwright(&arguments)
    };
    // Cut off once the token has its PIN; then the parts come in the wrong order.
    let cut = run(["a", "b"], &["--crash-after", "24"]);
    assert_ne!(cut.code, 0, "{}", cut.stderr);
    let refused = run(["b", "a"], &["--resume"]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(refused.stderr.contains("refused the PIN"), "{}", refused.stderr);
    let ended = run(["a", "b"], &["--resume"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    verify(&room.file("out")).success();

    // Any tool can log in with the whole.
    let identity = room
        .events()
        .into_iter()
        .find(|event| event["call"] == "identity");
    let serial = identity.unwrap()["data"]["serial"].as_str().unwrap().to_owned();
    let (whole, out, state) = (
        format!("x=file:{}", room.path("pin")),
        room.path("out"),
        room.path("inventory.state"),
    );
    room.sealwright(&[
        "ceremony",
        "inventory",
        "--module",
        "/usr/lib/softhsm/libsofthsm2.so",
        "--serial",
        &serial,
        "--pin",
        &whole,
        "--state",
        &state,
        "--transcript",
        &out,
    ])
    .success();
    for (path, bytes) in [files(&room.file("out")), files(&room.file("out.state"))].concat() {
        for secret in [PIN, SO_PIN] {
            let there = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!there, "{}", path.display());
        }
    }
}

/// What a ceremony wrote down of a step.
fn data(events: &[Value], step: &str, call: &str) -> Value {
    let event = events
        .iter()
        .find(|event| event["step"] == step && event["call"] == call);
    event.unwrap_or_else(|| panic!("no {call} in {step}"))["data"].clone()
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// A root of somebody else certifies the key that a ceremony made; another ceremony takes the certificate.
#[test]
fn a_certificate_from_elsewhere_is_imported_for_the_key_in_the_token() {
    let first = Room::new();
    first.finish();
    let events = first.events();
    let serial = data(&events, "token-issuing", "identity")["serial"].clone();
    let id = data(&events, "issuing-key", "C_GenerateKeyPair")["id"].clone();
    let folder = first.file("elsewhere");
    fs::create_dir(&folder).unwrap();
    let extensions = "[ca]\nbasicConstraints = critical, CA:TRUE, pathlen:0\nkeyUsage = critical, keyCertSign, cRLSign\n\
                      subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n";
    fs::write(folder.join("ext"), extensions).unwrap();
    let root = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        "root.key",
        "-out",
        "root.pem",
        "-subj",
        "/O=Elsewhere/CN=Elsewhere Root",
        "-days",
        "30",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    ];
    openssl(&folder, &root);
    let sign = |request: &str, out: &str| {
        openssl(
            &folder,
            &[
                "x509",
                "-req",
                "-in",
                request,
                "-CA",
                "root.pem",
                "-CAkey",
                "root.key",
                "-CAcreateserial",
                "-days",
                "20",
                "-extfile",
                "ext",
                "-extensions",
                "ca",
                "-out",
                out,
            ],
        );
    };
    sign("../out/requests/elsewhere.pem", "issuing.pem");
    // The same name for another key, which is in no token.
    openssl(
        &folder,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "other.key",
            "-out",
            "other.csr",
            "-subj",
            "/O=Example/CN=Example Issuing CA",
        ],
    );
    sign("other.csr", "other.pem");

    let import = |certificate: &str| {
        let mut room = Room::new();
        fs::copy(first.file("softhsm2.conf"), room.file("softhsm2.conf")).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let (before, _) = room.plan.split_once("[[tokens]]").unwrap();
        let text = format!(
            "{before}[[tokens]]\nname = \"issuing\"\nlabel = \"Example Issuing\"\nserial = {serial}\n\n[[steps]]\n\
             kind = \"import-certificate\"\nname = \"from-elsewhere\"\ntoken = \"issuing\"\nlabel = \"issuing\"\nid = {id}\n\
             certificate = '''\n{}'''\nparents = '''\n{}'''\n",
            read(certificate),
            read("root.pem")
        );
        room.write_plan(&text);
        room.agree();
        let outcome = room.run(&[]);
        (room, outcome)
    };
    let (room, outcome) = import("issuing.pem");
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    verify(&room.file("out")).success();
    let chain = fs::read_to_string(room.file("out/chains/from-elsewhere.pem")).unwrap();
    let issuing = fs::read_to_string(folder.join("issuing.pem")).unwrap();
    assert!(chain.starts_with(issuing.trim_end()), "{chain}");
    assert_eq!(
        fs::read_to_string(room.file("out/trust-bundle.pem"))
            .unwrap()
            .trim_end(),
        fs::read_to_string(folder.join("root.pem")).unwrap().trim_end()
    );

    let (room, refused) = import("other.pem");
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("for another key than the one in the token"),
        "{}",
        refused.stderr
    );
    assert!(!room.file("out/chains").exists());
}

//! What people carry to a ceremony, and what they read afterwards.

use std::{fs, process::Command};

use sealwright_tests::ceremony::{PIN, Room, SO_PIN};

#[test]
fn a_bundle_verifies_itself_and_then_a_transcript() {
    let room = Room::small();
    room.finish();
    let (archive, plan) = (room.path("bundle.tar"), room.path("plan.toml"));
    let make = ["ceremony", "bundle", "--out", &archive, "--add", &plan];
    let made = room.sealwright(&make).json();
    // Never over one that is there; and the same again is the same bytes.
    assert_ne!(room.sealwright(&make).code, 0);
    let again = room.path("again.tar");
    let same = room.sealwright(&["ceremony", "bundle", "--out", &again, "--add", &plan]);
    assert_eq!(same.json()["archive"], made["archive"]);

    let unpacked = room.file("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar")
        .args(["-xf", &archive, "-C"])
        .arg(&unpacked)
        .status();
    assert!(tar.unwrap().success());
    let folder = unpacked.join("sealwright-ceremony");
    let check = || Command::new(folder.join("check.sh")).output().unwrap();
    let checked = check();
    assert!(checked.status.success(), "{checked:?}");
    let said = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(said.lines().last(), made["digest"].as_str());
    assert_eq!(
        fs::read(folder.join("files/plan.toml")).unwrap(),
        room.plan.as_bytes()
    );
    assert!(folder.join("docs/ceremony.md").exists());
    let verified = Command::new(folder.join("bin/sealwright"))
        .args(["ceremony", "verify", &room.path("out")])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");

    // What was added, or changed, is found.
    fs::write(folder.join("files/more"), "x").unwrap();
    assert!(!check().status.success());
    fs::remove_file(folder.join("files/more")).unwrap();
    fs::write(folder.join("files/plan.toml"), "x").unwrap();
    assert!(!check().status.success());
}

#[test]
fn a_transcript_is_a_page_to_read() {
    let mut room = Room::small();
    let odd = "<img src=x onerror=alert(1)> & \\\"so on\\\"";
    room.replace("The root and the first issuing CA", odd);
    room.finish();
    let out = room.path("out");
    let page = |name: &str| {
        let path = room.path(name);
        room.sealwright(&["ceremony", "report", &out, "--html", &path])
            .success();
        fs::read_to_string(path).unwrap()
    };
    let text = page("one.html");
    assert_eq!(text, page("two.html"));
    assert!(!text.contains("<img") && text.contains("&lt;img src=x"), "{text}");
    for never in [
        "<script", "http://", "https://", "src=\"", "href", "url(", PIN, SO_PIN,
    ] {
        assert!(!text.contains(never), "{never}");
    }
    for event in room.events() {
        assert!(text.contains(&format!("<td>{}</td>", event["call"].as_str().unwrap())));
    }
    for shown in [
        "anna",
        "carl",
        "Example Root",
        "certificates/root-ca.pem",
        "none: only the people",
    ] {
        assert!(text.contains(shown), "{shown}");
    }
    // Only what verifies is shown.
    fs::write(room.file("out/keys/root-key.pem"), "x").unwrap();
    let path = room.path("three.html");
    let refused = room.sealwright(&["ceremony", "report", &out, "--html", &path]);
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(!room.file("three.html").exists());
}

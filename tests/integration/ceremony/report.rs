//! What people carry to a ceremony, and what they read afterwards.

use std::{fs, process::Command};

use sealwright_tests::ceremony::{PIN, Room, SO_PIN, copy};
use sealwright_tests::command::binary;
use sealwright_tests::pdf::{pages, squeezed};
use serde_json::Value;

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

/// Read back by a reader that knows PDFs and not our writer: every value of every event is there, nothing is cut off.
#[test]
fn a_transcript_is_paper_to_read() {
    let mut room = Room::small();
    room.replace(
        "The root and the first issuing CA",
        "Łódź, Ωμέγα (Жук) \\\\ \\u202E\\u6F22\\u05D0",
    );
    room.finish();
    let path = room.path("one.pdf");
    room.sealwright(&["ceremony", "report", &room.path("out"), "--pdf", &path])
        .success();
    let bytes = fs::read(&path).unwrap();
    let pages = pages(&bytes);
    assert!(pages.len() > 2);
    let all: String = pages.iter().map(|page| page.squeezed()).collect();
    // What a font does not have, or what would turn other letters, is spelled out.
    let title = squeezed(r"Key ceremony: Łódź, Ωμέγα (Жук) \\ \u{202e}\u{6f22}\u{5d0}");
    assert!(all.contains(&title.replace(r"\\", r"\")), "{all}");
    for event in room.events() {
        let mut values = vec![event["call"].clone(), event["time"].clone()];
        leaves(&event["data"], &mut values);
        for value in values.iter().filter_map(Value::as_str) {
            // As it is, or as JSON has it.
            let json = Value::from(value).to_string();
            let shown = [squeezed(value), squeezed(json.trim_matches('"'))];
            let spelled = shown.map(|text| text.replace('\u{202e}', "\\u{202e}").replace('漢', "\\u{6f22}"));
            let spelled = spelled.map(|text| text.replace('א', "\\u{5d0}"));
            assert!(spelled.iter().any(|text| all.contains(text)), "{value}");
        }
    }
    for (number, page) in (1..).zip(&pages) {
        let foot = page.pieces.last().unwrap();
        assert_eq!(foot.text, format!("page {number} of {}", pages.len()));
        for piece in &page.pieces {
            // A space at a line's end may stick out.
            let inside = piece.x >= 35.9 && piece.end <= page.width - 35.0 && piece.y >= 15.0;
            assert!(inside && piece.y <= page.height - 36.0, "{piece:?}");
        }
    }
    let contains = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for never in ["Date", "/ID", "/JS", "/URI", "/Action", PIN, SO_PIN] {
        assert!(!contains(never), "{never}");
    }
    assert!(!all.contains(PIN) && !all.contains(SO_PIN));
}

#[test]
fn the_same_transcript_is_the_same_paper() {
    let room = Room::small();
    room.finish();
    copy(&room.file("out"), &room.file("elsewhere/copied"));
    let (first, second) = (room.path("one.pdf"), room.path("two.pdf"));
    room.sealwright(&["ceremony", "report", &room.path("out"), "--pdf", &first])
        .success();
    // Another day, another place, another user.
    let later = Command::new("faketime")
        .args([
            "2031-02-03 04:05:06",
            binary().to_str().unwrap(),
            "ceremony",
            "report",
        ])
        .args([&room.path("elsewhere/copied"), "--pdf", &second])
        .env_clear()
        .envs([
            ("TZ", "Asia/Tokyo"),
            ("LANG", "tr_TR.UTF-8"),
            ("HOME", "/nowhere"),
        ])
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    assert!(later.status.success(), "{later:?}");
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
    // Never over one that is there, and never without saying what.
    let again = room.sealwright(&["ceremony", "report", &room.path("out"), "--pdf", &first]);
    assert_ne!(again.code, 0);
    let nothing = room.sealwright(&["ceremony", "report", &room.path("out")]);
    assert_eq!(nothing.code, 2, "{}", nothing.stderr);
    // Only what verifies is printed.
    fs::write(room.file("out/keys/root-key.pem"), "x").unwrap();
    let path = room.path("three.pdf");
    let refused = room.sealwright(&["ceremony", "report", &room.path("out"), "--pdf", &path]);
    assert_eq!(refused.code, 8, "{}", refused.stderr);
    assert!(!room.file("three.pdf").exists());
}

/// Every word of the Markdown is on paper, and there is room to write.
#[test]
fn a_script_is_paper_to_write_on() {
    let mut room = Room::new();
    room.replace(
        "common_name = \"Example Root CA\"",
        "common_name = \"A | B \\\" C\"",
    );
    let (plan, roster) = (room.path("plan.toml"), room.path("roster.toml"));
    let script = ["ceremony", "script", "--plan", &plan, "--roster", &roster];
    let text = room.sealwright(&script).success();
    let print = |name: &str| {
        let path = room.path(name);
        room.sealwright(&[&script[..], &["--pdf", &path]].concat())
            .success();
        fs::read(path).unwrap()
    };
    let bytes = print("one.pdf");
    assert_eq!(bytes, print("two.pdf"));
    let pages = pages(&bytes);
    let all: String = pages.iter().map(|page| page.squeezed()).collect();
    for line in text.lines().filter(|line| !line.starts_with("| ---")) {
        let line = line
            .trim_start_matches("#")
            .trim_start_matches("- [ ]")
            .replace('`', "");
        let bars = line.replace("A | B", "A ! B");
        let cells = bars
            .split('|')
            .map(|cell| squeezed(&cell.replace("A ! B", "A | B")));
        for cell in cells {
            assert!(all.contains(&cell), "{cell}");
        }
    }
    assert!(all.contains("\u{2610}1:"));
    let digest = room.sealwright(&["ceremony", "plan", "digest", &plan]).json();
    for (number, page) in (1..).zip(&pages) {
        let foot: Vec<_> = page
            .pieces
            .iter()
            .rev()
            .take(2)
            .map(|piece| piece.text.as_str())
            .collect();
        assert_eq!(foot[0], format!("page {number} of {}", pages.len()));
        assert!(foot[1].contains(digest["digest"].as_str().unwrap()), "{foot:?}");
        for piece in &page.pieces {
            assert!(piece.x >= 35.9 && piece.end <= page.width - 35.0, "{piece:?}");
        }
    }
}

fn leaves(value: &Value, into: &mut Vec<Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, into)),
        Value::Object(members) => members.values().for_each(|member| leaves(member, into)),
        other => into.push(other.clone()),
    }
}

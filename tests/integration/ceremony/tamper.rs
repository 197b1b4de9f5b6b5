//! What somebody changes afterwards is found, however well it is covered up.

use std::{fs, path::Path, sync::OnceLock};

use sealwright_tests::ceremony::{Room, copy, cover_up, sum_up, verify};
use serde_json::Value;

/// A transcript that is over, made once.
fn made() -> &'static Room {
    static MADE: OnceLock<Room> = OnceLock::new();
    MADE.get_or_init(|| {
        let room = Room::new();
        room.finish();
        room
    })
}

/// Changes a copy, covers it up, and has it verified.
fn tampered(what: &str, change: impl FnOnce(&Path)) -> String {
    tampered_of(made(), what, change)
}

/// The same of another transcript.
pub(super) fn tampered_of(room: &Room, what: &str, change: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let copy_of = folder.path().join("out");
    copy(&room.file("out"), &copy_of);
    change(&copy_of);
    cover_up(&copy_of);
    let outcome = verify(&copy_of);
    assert_eq!(outcome.code, 8, "{what}: {}", outcome.stderr);
    outcome.stderr
}

pub(super) fn edit(file: &Path, change: impl FnOnce(String) -> String) {
    let before = fs::read_to_string(file).unwrap();
    let after = change(before.clone());
    assert_ne!(before, after, "nothing was changed in {}", file.display());
    fs::write(file, after).unwrap();
}

/// Every place of a value that is a text, a number or a truth value.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                leaves(member, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                leaves(item, &format!("{at}/{number}"), found);
            }
        }
        _ => found.push(at.to_owned()),
    }
}

fn change(value: &mut Value) {
    *value = match &*value {
        Value::String(text) if text.is_empty() => "x".into(),
        Value::String(text) => {
            // Another digit of the same kind, so that the form stays.
            let last = text.chars().last().unwrap();
            let other = match last {
                'a' => 'b',
                '0' => '1',
                'Z' => return *value = text.replacen("20", "21", 1).into(),
                _ if last.is_ascii_digit() => '0',
                _ => 'a',
            };
            format!("{}{other}", &text[..text.len() - last.len_utf8()]).into()
        }
        Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
        Value::Bool(flag) => (!flag).into(),
        _ => "x".into(),
    };
}

#[test]
fn a_transcript_that_nobody_changed_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let copy_of = folder.path().join("out");
    copy(&made().file("out"), &copy_of);
    cover_up(&copy_of);
    let verified = verify(&copy_of).json();
    assert_eq!(verified["outcome"], "finished");
    assert_eq!(verified["sessions"], 1);
    assert_eq!(verified["approved_by"].as_array().unwrap().len(), 2);
    assert_eq!(verified["signed_by"].as_object().unwrap().len(), 2);
    assert!(verified["remarks"][0].as_str().unwrap().contains("rehearsal"));
    // It needs no token, and the roster can be held against one that is known.
    let path = copy_of.to_str().unwrap();
    let roster = verified["roster"].as_str().unwrap();
    sealwright_tests::run(["ceremony", "verify", path, "--roster", roster]).success();
    let other = format!("sha256:{}", "0".repeat(64));
    assert_eq!(
        sealwright_tests::run(["ceremony", "verify", path, "--roster", &other]).code,
        8
    );
}

/// Each field of each kind of event, changed alone, with the chain and the sums made good again.
#[test]
fn every_field_of_every_kind_of_event_counts() {
    let changed = every_field(made(), |_| true);
    assert!(changed > 100, "{changed}");
}

/// Changes each field of each kind of the events that count. Gives how many.
pub(super) fn every_field(room: &Room, counts: impl Fn(&Value) -> bool) -> usize {
    let events = room.events();
    let mut seen = std::collections::BTreeSet::new();
    for (number, event) in events.iter().enumerate().filter(|(_, event)| counts(event)) {
        let mut places = Vec::new();
        leaves(event, "", &mut places);
        for place in places {
            // One of each: the same field of the same kind of call, whichever key or list entry it is of.
            let call = event["call"].as_str().unwrap().split('/').next().unwrap();
            let name: String = place.chars().filter(|letter| !letter.is_ascii_digit()).collect();
            if place == "/previous" || !seen.insert((call.to_owned(), event["kind"].to_string(), name)) {
                continue;
            }
            tampered_of(room, &format!("event {number} {place}"), |folder| {
                edit(&folder.join("events.jsonl"), |text| {
                    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                    let mut event: Value = serde_json::from_str(&lines[number]).unwrap();
                    change(event.pointer_mut(&place).unwrap());
                    lines[number] = event.to_string();
                    lines.join("\n") + "\n"
                });
            });
        }
    }
    seen.len()
}

#[test]
fn an_event_more_less_or_elsewhere_is_found() {
    let lines = |change: fn(&mut Vec<String>)| {
        move |folder: &Path| {
            edit(&folder.join("events.jsonl"), |text| {
                let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                change(&mut lines);
                lines.join("\n") + "\n"
            });
        }
    };
    tampered("one less", lines(|lines| drop(lines.remove(20))));
    tampered("the last one less", lines(|lines| drop(lines.pop())));
    tampered("one twice", lines(|lines| lines.insert(20, lines[20].clone())));
    tampered("two changed places", lines(|lines| lines.swap(20, 21)));
}

#[test]
fn every_line_of_plan_roster_and_approvals_counts() {
    for file in [
        "plan.toml",
        "roster.toml",
        "approvals/operator-1.txt",
        "approvals/operator-2.txt",
        "transcript.sig",
    ] {
        let text = fs::read_to_string(made().file("out").join(file)).unwrap();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with("-----") {
                continue;
            }
            tampered(&format!("{file} line {number}: {line}"), |folder| {
                edit(&folder.join(file), |text| {
                    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                    let line = &mut lines[number];
                    let at = line
                        .rfind(|letter: char| letter.is_ascii_alphanumeric())
                        .unwrap_or(line.len() - 1);
                    let other = if line[at..].starts_with('a') { "b" } else { "a" };
                    line.replace_range(at..=at, other);
                    lines.join("\n") + "\n"
                });
            });
        }
    }
}

#[test]
fn every_output_counts_and_nothing_may_be_added() {
    let whole = made().file("out");
    for (path, _) in sealwright_tests::ceremony::files(&whole) {
        let name = path.strip_prefix(&whole).unwrap().to_owned();
        if ["SHA256SUMS", "events.jsonl"].contains(&name.to_str().unwrap()) {
            continue;
        }
        tampered(&format!("{} changed", name.display()), |folder| {
            edit(&folder.join(&name), |mut text| {
                let middle = text.len() / 2;
                let at = middle
                    + text[middle..]
                        .find(|letter: char| letter.is_ascii_alphanumeric())
                        .unwrap();
                let other = if text[at..].starts_with('x') { "y" } else { "x" };
                text.replace_range(at..=at, other);
                text
            });
        });
        tampered(&format!("{} gone", name.display()), |folder| {
            fs::remove_file(folder.join(&name)).unwrap();
        });
    }
    let said = tampered("a file more", |folder| {
        fs::write(folder.join("keys/more.pem"), "x").unwrap()
    });
    assert!(said.contains("no event explains this file"), "{said}");
    // The sums alone.
    let folder = tempfile::tempdir().unwrap();
    copy(&whole, folder.path());
    edit(&folder.path().join("SHA256SUMS"), |text| {
        text.replacen('a', "b", 1)
    });
    assert_eq!(verify(folder.path()).code, 8);
    sum_up(folder.path());
    verify(folder.path()).success();
}

#[test]
fn too_few_signatures_are_no_end() {
    let room = Room::small();
    room.agree();
    let arguments = room.arguments();
    let bert = room.path("bert.pem");
    let at = arguments.iter().rposition(|argument| *argument == bert).unwrap();
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.drain(at - 1..=at);
    room.sealwright(&arguments).success();
    let out = room.path("out");
    let refused = verify(&room.file("out"));
    assert_eq!(refused.code, 8);
    assert!(refused.stderr.contains("1 of 2 operators"), "{}", refused.stderr);
    // A stranger cannot sign, Bert can, later and elsewhere.
    let stranger = room.path("stranger.pem");
    room.sealwright(&["ceremony", "new-key", "--out", &stranger])
        .success();
    let refused = room.sealwright(&["ceremony", "sign", &out, "--yes", "--key", &stranger]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    room.sealwright(&["ceremony", "sign", &out, "--yes", "--key", &bert])
        .success();
    verify(&room.file("out")).success();
}

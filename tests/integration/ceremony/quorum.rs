//! Who must agree, and to what.

use std::fs;

use sealwright_tests::ceremony::Room;

#[test]
fn two_operators_must_agree_to_this_very_plan() {
    let mut room = Room::new();
    room.approve("anna", "operator").success();
    // The same approval twice is one person; a witness does not count; somebody may not act in another role.
    fs::copy(room.file("anna.txt"), room.file("bert.txt")).unwrap();
    let refused = room.run(&[]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(refused.stderr.contains("1 of 2 operators"), "{}", refused.stderr);
    let carl = room.approve("carl", "operator");
    assert_eq!(carl.code, 4, "{}", carl.stderr);
    room.approve("carl", "witness").success();
    fs::copy(room.file("carl.txt"), room.file("bert.txt")).unwrap();
    assert!(room.run(&[]).stderr.contains("1 of 2 operators"));

    // The plan changes by one character after they agreed.
    room.agree();
    room.replace("Example Root CA", "Example Root CB");
    let refused = room.run(&[]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("an approval is for the plan"),
        "{}",
        refused.stderr
    );
}

#[test]
fn another_roster_is_refused() {
    let room = Room::new();
    room.agree();
    room.roster(&[("anna", "operator"), ("bert", "operator")], 1);
    let refused = room.run(&[]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("the plan is for the roster"),
        "{}",
        refused.stderr
    );
}

#[test]
fn in_earnest_every_question_is_answered_by_a_person() {
    let room = Room::of("p256", false);
    let refused = room.approve("anna", "operator");
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("for rehearsals only"),
        "{}",
        refused.stderr
    );
    let refused = room.run(&[]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let (plan, roster) = (room.path("plan.toml"), room.path("roster.toml"));
    let (key, out) = (room.path("anna.pem"), room.path("anna.txt"));
    let arguments = [
        "ceremony", "approve", "--plan", &plan, "--roster", &roster, "--role", "operator", "--key", &key,
        "--out", &out,
    ];
    let refused = room.command(&arguments, "three wrong words\n");
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("other words were typed"),
        "{}",
        refused.stderr
    );
    assert!(!room.file("anna.txt").exists());
    assert_eq!(room.command(&arguments, "").code, 4);
}

#[test]
fn the_digest_is_of_what_the_plan_means_not_of_its_spelling() {
    let mut room = Room::new();
    let digest = |room: &Room| {
        let named = room.sealwright(&["ceremony", "plan", "digest", &room.path("plan.toml")]);
        named.json()["digest"].as_str().unwrap().to_owned()
    };
    let before = digest(&room);
    let spelled = format!(
        "# A remark.\n{}",
        room.plan.replace("kind = \"csr\"", "kind = 'csr'")
    );
    room.write_plan(&spelled);
    assert_eq!(digest(&room), before);
    // A default that is written out is the same plan, and so is the plan as it is shown.
    room.replace(
        "purpose = \"health\"",
        "purpose = \"health\"\ncustody = \"hsm-only\"",
    );
    assert_eq!(digest(&room), before);
    let path = room.path("plan.toml");
    let shown = room.sealwright(&["ceremony", "plan", "show", &path, "--output", "table"]);
    room.write_plan(&shown.success());
    assert_eq!(digest(&room), before);

    room.replace("title", "titel");
    let refused = room.sealwright(&["ceremony", "plan", "lint", &path]);
    assert_eq!(refused.code, 6);
    assert!(
        refused.stderr.contains("unknown field `titel`"),
        "{}",
        refused.stderr
    );
}

/// A second ceremony follows the first, by a roster that changed.
#[test]
fn a_later_roster_needs_the_quorum_before() {
    let first = Room::small();
    let before = first.finish();
    let mut second = Room::small();
    let roster_of = |room: &Room| {
        let named = room
            .sealwright(&["ceremony", "roster", &room.path("roster.toml")])
            .json();
        named["digest"].as_str().unwrap().to_owned()
    };
    let own = roster_of(&second);
    let text = fs::read_to_string(second.file("roster.toml")).unwrap();
    let follow = format!("number = 2\nprevious = \"{}\"", roster_of(&first));
    fs::write(second.file("roster.toml"), text.replace("number = 1", &follow)).unwrap();
    second.replace(&own, &roster_of(&second));
    second.agree();
    let refused = second.run(&[]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("names no `previous_transcript`"),
        "{}",
        refused.stderr
    );

    let digest = before["digest"].as_str().unwrap();
    second.replace(
        "roster = ",
        &format!("previous_transcript = \"{digest}\"\nroster = "),
    );
    second.agree();
    assert!(second.run(&[]).stderr.contains("--previous"));
    // These are other people than those who were asked before.
    let out = first.path("out");
    let refused = second.run(&["--previous", &out]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("0 of 2 operators of the one before"),
        "{}",
        refused.stderr
    );

    // The people of before, with one more key in the roster.
    for person in ["anna", "bert"] {
        fs::copy(
            first.file(&format!("{person}.pem")),
            second.file(&format!("{person}.pem")),
        )
        .unwrap();
    }
    let old = fs::read_to_string(first.file("roster.toml")).unwrap();
    let planned = roster_of(&second);
    fs::write(second.file("roster.toml"), old.replace("number = 1", &follow)).unwrap();
    second.replace(&planned, &roster_of(&second));
    second.agree();
    second.run(&["--previous", &out]).success();
}

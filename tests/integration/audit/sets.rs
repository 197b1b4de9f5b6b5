//! An auditor asks who had agreed: the ledger of a rehearsal is written anew as one where two of three must, and then as
//! forgers would have it.

mod people;

use std::time::Duration;

use sealwright_identity::{Digest, Timestamp};
use sealwright_statement::{
    Signed,
    policy::{Canary, Mode, Revision, Revocation, Set, StopBounds, bucket, canonical_settings},
};

use super::{CONTRADICTED, WEB};
use people::{Peopled, change, signed};

#[tokio::test]
async fn what_two_of_three_agreed_to_comes_out_again() {
    let peopled = Peopled::new().await;
    let set = peopled.agreed(peopled.set.clone());
    let ledger = peopled.under(&set, 2);
    let found = peopled.verdict(&ledger);
    assert_eq!(found.code, 0, "{:#}", found.said);
    let sets = &found.said["sets"];
    assert_eq!(
        sets["activated"][0]["approvals"],
        serde_json::json!(["ann", "bob"]),
        "{sets:#}"
    );
    assert_eq!(sets["activated"][0]["digest"], set.statement.digest().to_string());
    assert_eq!(
        (&sets["rehearsed"], &sets["without_set"]),
        (&0.into(), &0.into()),
        "{sets:#}"
    );

    // Everything rests on the first roster: who may agree, the auditor knows from elsewhere.
    let roster = peopled.people.roster.digest().to_string();
    assert_eq!(sets["first_roster"], roster);
    let found = peopled.verdict_with(&ledger, &["--roster", &roster]);
    assert_eq!(found.code, 0, "{:#}", found.said);
    let other = Digest::of(b"another").to_string();
    let found = peopled.verdict_with(&ledger, &["--roster", &other]);
    assert_eq!(
        (found.code, found.codes),
        (CONTRADICTED, vec!["change".to_owned()])
    );
}

#[tokio::test]
async fn a_set_that_does_not_hold_is_a_finding_and_so_is_every_record_under_it() {
    let peopled = Peopled::new().await;
    let (people, set) = (&peopled.people, &peopled.set);
    let with = |edit: &dyn Fn(&mut Set)| {
        let mut set = set.clone();
        edit(&mut set);
        peopled.agreed(set)
    };
    // The crate's own tests have more of these; whatever the entry says of the number of approvals.
    let nobody = signed(set.clone(), &[]);
    let own = signed(set.clone(), &[&people.ann, &people.dan]);
    let late = with(&|set| set.not_after = set.not_before);
    for (forged, approvals, due) in [
        (nobody, 0, "2 must agree, and did: nobody"),
        (own, 2, "dan does not count, having pushed"),
        (late, 2, "it could be activated until"),
    ] {
        let said = peopled.refused(&forged, approvals);
        assert!(said.contains(due), "{said}");
    }

    // A set for other issuers holds, and nothing can have been issued under it.
    let foreign = with(&|set| set.deployment = Digest::of(b"others"));
    let found = peopled.verdict(&peopled.under(&foreign, 2));
    assert_eq!((found.code, found.codes), (CONTRADICTED, vec!["set".to_owned()]));

    // A report that is not there.
    let absent = with(&|set| set.entries[0].report = Some(Digest::of(b"no report")));
    let found = peopled.verdict(&peopled.under(&absent, 2));
    assert_eq!(found.codes, ["absent"], "{:#}", found.said);
}

#[tokio::test]
async fn a_record_of_other_policies_than_the_sets_is_contradicted() {
    let mut peopled = Peopled::new().await;
    let agreed = peopled.agreed(peopled.set.clone());
    let sound = peopled.under(&agreed, 2);

    // The record's own word for the set.
    for (tag, value, due) in [
        (
            13,
            2_u64.to_be_bytes().to_vec(),
            "policy set 2 was never in force",
        ),
        (
            14,
            3_u32.to_be_bytes().to_vec(),
            "3 people are said to have agreed to set 1, and 2 did",
        ),
    ] {
        let mut forged = sound.clone();
        let decision = forged
            .entries
            .iter_mut()
            .find(|entry| entry.kind == "decision" && entry.fields.iter().any(|(tag, _)| *tag == 13));
        *decision.unwrap().field(tag) = value;
        let found = peopled.verdict(&forged);
        let findings = found.said["findings"].as_array().unwrap();
        assert_eq!(
            (found.code, findings.len()),
            (CONTRADICTED, 1),
            "{:#}",
            found.said
        );
        assert!(
            findings[0]["problem"].as_str().unwrap().contains(due),
            "{}",
            findings[0]
        );
    }
    let mut forged = sound.clone();
    for entry in &mut forged.entries {
        entry.fields.retain(|(tag, _)| ![13, 14].contains(tag));
    }
    assert_eq!(peopled.verdict(&forged).codes, ["set"]);
    let mut forged = sound.clone();
    forged.entries.retain(|entry| entry.kind != "policy");
    assert_eq!(peopled.verdict(&forged).codes, ["set"], "no set at all");

    // Revoked before anything was issued.
    let baseline = |revision: &&Signed<Revision>| revision.statement.policy.as_str() == "baseline";
    let revision = peopled.revisions.iter().find(baseline).unwrap().statement.clone();
    let revocation = Revocation {
        deployment: peopled.set.deployment,
        revision: revision.digest(),
        reason: "a test".to_owned(),
        number: 1,
    };
    let revocation = signed(revocation, &[&peopled.people.ann, &peopled.people.bob]);
    let mut forged = sound.clone();
    let place = peopled.place + 1;
    let blob = forged.insert_blob(place, "statement", revocation.to_string().as_bytes());
    let statement = revocation.statement.digest();
    let mut sealed = sound.entries[peopled.place].clone();
    let mut fields = change(
        3,
        1_u64.to_be_bytes().to_vec(),
        statement,
        sealed.field(33).clone(),
        2,
    );
    fields.push((36, [*statement.as_bytes(), *blob.as_bytes()].concat()));
    forged.insert(place + 1, "policy", fields);
    let found = peopled.verdict(&forged);
    assert_eq!(found.codes, ["set"], "{:#}", found.said);
    let text = found.said["findings"][0]["problem"].to_string();
    assert!(text.contains("policy baseline of set 1 was revoked"), "{text}");

    // A policy that all agreed to and nobody asked; then in another order, and one that is only a shadow.
    let second = Revision {
        policy: "second".parse().unwrap(),
        ..Revision::clone(&revision)
    };
    peopled.add(second, Mode::Enforce);
    assert_eq!(
        peopled.found_with_two(|_| {}),
        (CONTRADICTED, vec!["policies".to_owned()])
    );
    assert_eq!(
        peopled.found_with_two(|entries| entries.last_mut().unwrap().mode = Mode::Shadow),
        (0, Vec::new())
    );
    assert_eq!(
        peopled.found_with_two(|entries| {
            let asked = entries
                .iter_mut()
                .find(|entry| entry.revision == revision.digest());
            asked.unwrap().mode = Mode::Shadow;
        }),
        (CONTRADICTED, vec!["policies".to_owned()])
    );
}

/// The identity alone says in whose bucket it is; whoever forges the record cannot choose.
#[tokio::test]
async fn a_canary_decides_for_its_bucket_and_nobody_else() {
    let mut peopled = Peopled::new().await;
    let baseline = |revision: &&Signed<Revision>| revision.statement.policy.as_str() == "baseline";
    let revision = peopled.revisions.iter().find(baseline).unwrap().statement.clone();
    let settings: serde_json::Value = serde_json::from_str(&revision.settings).unwrap();
    let mut other = settings.as_object().unwrap().clone();
    other.insert("namespaces".to_owned(), serde_json::json!(["default"]));
    let canary = Revision {
        settings: canonical_settings(&serde_json::Value::Object(other)).unwrap(),
        ..Revision::clone(&revision)
    };
    let salt = |drawn: bool| {
        let mut salts = (0_u64..).map(|number| number.to_be_bytes().to_vec());
        let is = |salt: &Vec<u8>| (bucket(&revision.policy, salt, WEB) < 5000) == drawn;
        salts.find(is).unwrap()
    };
    let mode = |drawn| {
        Mode::Canary(Canary {
            hundredths: 5000,
            salt: salt(drawn),
        })
    };
    peopled.add(canary, mode(false));
    assert_eq!(
        peopled.found_with_two(|_| {}),
        (0, Vec::new()),
        "the bucket is another's"
    );
    let found = peopled.found_with_two(|entries| entries.last_mut().unwrap().mode = mode(true));
    assert_eq!(
        found,
        (CONTRADICTED, vec!["policies".to_owned()]),
        "the canary was due"
    );
}

/// A revocation, a set and their times: an entry that was judged at another time than it was written says so.
#[tokio::test]
async fn a_change_that_was_judged_at_another_time_is_a_finding() {
    let peopled = Peopled::new().await;
    let mut forged = peopled.under(&peopled.agreed(peopled.set.clone()), 2);
    let judged_at = forged.entries[peopled.place].field(33);
    let at = i64::from_be_bytes(judged_at.as_slice().try_into().unwrap());
    let earlier = Timestamp::from_micros(at).saturating_sub(Duration::from_secs(3600));
    *judged_at = earlier.micros().to_be_bytes().to_vec();
    let found = peopled.verdict(&forged);
    assert_eq!(found.codes, ["change", "set"], "{:#}", found.said);
}

/// A stop takes effect for an auditor only where the records ask for it; all that was decided without the canary then
/// contradicts the set.
#[tokio::test]
async fn a_forged_stop_is_found() {
    let mut peopled = Peopled::new().await;
    let baseline = |revision: &&Signed<Revision>| revision.statement.policy.as_str() == "baseline";
    let revision = peopled.revisions.iter().find(baseline).unwrap().statement.clone();
    let canary = Revision {
        settings: canonical_settings(&serde_json::json!({
            "trust_domains": ["cluster.local"], "namespaces": ["default"]
        }))
        .unwrap(),
        ..Revision::clone(&revision)
    };
    let everybody = Mode::Canary(Canary {
        hundredths: 10_000,
        salt: b"12345678".to_vec(),
    });
    peopled.add(canary, everybody);
    peopled.set.stop = Some(StopBounds {
        decisions: 2,
        denied: 1_000,
        aborted: 0,
    });
    let set = peopled.agreed(peopled.set.clone());
    let canary = peopled.set.entries.last().unwrap().revision;
    let stopped = |counts: [u64; 3]| {
        let mut ledger = peopled.under(&set, 2);
        let number = ledger.entries[peopled.place].field(31).clone();
        let judged_at = ledger.entries[peopled.place].field(33).clone();
        let mut fields = change(4, number, set.statement.digest(), judged_at, 0);
        let counts = counts.map(u64::to_be_bytes);
        fields.push((37, [canary.as_bytes().as_slice(), counts.as_flattened()].concat()));
        ledger.insert(peopled.place + 1, "policy", fields);
        peopled.verdict(&ledger)
    };
    for (counts, expected) in [
        ([2, 2, 0], "the records have 0 decisions"),
        (
            [2, 0, 0],
            "the bounds of set 1 do not stop a canary at 2 decisions",
        ),
    ] {
        let found = stopped(counts);
        assert_eq!(found.code, CONTRADICTED, "{:#}", found.said);
        assert_eq!(found.codes, ["change", "policies"], "{:#}", found.said);
        let problem = found.said["findings"][0]["problem"].as_str().unwrap();
        assert!(problem.contains(expected), "{problem}");
    }
}

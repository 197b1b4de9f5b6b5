//! Several policies, the queue, and who is still waiting.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use sealwright_identity::Usage;
use serde_json::json;

use super::support::{ENGINE, host, hostile, load};
use crate::{
    AbortReason, Decision, Denial, Difference, HostConfig, Narrowing, Outcome, Policy, PolicyHost,
    ShadowLane, Verdict, code, input::tests::sample,
};

async fn decide(policies: &[Arc<Policy>]) -> Decision {
    host().decide(policies, sample()).await
}

fn denied(decision: &Decision) -> &Denial {
    match &decision.outcome {
        Outcome::Deny(denial) => denial,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_a_policy_nothing_is_granted() {
    let decision = decide(&[]).await;
    assert_eq!(denied(&decision).code, code::NO_POLICY);
    assert_eq!(decision.input_json, sample().canonical());
}

#[tokio::test]
async fn all_must_allow_and_their_narrowings_are_intersected() {
    let baseline = load("baseline", json!({"trust_domains": ["cluster.local"]})).unwrap();
    let decision = decide(&[baseline, hostile("hour"), hostile("client")]).await;
    assert_eq!(
        decision.outcome,
        Outcome::Allow(Narrowing {
            lifetime: Some(Duration::from_secs(3600)),
            names: None,
            usages: Some(vec![Usage::ClientAuth]),
        })
    );
    assert_eq!(decision.evaluations.len(), 3);
    assert_eq!(decision.decided_at, sample().decided_at);
    assert!(decision.evaluations.iter().all(|one| one.fuel > 0));
}

#[tokio::test]
async fn the_first_denial_wins_and_ends_it() {
    let decision = decide(&[hostile("hour"), hostile("deny"), hostile("panic")]).await;
    assert_eq!(
        denied(&decision),
        &Denial {
            policy: "tested".to_owned(),
            code: "NO".to_owned(),
            message: "no".to_owned(),
            field: Some("caller".to_owned()),
            hint: Some("go away".to_owned()),
        }
    );
    let verdicts: Vec<_> = decision.evaluations.iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts, [Verdict::Allow, Verdict::Deny]);
}

#[tokio::test]
async fn nothing_in_common_is_a_denial() {
    let decision = decide(&[hostile("server"), hostile("client")]).await;
    assert_eq!(denied(&decision).code, code::NOTHING_ALLOWED);
    let decision = decide(&[hostile("no-names")]).await;
    assert_eq!(denied(&decision).code, code::NOTHING_ALLOWED);
}

#[tokio::test]
async fn a_policy_cannot_widen_for_the_next_one() {
    let decision = decide(&[hostile("name"), hostile("hour")]).await;
    assert_eq!(denied(&decision).code, code::POLICY_WIDENS);
    assert_eq!(decision.evaluations.len(), 1);
}

#[tokio::test]
async fn numbers_that_no_record_can_hold_are_denied() {
    let mut input = sample();
    input.request.lifetime_seconds = u64::MAX;
    let decision = host().decide(&[hostile("hour")], input).await;
    assert_eq!(denied(&decision).code, code::INPUT_INVALID);
    assert!(decision.evaluations.is_empty());
}

#[tokio::test]
async fn a_full_queue_aborts_at_once() {
    let (host, jobs, _slow) = PolicyHost::idle(ENGINE.clone(), 1);
    let policies = [hostile("hour")];
    let mut first = Box::pin(host.decide(&policies, sample()));
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(host.queued(), 1);

    let decision = host.decide(&policies, sample()).await;
    assert_eq!(aborted(&decision), AbortReason::QueueFull);
    assert_eq!(decision.input_json, sample().canonical());

    // A worker that fails over a request lets go of it.
    drop(jobs.try_recv().unwrap());
    assert_eq!(aborted(&first.await), AbortReason::Stopped);
}

#[tokio::test]
async fn a_dear_policy_has_a_queue_of_its_own() {
    let (host, jobs, slow) = PolicyHost::idle(ENGINE.clone(), 1);
    let (cheap, dear) = (hostile("hour"), hostile("loop"));
    host.decide_within(std::slice::from_ref(&dear), sample(), Duration::ZERO)
        .await;
    assert_eq!(
        (jobs.drain().count(), slow.len()),
        (1, 0),
        "nothing is known of it yet"
    );

    let fuel = dear.evaluate_measured(&sample(), &sample().to_wit()).fuel;
    assert!(dear.is_dear(), "{fuel} fuel were not dear");
    for policies in [vec![dear.clone()], vec![cheap.clone(), dear]] {
        host.decide_within(&policies, sample(), Duration::ZERO).await;
        assert_eq!((jobs.len(), slow.drain().count()), (0, 1));
    }
    host.decide_within(&[cheap], sample(), Duration::ZERO).await;
    assert_eq!((jobs.len(), slow.len()), (1, 0));
}

#[tokio::test]
async fn a_deadline_ends_the_wait() {
    let (host, jobs, _slow) = PolicyHost::idle(ENGINE.clone(), 1);
    let decision = host
        .decide_within(&[hostile("hour")], sample(), Duration::ZERO)
        .await;
    assert_eq!(aborted(&decision), AbortReason::Deadline);
    // It is still in the queue, and a worker that comes to it drops it.
    assert!(jobs.try_recv().unwrap().is_abandoned());
}

#[tokio::test]
async fn a_request_whose_client_is_gone_is_abandoned() {
    let (host, jobs, _slow) = PolicyHost::idle(ENGINE.clone(), 1);
    let policies = [hostile("hour")];
    let mut request = Box::pin(host.decide(&policies, sample()));
    assert!(request.as_mut().now_or_never().is_none());
    drop(request);
    assert!(jobs.try_recv().unwrap().is_abandoned());
}

fn aborted(decision: &Decision) -> AbortReason {
    assert!(decision.evaluations.is_empty());
    match &decision.outcome {
        Outcome::Aborted { policy: None, reason } => *reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_nobody_waits_for_is_not_executed() {
    let decision = crate::host::decide(&[hostile("hour")], &sample(), || false);
    assert!(decision.evaluations.is_empty());
    assert!(matches!(decision.outcome, Outcome::Aborted { .. }));
}

#[tokio::test]
async fn a_guest_that_dies_does_not_take_its_worker_along() {
    let config = HostConfig { threads: 1, queue: 1 };
    let host = PolicyHost::start(ENGINE.clone(), config).unwrap();
    for deed in ["panic", "recurse", "allocate", "huge"] {
        let decision = host.decide(&[hostile(deed)], sample()).await;
        assert!(matches!(decision.outcome, Outcome::Deny(_)), "{deed}");
        let decision = host.decide(&[hostile("hour")], sample()).await;
        assert!(matches!(decision.outcome, Outcome::Allow(_)), "{deed}");
    }
}

/// What shadows say of a decision by other policies.
async fn shadowed(decisive: &[Arc<Policy>], shadows: &[Arc<Policy>]) -> Vec<(Verdict, Difference)> {
    let host = host();
    let input = Arc::new(sample());
    let decision = host.decide(decisive, Arc::clone(&input)).await;
    let (tell, told) = tokio::sync::oneshot::channel();
    assert!(host.watch(
        ShadowLane::Set,
        shadows.to_vec(),
        input,
        &decision,
        |observations| {
            tell.send(observations).unwrap();
        }
    ));
    let observations = told.await.unwrap();
    let said = observations.iter();
    said.map(|one| (one.evaluation.verdict, one.difference)).collect()
}

#[tokio::test]
async fn a_shadow_is_compared_with_the_one_of_its_name_or_with_the_outcome() {
    let named = |name: &str, deed: &str| {
        let source = super::support::source(super::support::guest("hostile"), json!({ "decide": deed }));
        let source = crate::PolicySource {
            name: name.to_owned(),
            ..source
        };
        Arc::new(Policy::load(&ENGINE, source).unwrap())
    };
    let rows = [
        ("hour", "tested", "hour", Verdict::Allow, Difference::Same),
        ("hour", "tested", "client", Verdict::Allow, Difference::Narrows),
        ("hour", "tested", "deny", Verdict::Deny, Difference::Denies),
        ("hour", "tested", "panic", Verdict::Deny, Difference::Denies),
        ("deny", "tested", "hour", Verdict::Allow, Difference::Allows),
        ("deny", "tested", "panic", Verdict::Deny, Difference::Same),
        // Nobody of its name was asked.
        ("hour", "new", "hour", Verdict::Allow, Difference::Narrows),
        ("hour", "new", "deny", Verdict::Deny, Difference::Denies),
        ("deny", "new", "hour", Verdict::Allow, Difference::NotCompared),
    ];
    for (decides, name, shadow, verdict, difference) in rows {
        let said = shadowed(&[hostile(decides)], &[named(name, shadow)]).await;
        assert_eq!(said, [(verdict, difference)], "{decides}, {name} {shadow}");
    }
}

#[tokio::test]
async fn shadows_for_which_there_is_no_room_are_left_out() {
    let (idle, _jobs, _slow) = PolicyHost::idle(ENGINE.clone(), 1);
    let decision = host().decide(&[hostile("hour")], sample()).await;
    let input = Arc::new(sample());
    for lane in [ShadowLane::Set, ShadowLane::Front] {
        let input = Arc::clone(&input);
        assert!(!idle.watch(lane, vec![hostile("loop")], input, &decision, |_| unreachable!()));
    }
}

#[tokio::test]
async fn what_one_person_starts_takes_nothing_from_the_shadows_of_the_set() {
    let host = host();
    let input = Arc::new(sample());
    let decision = host.decide(&[hostile("hour")], Arc::clone(&input)).await;
    let watch = |lane, deed: &str| {
        let (tell, told) = tokio::sync::oneshot::channel();
        let input = Arc::clone(&input);
        let room = host.watch(lane, vec![hostile(deed)], input, &decision, |observations| {
            let _nobody_waits = tell.send(observations);
        });
        (room, told)
    };
    // Until no more of them may wait.
    let mut waiting = Vec::new();
    for deed in ["loop", "panic", "allocate", "recurse", "huge"].iter().cycle() {
        let (room, told) = watch(ShadowLane::Front, deed);
        if !room {
            break;
        }
        waiting.push(told);
    }
    let (room, told) = watch(ShadowLane::Set, "deny");
    assert!(room);
    assert_eq!(told.await.unwrap()[0].difference, Difference::Denies);
    // Whatever they did, each came to an end, and others decide as before.
    let first = waiting.remove(0).await.unwrap();
    assert_eq!(first[0].evaluation.verdict, Verdict::Deny);
    let decision = host.decide(&[hostile("hour")], Arc::clone(&input)).await;
    assert!(matches!(decision.outcome, Outcome::Allow(_)));
}

#[tokio::test]
async fn explanations_have_an_end_and_leave_no_trace_on_a_policy() {
    let host = host();
    let input = Arc::new(sample());
    let (looping, honest) = (hostile("loop"), hostile("hour"));
    let soon = || tokio::time::Instant::now() + Duration::from_secs(60);
    let policies = vec![honest.clone(), looping.clone(), honest.clone()];
    let said = host.explain(policies, Arc::clone(&input), soon()).await.unwrap();
    let verdicts: Vec<Verdict> = said.iter().map(|one| one.verdict).collect();
    // Each says its own, whatever the others say; and as a replay would have it.
    assert_eq!(verdicts, [Verdict::Allow, Verdict::Deny, Verdict::Allow]);
    assert_eq!(said[0], honest.evaluate(&input));
    assert_eq!(said[1], looping.evaluate(&input));
    // Asking about it moves nobody into the slow lane.
    assert!(!looping.is_dear());

    let now = tokio::time::Instant::now();
    let late = host.explain(vec![looping.clone()], Arc::clone(&input), now).await;
    assert_eq!(late.unwrap_err(), AbortReason::Deadline);
    let (idle, _jobs, _slow) = PolicyHost::idle(ENGINE.clone(), 1);
    let full = idle.explain(vec![looping], input, soon()).await;
    assert_eq!(full.unwrap_err(), AbortReason::QueueFull);
}

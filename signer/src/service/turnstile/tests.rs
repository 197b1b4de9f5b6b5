use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::*;

fn turnstile(places: usize, room: usize) -> Turnstile {
    Turnstile::new(TurnstileLimits {
        places,
        room,
        patience: Duration::from_secs(5),
    })
}

fn lane(caller: u64, connection: u64) -> Lane {
    Lane { caller, connection }
}

type Entering<'a> = BoxFuture<'a, Result<Place, Full>>;

/// Has one of a lane wait; it must not be let in at once.
fn wait(turnstile: &Turnstile, caller: u64, connection: u64) -> Entering<'_> {
    let mut entering = turnstile.enter(lane(caller, connection)).boxed();
    assert!(entering.as_mut().now_or_never().is_none());
    entering
}

fn is_in(entering: &mut Entering<'_>) -> Option<Place> {
    entering.as_mut().now_or_never().map(Result::unwrap)
}

#[tokio::test]
async fn so_many_are_in_work_and_the_next_comes_when_one_goes() {
    let turnstile = turnstile(2, 8);
    let first = turnstile.enter(lane(1, 1)).await.unwrap();
    let _second = turnstile.enter(lane(1, 1)).await.unwrap();
    let mut third = wait(&turnstile, 1, 1);
    assert_eq!(turnstile.load(), (2, 1));
    drop(first);
    let third = is_in(&mut third).unwrap();
    assert_eq!(turnstile.load(), (2, 0));
    drop(third);
    assert_eq!(turnstile.load(), (1, 0));
}

#[tokio::test]
async fn the_modest_wait_one_round_however_many_the_greedy_have() {
    let turnstile = turnstile(1, 1000);
    let working = turnstile.enter(lane(1, 1)).await.unwrap();
    let mut greedy: Vec<_> = (0..400).map(|_| wait(&turnstile, 1, 1)).collect();
    let mut modest = wait(&turnstile, 2, 2);
    let mut sibling = wait(&turnstile, 1, 3);
    drop(working);
    drop(is_in(&mut greedy[0]).unwrap());
    drop(is_in(&mut modest).unwrap());
    drop(is_in(&mut sibling).unwrap());
    assert!(is_in(&mut greedy[1]).is_some());
}

#[tokio::test]
async fn one_connection_fills_half_of_the_room_and_one_caller_three_quarters() {
    let turnstile = turnstile(1, 64);
    let _working = turnstile.enter(lane(1, 1)).await.unwrap();
    let mut waiting = Vec::new();
    let mut fill = |caller: u64, connection: u64| {
        let before = waiting.len();
        while turnstile.look(Some(lane(caller, connection))).is_ok() {
            waiting.push(wait(&turnstile, caller, connection));
        }
        assert!(
            turnstile
                .enter(lane(caller, connection))
                .now_or_never()
                .unwrap()
                .is_err()
        );
        waiting.len() - before
    };
    assert_eq!(fill(1, 1), 32);
    assert_eq!(fill(1, 2), 16);
    assert_eq!(fill(1, 3), 0);
    assert_eq!(fill(2, 4), 8);
    assert_eq!(fill(3, 5), 4);
    assert!(turnstile.look(None).is_ok());
}

#[tokio::test]
async fn who_gives_up_leaves_no_trace() {
    let turnstile = turnstile(1, 8);
    let working = turnstile.enter(lane(1, 1)).await.unwrap();
    let first = wait(&turnstile, 1, 1);
    let mut second = wait(&turnstile, 2, 2);
    let third = wait(&turnstile, 3, 3);
    drop(first);
    assert_eq!(turnstile.load(), (1, 2));
    drop(working);
    // The place is the second's, which never looks.
    drop(third);
    let place = is_in(&mut second);
    drop(second);
    assert_eq!(turnstile.load(), (1, 0));
    drop(place);
    assert_eq!(turnstile.load(), (0, 0));
}

#[tokio::test]
async fn a_place_that_comes_to_one_who_has_gone_goes_on() {
    let turnstile = turnstile(1, 8);
    let working = turnstile.enter(lane(1, 1)).await.unwrap();
    let first = wait(&turnstile, 1, 1);
    let mut second = wait(&turnstile, 2, 2);
    drop(working);
    drop(first);
    assert!(is_in(&mut second).is_some());
}

#[test]
fn who_would_wait_too_long_is_refused_at_once_with_the_time_it_takes() {
    const SECOND: Duration = Duration::from_secs(1);
    let limits = TurnstileLimits {
        places: 1,
        room: 1000,
        patience: 5 * SECOND,
    };
    let mut state = State {
        busy: 1,
        queue: Queue::default(),
        pace: Pace::default(),
    };
    let mut now = Instant::now();
    let push = |state: &mut State, lane| state.queue.push(lane, oneshot::channel().0);
    push(&mut state, lane(1, 1));
    state.pace.begin(now);
    // One in a second: the average has seen enough of them.
    for _ in 0..400 {
        push(&mut state, lane(1, 1));
        now += SECOND;
        assert!(state.next(now).is_some());
    }
    let refused = loop {
        match state.admits(lane(1, 1), &limits, now) {
            Ok(()) => push(&mut state, lane(1, 1)),
            Err(full) => break full,
        };
    };
    assert_eq!(state.queue.len(), 6);
    assert!(refused.retry_after > 5 * SECOND && refused.retry_after < 7 * SECOND);
    // Another is let in after one of these, and may wait for that; but not while nothing moves.
    assert!(state.admits(lane(2, 2), &limits, now).is_ok());
    assert!(state.admits(lane(2, 2), &limits, now + 5 * SECOND).is_err());
    // Nor does it matter later that the queue was long.
    while state.next(now).is_some() {}
    assert_eq!(state.busy, 0);
    assert!(state.admits(lane(1, 1), &limits, now + 3600 * SECOND).is_ok());
}

#[tokio::test]
async fn nobody_waits_longer_than_the_patience() {
    let turnstile = Turnstile::new(TurnstileLimits {
        places: 1,
        room: 8,
        patience: Duration::from_millis(5),
    });
    let _working = turnstile.enter(lane(1, 1)).await.unwrap();
    let full = turnstile.enter(lane(1, 1)).await.unwrap_err();
    assert!(full.retry_after >= RETRY_AFTER.0);
    assert_eq!(turnstile.load(), (1, 0));
}

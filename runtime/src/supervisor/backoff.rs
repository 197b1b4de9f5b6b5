//! How long to wait before a process is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
/// Short: while the gate is away nothing is signed, and a start costs milliseconds. A refused PIN is not
/// tried again however often a gate is started.
const LONGEST: Duration = Duration::from_secs(2);
/// A process that lived this long was well; the next failure is a first one again.
const WELL: Duration = Duration::from_secs(60);

/// Doubles with each failure in a row.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) const fn new() -> Self {
        Self(FIRST)
    }

    /// The wait after a process that lived this long.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= WELL {
            self.0 = FIRST;
        }
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_a_bound_and_forgets_after_a_good_run() {
        let mut backoff = Backoff::new();
        let short = Duration::from_secs(1);
        assert_eq!(backoff.after(short), FIRST);
        assert_eq!(backoff.after(short), FIRST * 2);
        for _ in 0..20 {
            backoff.after(short);
        }
        assert_eq!(backoff.after(short), LONGEST);
        assert_eq!(backoff.after(WELL), FIRST);
    }
}

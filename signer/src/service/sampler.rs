//! At most so many log lines a second for what strangers can cause at will.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(1);

/// Decides which refusals of the unauthenticated are logged; the metrics count all of them.
#[derive(Debug)]
pub(crate) struct Sampler {
    per_window: u32,
    state: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    start: Instant,
    logged: u32,
    suppressed: u64,
}

impl Sampler {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_window: per_second,
            state: Mutex::new(Window {
                start: Instant::now(),
                logged: 0,
                suppressed: 0,
            }),
        }
    }

    /// `Some` when this event may be logged, with the number left out since the last one logged.
    pub(crate) fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    pub(crate) fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut window = self.state.lock();
        if now.saturating_duration_since(window.start) >= WINDOW {
            window.start = now;
            window.logged = 0;
        }
        if window.logged >= self.per_window {
            window.suppressed += 1;
            return None;
        }
        window.logged += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_what_was_left_out_is_counted() {
        let sampler = Sampler::new(2);
        let now = Instant::now();
        assert_eq!(sampler.admit_at(now), Some(0));
        assert_eq!(sampler.admit_at(now), Some(0));
        assert_eq!(sampler.admit_at(now), None);
        assert_eq!(sampler.admit_at(now), None);
        let later = now + 2 * WINDOW;
        assert_eq!(sampler.admit_at(later), Some(2));
        assert_eq!(sampler.admit_at(later), Some(0));
        assert_eq!(sampler.admit_at(later), None);
    }
}

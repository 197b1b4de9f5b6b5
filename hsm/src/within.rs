//! A call into the module with an end, whatever the module does.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::error::Error;

/// Runs calls on a thread of their own and waits so long for them.
///
/// PKCS#11 has no time limits: a thread that is not waited for any more is lost, with whatever it took along. It gives
/// up its sessions by itself, should the module come back.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    doing: &'static str,
    calls: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let silent = Error::Silent { doing, limit };
    let (answer, answered) = mpsc::sync_channel(1);
    let run = move || {
        // Nobody may wait any more.
        let _ = answer.send(calls());
    };
    if thread::Builder::new().name("token".into()).spawn(run).is_err() {
        return Err(Error::NoThread { doing });
    }
    match answered.recv_timeout(limit) {
        Ok(answer) => answer,
        Err(RecvTimeoutError::Timeout) => Err(silent),
        Err(RecvTimeoutError::Disconnected) => Err(Error::NoThread { doing }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_back_is_not_waited_for() {
        let limit = Duration::from_millis(1);
        let hung: Result<(), Error> = within(limit, "hanging", || {
            loop {
                thread::park();
            }
        });
        assert!(matches!(hung, Err(Error::Silent { doing: "hanging", .. })));
        assert_eq!(within(Duration::from_secs(60), "answering", || Ok(1)).unwrap(), 1);
        let broken: Result<(), Error> = within(Duration::from_secs(60), "breaking", || panic!("broken"));
        assert!(matches!(broken, Err(Error::NoThread { doing: "breaking" })));
    }
}

//! The signals a process of ours heeds.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT: end.
    Stop,
    /// SIGHUP: read certificates, bundles and policies again.
    Reload,
}

/// The handlers, in place from [`Signals::install`] on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    heed_interrupt: bool,
}

impl Signals {
    /// For a process that stands alone: SIGINT stops it.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            heed_interrupt: true,
        })
    }

    /// For a process under a supervisor: a terminal sends SIGINT to the whole group, but the
    /// order of stopping is the supervisor's, so SIGINT is caught and nothing comes of it.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn install_supervised() -> std::io::Result<Self> {
        Ok(Self {
            heed_interrupt: false,
            ..Self::install()?
        })
    }

    /// Waits for the next. Cancel-safe.
    pub async fn next(&mut self) -> Request {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Request::Stop,
                _ = self.interrupt.recv() => if self.heed_interrupt { return Request::Stop },
                _ = self.hangup.recv() => return Request::Reload,
            }
        }
    }

    /// Waits until the process is asked to stop; what else comes is dropped.
    pub async fn stop(&mut self) {
        while self.next().await != Request::Stop {}
    }
}

//! Admission on the server: a module is judged in a process of its own, which the supervisor starts.
//!
//! The front may start no program, and is no place for one that may take what it likes. What judges can
//! reach nothing, and is asked for one report.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use sealwright_policy_wasm::admission::{Job, Report, ReportError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// The largest report.
const MAX_REPORT: u64 = 4 << 20;

/// Who wants such a process, and is told why there is none.
pub type JudgeWanted = oneshot::Sender<Result<UnixStream, String>>;

/// Processes that judge, one after the other.
#[derive(Clone, Debug)]
pub struct Judges {
    wanted: Arc<Mutex<mpsc::Sender<JudgeWanted>>>,
}

impl Judges {
    /// Over whoever has them started.
    #[must_use]
    pub fn new(wanted: mpsc::Sender<JudgeWanted>) -> Self {
        Self {
            wanted: Arc::new(Mutex::new(wanted)),
        }
    }

    /// Waits for a turn: there is one at a time, as what has it has the processor too.
    pub(super) async fn turn(&self, deadline: Instant) -> Result<Turn<'_>, JudgeError> {
        match timeout_at(deadline, self.wanted.lock()).await {
            Ok(wanted) => Ok(Turn(wanted)),
            Err(_late) => Err(JudgeError::Deadline),
        }
    }
}

/// The right to have one module judged.
#[derive(Debug)]
pub(super) struct Turn<'a>(MutexGuard<'a, mpsc::Sender<JudgeWanted>>);

impl Turn<'_> {
    /// The report on it.
    pub(super) async fn judge(self, job: &Job, deadline: Instant) -> Result<Report, JudgeError> {
        let judged = async {
            let (send, stream) = oneshot::channel();
            self.0.send(send).await.map_err(|_gone| JudgeError::Gone)?;
            let stream = stream.await.map_err(|_gone| JudgeError::Gone)?;
            converse(stream.map_err(JudgeError::NotStarted)?, job).await
        };
        timeout_at(deadline, judged)
            .await
            .unwrap_or(Err(JudgeError::Deadline))
    }
}

async fn converse(stream: UnixStream, job: &Job) -> Result<Report, JudgeError> {
    let job = serde_json::to_vec(job).map_err(JudgeError::Job)?;
    stream.set_nonblocking(true).map_err(JudgeError::Stream)?;
    let stream = tokio::net::UnixStream::from_std(stream).map_err(JudgeError::Stream)?;
    let (read, mut write) = stream.into_split();
    // One that ends early has no report: that is said below.
    let _ended = write.write_all(&job).await;
    let _ended = write.shutdown().await;
    let mut answer = Vec::new();
    let _ended = read.take(MAX_REPORT).read_to_end(&mut answer).await;
    if answer.is_empty() {
        return Err(JudgeError::NoReport);
    }
    Report::from_canonical(&answer).map_err(JudgeError::Report)
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(super) enum JudgeError {
    /// Nobody starts processes any more.
    #[error("the supervisor is gone")]
    Gone,
    /// It could not.
    #[error("the process that judges modules cannot be started: {0}")]
    NotStarted(String),
    /// It has no JSON form.
    #[error("the job cannot be written")]
    Job(#[source] serde_json::Error),
    /// The socket to it.
    #[error("the process that judges modules cannot be spoken to")]
    Stream(#[source] std::io::Error),
    /// It took more memory or processor time than it may, or its source archive cannot be read.
    #[error(
        "the process that judges modules ended without a report: the module took more than admission allows, or \
         its source is no archive of `policy build`; the signer's log has more"
    )]
    NoReport,
    /// What it said is none.
    #[error("what the process that judges modules said is no report")]
    Report(#[source] ReportError),
    /// It takes too long.
    #[error("no judgement in time")]
    Deadline,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use sealwright_policy_wasm::Limits;

    use super::*;

    async fn judged(judges: &Judges, deadline: Instant) -> Result<Report, JudgeError> {
        let job = Job::new(b"module", serde_json::json!({}), Limits::default());
        judges.turn(deadline).await?.judge(&job, deadline).await
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[tokio::test]
    async fn says_why_there_is_no_report() {
        let (wanted, mut wants) = mpsc::channel::<JudgeWanted>(1);
        let judges = Judges::new(wanted);
        let starting = std::thread::spawn(move || {
            wants
                .blocking_recv()
                .unwrap()
                .send(Err("no memory".to_owned()))
                .unwrap();
            for answer in ["", "{}"] {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                wants.blocking_recv().unwrap().send(Ok(ours)).unwrap();
                let mut job = String::new();
                theirs.read_to_string(&mut job).unwrap();
                assert!(job.contains("component"), "{job}");
                theirs.write_all(answer.as_bytes()).unwrap();
            }
            // Never answered.
            let _asked = wants.blocking_recv().unwrap();
        });
        let said = judged(&judges, soon()).await.unwrap_err();
        assert!(said.to_string().contains("no memory"), "{said}");
        assert!(matches!(judged(&judges, soon()).await, Err(JudgeError::NoReport)));
        assert!(matches!(
            judged(&judges, soon()).await,
            Err(JudgeError::Report(_))
        ));
        assert!(matches!(judged(&judges, soon()).await, Err(JudgeError::Gone)));
        starting.join().unwrap();
        let late = judged(&judges, Instant::now()).await;
        assert!(
            matches!(late, Err(JudgeError::Deadline | JudgeError::Gone)),
            "{late:?}"
        );
    }
}

//! Policies run on a request that nobody made, so that a person sees what each of them says.
//!
//! On a thread apart, one request after the other, behind everything else of the process; what it costs is not
//! remembered, so that nobody can have a policy moved into the slow lane by asking about it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use flume::Receiver;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::PolicyHost;
use crate::{AbortReason, Evaluation, Policy, PolicyInput};

/// Requests that may wait.
pub(super) const QUEUE: usize = 4;

pub(crate) struct Question {
    policies: Vec<Arc<Policy>>,
    input: Arc<PolicyInput>,
    answer: oneshot::Sender<Vec<Evaluation>>,
}

impl PolicyHost {
    /// What each policy says of an input, in order, whatever the others say. When this future is dropped, or the
    /// deadline passes, no further policy is asked.
    ///
    /// # Errors
    /// When too many questions wait, or the deadline passes.
    pub async fn explain(
        &self,
        policies: Vec<Arc<Policy>>,
        input: Arc<PolicyInput>,
        deadline: Instant,
    ) -> Result<Vec<Evaluation>, AbortReason> {
        // Else an answer that is quick enough would come after the end.
        if deadline <= Instant::now() {
            return Err(AbortReason::Deadline);
        }
        let (answer, evaluations) = oneshot::channel();
        let question = Question {
            policies,
            input,
            answer,
        };
        self.questions
            .try_send(question)
            .map_err(|_full| AbortReason::QueueFull)?;
        match timeout_at(deadline, evaluations).await {
            Ok(Ok(evaluations)) => Ok(evaluations),
            Ok(Err(_ended)) => Err(AbortReason::Stopped),
            Err(_late) => Err(AbortReason::Deadline),
        }
    }
}

pub(super) fn work(questions: &Receiver<Question>) {
    for Question {
        policies,
        input,
        answer,
    } in questions.iter()
    {
        let evaluated = catch_unwind(AssertUnwindSafe(|| {
            let mut evaluations = Vec::with_capacity(policies.len());
            for policy in &policies {
                if answer.is_closed() {
                    break;
                }
                evaluations.push(policy.evaluate(&input));
            }
            evaluations
        }));
        match evaluated {
            // Nobody waits any more: nothing to tell.
            Ok(evaluations) => drop(answer.send(evaluations)),
            Err(_) => tracing::error!("the worker that explains panicked"),
        }
    }
}

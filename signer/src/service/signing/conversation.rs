//! One call, from its first message to its end.
//!
//! A place is taken before a message is read, and kept until its answer has left: whoever sends
//! faster than it reads waits in its own connection. Whatever ends the call, requests that were
//! accepted are answered first, within their time; only a client that is gone, or that does not
//! take its answers, is not waited for.

use std::sync::Arc;
use std::time::Duration;

use sealwright_proto::signing::SignRequest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{Instrument, field, info, info_span};

use super::super::budget::BASE_CHARGE;
use super::super::status::{CallEnd, RequestError, chain};
use super::super::{Opened, RequestContext, RequestId, Steps};
use super::credential::Credential;
use super::outbox::Outbox;
use super::{Limits, SigningService};
use crate::authn::Caller;

/// How often times are looked at, as a part of the shortest of them.
const LOOKS: u32 = 4;

pub(super) struct Conversation {
    steps: Arc<Steps>,
    limits: Limits,
    stop: CancellationToken,
    opened: Arc<Opened>,
    credential: Credential,
    requests: Streaming<SignRequest>,
    outbox: Outbox,
    /// Of requests that run, or whose answers were not taken.
    places: Arc<Semaphore>,
    running: JoinSet<()>,
    begun: Instant,
    heard: Instant,
}

impl Conversation {
    pub(super) fn new(
        service: &SigningService,
        opened: Arc<Opened>,
        credential: Credential,
        requests: Streaming<SignRequest>,
        outbox: Outbox,
    ) -> Self {
        let now = Instant::now();
        Self {
            steps: Arc::clone(&service.steps),
            limits: service.limits,
            stop: service.stop.clone(),
            opened,
            credential,
            requests,
            outbox,
            places: Arc::new(Semaphore::new(service.limits.in_flight)),
            running: JoinSet::new(),
            begun: now,
            heard: now,
        }
    }

    /// Runs until the call has ended. What still runs then is dropped with the client gone.
    pub(super) async fn run(mut self) {
        let _open = self.steps.metrics.signing_call();
        let gone = self.outbox.gone();
        tokio::select! {
            () = gone.cancelled() => {}
            () = self.converse() => {}
        }
    }

    async fn converse(&mut self) {
        let listened = self.listen().await;
        let delivered = self.deliver().await;
        let drop_answers = delivered.is_err();
        let ended = listened.and(delivered);
        if let Err(error) = &ended {
            info!(error = chain(error), "a signing call was ended");
        }
        let status: Option<Status> = ended.err().map(|error| error.to_status(&self.opened.context.id));
        self.outbox.end(status, drop_answers);
    }

    /// Reads and accepts requests until the client has no more.
    async fn listen(&mut self) -> Result<(), RequestError> {
        let mut looks = interval(self.between_looks());
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(CallEnd::Stopping.into()),
                _ = looks.tick() => self.look()?,
                next = next(&self.places, &mut self.requests) => match next {
                    Ok(Some((place, message))) => self.accept(place, message).await?,
                    Ok(None) => return Ok(()),
                    Err(_status) => return Err(self.opened.inbox.failure()),
                },
            }
        }
    }

    /// Waits until every accepted request was answered and every answer was taken.
    async fn deliver(&self) -> Result<(), RequestError> {
        let all = u32::try_from(self.limits.in_flight).unwrap_or(u32::MAX);
        let mut left = std::pin::pin!(self.places.acquire_many(all));
        while timeout(self.between_looks(), &mut left).await.is_err() {
            self.check_delivery()?;
        }
        Ok(())
    }

    async fn accept(
        &mut self,
        place: OwnedSemaphorePermit,
        message: SignRequest,
    ) -> Result<(), RequestError> {
        self.heard = Instant::now();
        while self.running.try_join_next().is_some() {}
        let caller = self.credential.caller().await?;
        let charge = self.opened.inbox.take().ok_or(RequestError::Overloaded)?;
        let mut ticket = self.outbox.ticket(message.id, place, charge);
        let context = self.context();
        if !ticket.raise(BASE_CHARGE) {
            let refused = RequestError::Overloaded.to_status(&context.id);
            ticket.answer(super::Outcome::Error(super::error(&refused)));
            return Ok(());
        }
        let span = self.span(&context, &caller);
        let (steps, opened) = (Arc::clone(&self.steps), Arc::clone(&self.opened));
        let work = async move { ticket.answer(steps.sign(message, &opened, caller, context).await) };
        self.running.spawn(work.instrument(span));
        Ok(())
    }

    fn context(&self) -> RequestContext {
        RequestContext {
            id: RequestId::random(),
            deadline: Instant::now() + self.limits.request,
            ..self.opened.context.clone()
        }
    }

    fn span(&self, context: &RequestContext, caller: &Caller) -> tracing::Span {
        info_span!(
            parent: None,
            "rpc",
            method = context.method,
            request_id = %context.id,
            call_id = %self.opened.context.id,
            peer = %caller.peer(),
            caller = caller.identities().first().map(field::display),
            issuer = field::Empty,
            serial = field::Empty,
        )
    }

    fn look(&self) -> Result<(), RequestError> {
        self.credential.check_end()?;
        self.check_delivery()?;
        let free = self.places.available_permits();
        if free == 0 {
            // Not reading: what is missing of a message is not the client's fault.
            self.opened.inbox.excuse();
        }
        let resting = free == self.limits.in_flight;
        if self.opened.inbox.is_stuck(self.limits.request) {
            Err(CallEnd::Incomplete.into())
        } else if resting && self.heard.elapsed() > self.limits.idle {
            Err(CallEnd::Idle.into())
        } else if self.begun.elapsed() > self.limits.duration {
            Err(CallEnd::TooLong.into())
        } else {
            Ok(())
        }
    }

    fn check_delivery(&self) -> Result<(), RequestError> {
        if self.outbox.is_stalled(self.limits.request) {
            return Err(CallEnd::NotRead.into());
        }
        Ok(())
    }

    fn between_looks(&self) -> Duration {
        let Limits {
            idle,
            duration,
            request,
            ..
        } = self.limits;
        let shortest = idle.min(duration).min(request);
        (shortest / LOOKS).max(Duration::from_millis(10))
    }
}

/// The next message, once there is a place for it. Cancel-safe.
async fn next(
    places: &Arc<Semaphore>,
    requests: &mut Streaming<SignRequest>,
) -> Result<Option<(OwnedSemaphorePermit, SignRequest)>, Status> {
    let Ok(place) = Arc::clone(places).acquire_owned().await else {
        return Ok(None);
    };
    let message = requests.message().await?;
    Ok(message.map(|message| (place, message)))
}

//! One connection with a handler that does as the test says.

use futures::{SinkExt, StreamExt};
use sealwright_proto::gate::{ServingRequest, Status, StatusRequest, refusal};
use tokio::sync::Notify;
use tokio_util::codec::Framed;

use super::*;
use crate::protocol::MAX_FRAME_BYTES;

type Front = Framed<UnixStream, MessageCodec<Response, Request>>;

/// Answers status at once; a serving request waits until the test opens the door (or, with
/// a CSR, until it is given up), and says whether somebody still wanted it then.
#[derive(Default)]
struct Scripted {
    door: Notify,
    entered: Notify,
    finished: Mutex<Vec<Result<(), Refused>>>,
    done: Notify,
}

impl Handler for Scripted {
    async fn prepare(&self, _body: &mut request::Body, _roles: Roles) -> Result<(), Refused> {
        Ok(())
    }

    async fn handle(&self, body: request::Body, context: Context) -> response::Body {
        if let request::Body::Serving(serving) = body {
            self.entered.notify_one();
            if serving.csr.is_empty() {
                self.door.notified().await;
            }
            while !serving.csr.is_empty() && context.still_wanted().is_ok() {
                tokio::task::yield_now().await;
            }
            self.finished.lock().push(context.still_wanted());
            self.done.notify_one();
        }
        response::Body::Status(Status::default())
    }
}

struct Scene {
    front: Front,
    gate: Arc<Scripted>,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<Result<(), ProtocolError>>,
}

fn scene(in_flight: usize) -> Scene {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let gate = Arc::new(Scripted::default());
    let stop = CancellationToken::new();
    let bounds = Bounds {
        in_flight,
        timeout: Duration::from_secs(60),
    };
    let served = tokio::spawn(serve(theirs, Roles::ALL, Arc::clone(&gate), bounds, stop.clone()));
    Scene {
        front: Framed::new(ours, MessageCodec::default()),
        gate,
        stop,
        served,
    }
}

fn status(id: u64) -> Request {
    Request {
        id,
        timeout_ms: 0,
        body: Some(request::Body::Status(StatusRequest {})),
    }
}

fn slow(id: u64, timeout_ms: u32) -> Request {
    Request {
        id,
        timeout_ms,
        body: Some(request::Body::Serving(ServingRequest::default())),
    }
}

fn code(response: &Response) -> Option<refusal::Code> {
    match &response.body {
        Some(response::Body::Refusal(refusal)) => Some(refusal.code()),
        _ => None,
    }
}

#[tokio::test]
async fn a_frame_too_large_closes_the_connection() {
    let mut scene = scene(1);
    let length = u32::try_from(MAX_FRAME_BYTES + 1).unwrap();
    scene
        .front
        .get_mut()
        .write_all(&length.to_be_bytes())
        .await
        .unwrap();
    assert!(scene.front.next().await.is_none());
    scene.served.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn garbage_closes_the_connection() {
    for garbage in [&[0, 0, 0, 3, 0xff, 0xff, 0xff][..], &[0, 0, 0, 0]] {
        let mut scene = scene(1);
        scene.front.get_mut().write_all(garbage).await.unwrap();
        assert!(scene.front.next().await.is_none());
        scene.served.await.unwrap().unwrap_err();
    }
}

#[tokio::test]
async fn an_id_in_use_closes_the_connection() {
    let mut scene = scene(4);
    // Ends when it is given up, which the end of the connection does.
    let mut patient = slow(1, 0);
    patient.body = Some(request::Body::Serving(ServingRequest { csr: vec![1] }));
    scene.front.send(&patient).await.unwrap();
    scene.gate.entered.notified().await;
    scene.front.send(&patient).await.unwrap();
    scene.served.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn one_request_too_many_is_refused_at_once() {
    let mut scene = scene(1);
    scene.front.send(&slow(1, 0)).await.unwrap();
    scene.front.send(&status(2)).await.unwrap();
    let answer = scene.front.next().await.unwrap().unwrap();
    assert_eq!((answer.id, code(&answer)), (2, Some(refusal::Code::Overloaded)));
    scene.gate.door.notify_one();
    let answer = scene.front.next().await.unwrap().unwrap();
    assert_eq!((answer.id, code(&answer)), (1, None));
}

#[tokio::test]
async fn a_deadline_is_answered_while_the_work_goes_on() {
    let mut scene = scene(1);
    scene.front.send(&slow(1, 1)).await.unwrap();
    let answer = scene.front.next().await.unwrap().unwrap();
    assert_eq!(code(&answer), Some(refusal::Code::Deadline));
    // Its place is taken until it ends.
    scene.front.send(&status(2)).await.unwrap();
    let answer = scene.front.next().await.unwrap().unwrap();
    assert_eq!(code(&answer), Some(refusal::Code::Overloaded));
    scene.gate.door.notify_one();
    scene.gate.done.notified().await;
    assert_eq!(scene.gate.finished.lock()[..], [Err(Refused::Deadline)]);
}

#[tokio::test]
async fn a_cancelled_request_knows_it() {
    let mut scene = scene(2);
    scene.front.send(&slow(1, 0)).await.unwrap();
    let cancel = Request {
        id: 0,
        timeout_ms: 0,
        body: Some(request::Body::Cancel(1)),
    };
    scene.front.send(&cancel).await.unwrap();
    // The answer to a later frame says that the earlier one was read.
    scene.front.send(&status(2)).await.unwrap();
    assert_eq!(scene.front.next().await.unwrap().unwrap().id, 2);
    scene.gate.door.notify_one();
    scene.gate.done.notified().await;
    assert_eq!(scene.gate.finished.lock()[..], [Err(Refused::Cancelled)]);
}

#[tokio::test]
async fn the_end_of_the_stream_cancels_and_lets_work_end() {
    let mut scene = scene(1);
    scene.front.send(&slow(1, 0)).await.unwrap();
    scene.gate.entered.notified().await;
    scene.front.get_mut().shutdown().await.unwrap();
    tokio::task::yield_now().await;
    scene.gate.door.notify_one();
    scene.served.await.unwrap().unwrap();
    assert_eq!(scene.gate.finished.lock().len(), 1);
}

#[tokio::test]
async fn a_stop_still_answers_what_was_begun() {
    let mut scene = scene(1);
    scene.front.send(&slow(1, 0)).await.unwrap();
    scene.gate.entered.notified().await;
    scene.stop.cancel();
    scene.gate.door.notify_one();
    let answer = scene.front.next().await.unwrap().unwrap();
    assert_eq!((answer.id, code(&answer)), (1, None));
    scene.served.await.unwrap().unwrap();
    assert_eq!(scene.gate.finished.lock()[..], [Ok(())]);
}

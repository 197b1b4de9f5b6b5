//! One unary message, read no further than its header allows.
//!
//! A gRPC message is headed by a flag and a length of four octets in network order. The whole
//! message is charged to the budget before its bytes are read.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use tonic::body::Body;

use super::super::budget::Charge;
use super::super::order::OrderError;
use super::super::status::RequestError;

const HEADER_BYTES: usize = 5;

/// How large a message may be.
#[derive(Clone, Copy, Debug)]
pub(in crate::service) struct Sizes {
    /// Any message, in bytes: what a client is told to be able to send.
    pub(super) message: usize,
    /// One that an order could come out of, in bytes: more is not worth holding.
    pub(super) order: usize,
}

impl Sizes {
    pub(in crate::service) fn check(self, bytes: usize) -> Result<(), RequestError> {
        let Self { message, order } = self;
        if bytes > message {
            return Err(RequestError::MessageTooLarge {
                bytes,
                limit: message,
            });
        }
        if bytes > order {
            return Err(OrderError::TooLarge { bytes, limit: order }.into());
        }
        Ok(())
    }
}

/// Reads one message of an allowed size and hands it on as a body of its own.
pub(super) async fn read(mut body: Body, sizes: Sizes, charge: &mut Charge) -> Result<Body, RequestError> {
    let mut buffered = Buffered::default();
    let mut wanted = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| RequestError::MessageMalformed)?;
        let Ok(data) = frame.into_data() else {
            // Trailers, which no gRPC client sends.
            continue;
        };
        buffered.push(data);
        if wanted.is_none() {
            wanted = buffered.length();
            if let Some(bytes) = wanted {
                sizes.check(bytes)?;
                if !charge.raise(bytes.saturating_add(HEADER_BYTES)) {
                    return Err(RequestError::Overloaded);
                }
            }
        }
        if wanted.is_some_and(|bytes| buffered.len() > bytes.saturating_add(HEADER_BYTES)) {
            return Err(RequestError::MessageMalformed);
        }
    }
    match wanted {
        Some(bytes) if buffered.len() == bytes.saturating_add(HEADER_BYTES) => {
            Ok(Body::new(Full::new(buffered.whole())))
        }
        _ => Err(RequestError::MessageMalformed),
    }
}

/// Most messages come in one frame, and are then not copied.
#[derive(Debug, Default)]
struct Buffered {
    first: Bytes,
    more: BytesMut,
}

impl Buffered {
    fn push(&mut self, data: Bytes) {
        if self.first.is_empty() && self.more.is_empty() {
            self.first = data;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.more.extend_from_slice(&data);
    }

    fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    /// What the header says, once it is whole.
    fn length(&self) -> Option<usize> {
        let bytes: &[u8] = if self.more.is_empty() {
            &self.first
        } else {
            &self.more
        };
        let header: [u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let [_flag, length @ ..] = header;
        usize::try_from(u32::from_be_bytes(length)).ok()
    }

    fn whole(self) -> Bytes {
        if self.more.is_empty() {
            self.first
        } else {
            self.more.freeze()
        }
    }
}

//! Frames between the front and the gate: a length of four octets in network order, then
//! one protobuf message.
//!
//! A frame is at most [`MAX_FRAME_BYTES`] long; the length is judged before a byte of the
//! body is buffered. What is not a frame, or not a message, ends the connection: both ends
//! are built from the same source, so garbage is a fault or an attack and never a dialect.

use std::io;
use std::marker::PhantomData;

use bytes::{BufMut, BytesMut};
use prost::Message;
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

/// The largest frame either side accepts or sends, in octets.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Octets of the length that opens a frame.
const LENGTH_BYTES: usize = 4;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The stream failed, or announced a frame above [`MAX_FRAME_BYTES`].
    #[error("the stream between front and gate failed")]
    Io(#[from] io::Error),
    /// A message to be sent does not fit a frame.
    #[error("a message of {bytes} bytes does not fit a frame of {MAX_FRAME_BYTES}")]
    TooLarge {
        /// Length of the encoded message.
        bytes: usize,
    },
    /// A frame arrived whole and is not a message.
    #[error("a frame holds no message of the gate protocol")]
    Malformed(#[from] prost::DecodeError),
}

/// Reads messages of type `In` and writes messages of type `Out`.
#[derive(Debug)]
pub struct MessageCodec<In, Out> {
    frames: LengthDelimitedCodec,
    messages: PhantomData<fn(Out) -> In>,
}

impl<In, Out> Default for MessageCodec<In, Out> {
    fn default() -> Self {
        let frames = LengthDelimitedCodec::builder()
            .length_field_length(LENGTH_BYTES)
            .max_frame_length(MAX_FRAME_BYTES)
            .new_codec();
        Self {
            frames,
            messages: PhantomData,
        }
    }
}

impl<In: Message + Default, Out> Decoder for MessageCodec<In, Out> {
    type Item = In;
    type Error = ProtocolError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<In>, ProtocolError> {
        match self.frames.decode(source)? {
            Some(frame) => Ok(Some(In::decode(frame.freeze())?)),
            None => Ok(None),
        }
    }
}

impl<In, Out: Message> Encoder<&Out> for MessageCodec<In, Out> {
    type Error = ProtocolError;

    fn encode(&mut self, message: &Out, target: &mut BytesMut) -> Result<(), ProtocolError> {
        encode_frame(message, target)
    }
}

/// Appends one frame to `target`; on error `target` is as it was.
///
/// The codec's own encoder wants the body as a buffer of its own; a message written
/// straight behind its length saves that copy.
pub fn encode_frame<M: Message>(message: &M, target: &mut BytesMut) -> Result<(), ProtocolError> {
    let bytes = message.encoded_len();
    let length = match u32::try_from(bytes) {
        Ok(length) if bytes <= MAX_FRAME_BYTES => length,
        _ => return Err(ProtocolError::TooLarge { bytes }),
    };
    target.reserve(LENGTH_BYTES + bytes);
    target.put_u32(length);
    message.encode_raw(target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sealwright_proto::gate::{IssueRequest, Request, Response, request};

    use super::*;

    type ServerCodec = MessageCodec<Request, Response>;

    fn issue(id: u64, tbs: Vec<u8>) -> Request {
        Request {
            id,
            timeout_ms: 5,
            body: Some(request::Body::Issue(IssueRequest {
                issuer: "default".into(),
                tbs: tbs.into(),
                ..IssueRequest::default()
            })),
        }
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_body() {
        let mut codec = ServerCodec::default();
        let mut source = BytesMut::new();
        source.put_u32(MAX_FRAME_BYTES as u32 + 1);
        let error = codec.decode(&mut source).unwrap_err();
        assert!(matches!(error, ProtocolError::Io(_)));
    }

    #[test]
    fn a_message_above_the_limit_is_not_sent() {
        let mut target = BytesMut::from(&b"before"[..]);
        let error = encode_frame(&issue(1, vec![0; MAX_FRAME_BYTES]), &mut target).unwrap_err();
        assert!(matches!(error, ProtocolError::TooLarge { .. }));
        assert_eq!(&target[..], b"before");
    }

    #[test]
    fn a_frame_that_is_no_message_is_malformed() {
        let mut codec = ServerCodec::default();
        let mut source = BytesMut::new();
        source.put_u32(4);
        source.extend_from_slice(&[0xff; 4]);
        let error = codec.decode(&mut source).unwrap_err();
        assert!(matches!(error, ProtocolError::Malformed(_)));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..5),
            cut in 1usize..64,
        ) {
            let sent: Vec<_> = (1u64..).zip(bodies).map(|(id, body)| issue(id, body)).collect();
            let mut wire = BytesMut::new();
            for message in &sent {
                encode_frame(message, &mut wire).unwrap();
            }
            let mut codec = ServerCodec::default();
            let mut source = BytesMut::new();
            let mut received = Vec::new();
            for piece in wire.chunks(cut) {
                source.extend_from_slice(piece);
                while let Some(message) = codec.decode(&mut source).unwrap() {
                    received.push(message);
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut codec = ServerCodec::default();
            let mut source = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = codec.decode(&mut source) {}
        }
    }
}

//! The control socket between supervisor and front: small JSON messages, some with a descriptor.
//!
//! A sequenced-packet socket keeps messages apart, and a descriptor with its message.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::Interest;

use super::{FromFront, ToFront};

/// The largest message, in bytes.
const MAX_MESSAGE: usize = 16 * 1024;

/// A connected pair: the supervisor's end and the front's.
///
/// # Errors
/// When the system has no more descriptors.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
}

/// One end. Tokio's stream type only watches the descriptor: messages are sent and received
/// by our own calls, since a stream's would mingle them and drop descriptors.
#[derive(Debug)]
pub struct Control(tokio::net::UnixStream);

impl Control {
    /// Over an end of [`pair`], within a runtime.
    ///
    /// # Errors
    /// When the runtime cannot watch it.
    pub fn new(end: OwnedFd) -> io::Result<Self> {
        let socket = UnixStream::from(end);
        socket.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(socket).map(Self)
    }

    /// Sends a message, with a descriptor if one is given.
    ///
    /// # Errors
    /// When the other side is gone or the message is too large.
    pub async fn send<M: Serialize>(
        &self,
        message: &M,
        descriptor: Option<&OwnedFd>,
    ) -> Result<(), ControlError> {
        let bytes = serde_json::to_vec(message).map_err(|source| ControlError::Message { source })?;
        if bytes.len() > MAX_MESSAGE {
            return Err(ControlError::TooLarge);
        }
        let send = || send_now(self.0.as_fd(), &bytes, descriptor);
        let sent = self.0.async_io(Interest::WRITABLE, send).await;
        sent.map_err(|source| ControlError::Io { source })
    }

    /// The next message and its descriptor; `None` when the other side is gone. Cancel-safe.
    ///
    /// # Errors
    /// When what comes is no message.
    pub async fn receive<M: DeserializeOwned>(&self) -> Result<Option<(M, Option<OwnedFd>)>, ControlError> {
        let receive = || receive_now(self.0.as_fd());
        let received = self.0.async_io(Interest::READABLE, receive).await;
        match received.map_err(|source| ControlError::Io { source })? {
            None => Ok(None),
            Some((bytes, descriptor)) => serde_json::from_slice(&bytes)
                .map(|message| Some((message, descriptor)))
                .map_err(|source| ControlError::Message { source }),
        }
    }
}

fn send_now(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: Option<&OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.iter().map(|descriptor| descriptor.as_fd()).collect();
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

fn receive_now(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let received = match recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
        Ok(received) => received,
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    if received.bytes == 0 {
        return Ok(None);
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.truncate(received.bytes);
    Ok(Some((bytes, descriptor)))
}

/// The next message of a front, or never when there is none.
pub(super) async fn receive(control: Option<&Control>) -> Result<Option<FromFront>, ControlError> {
    match control {
        Some(control) => Ok(control.receive().await?.map(|(message, _none)| message)),
        None => std::future::pending().await,
    }
}

/// The front's side of its control socket.
#[derive(Debug)]
pub struct Link(Control);

/// What a front hears.
#[derive(Debug)]
pub enum News {
    /// A gate was started: here is its stream.
    Gate {
        /// To hand to the gate's client.
        stream: UnixStream,
        /// Starts of a gate before this one.
        restarts: u64,
    },
    /// The gate ended.
    GateEnded {
        /// Why, as far as it said.
        reason: String,
        /// Whether it is started again without an operator.
        restarts: bool,
    },
    /// A process that judges one module.
    Judge {
        /// As it was asked for.
        ticket: u64,
        /// The job goes in, the report comes out; or why there is none.
        stream: Result<UnixStream, String>,
    },
}

impl Link {
    /// Over what [`crate::process::take_stdin`] gave, within a runtime.
    ///
    /// # Errors
    /// When it is no such socket.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Control::new(socket).map(Self)
    }

    /// Tells the supervisor.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub async fn tell(&self, message: &FromFront) -> Result<(), ControlError> {
        self.0.send(message, None).await
    }

    /// The next news; `None` when the supervisor is gone. Cancel-safe.
    ///
    /// # Errors
    /// When what comes is no message.
    pub async fn news(&self) -> Result<Option<News>, ControlError> {
        Ok(match self.0.receive().await? {
            Some((ToFront::Gate { restarts }, Some(stream))) => Some(News::Gate {
                stream: UnixStream::from(stream),
                restarts,
            }),
            Some((ToFront::Judge { ticket }, Some(stream))) => Some(News::Judge {
                ticket,
                stream: Ok(UnixStream::from(stream)),
            }),
            Some((ToFront::NoJudge { ticket, reason }, _)) => Some(News::Judge {
                ticket,
                stream: Err(reason),
            }),
            Some((ToFront::Gate { .. } | ToFront::Judge { .. }, None)) => {
                return Err(ControlError::NoDescriptor);
            }
            Some((ToFront::GateEnded { reason, restarts }, _)) => Some(News::GateEnded { reason, restarts }),
            None => None,
        })
    }
}

/// What went wrong on a control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket failed.
    #[error("the control socket failed")]
    Io {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not one of ours.
    #[error("the control socket carried no message of ours")]
    Message {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Above the bound.
    #[error("the control message is above {MAX_MESSAGE} bytes")]
    TooLarge,
    /// A process was announced without its stream.
    #[error("a process's stream did not come with its announcement")]
    NoDescriptor,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn carries_a_stream_with_its_announcement() {
        let (supervisor, front) = pair().unwrap();
        let (supervisor, front) = (Control::new(supervisor).unwrap(), Link::new(front).unwrap());
        let (mut gate, stream) = UnixStream::pair().unwrap();
        supervisor
            .send(&ToFront::Gate { restarts: 3 }, Some(&stream.into()))
            .await
            .unwrap();
        let Some(News::Gate {
            mut stream,
            restarts: 3,
        }) = front.news().await.unwrap()
        else {
            panic!("no gate");
        };
        gate.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");

        front
            .tell(&FromFront::Readiness { reasons: vec![] })
            .await
            .unwrap();
        let (heard, _) = supervisor.receive::<FromFront>().await.unwrap().unwrap();
        assert_eq!(heard, FromFront::Readiness { reasons: vec![] });

        drop(supervisor);
        assert!(front.news().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn refuses_a_gate_without_its_stream() {
        let (supervisor, front) = pair().unwrap();
        let (supervisor, front) = (Control::new(supervisor).unwrap(), Link::new(front).unwrap());
        supervisor
            .send(&ToFront::Gate { restarts: 0 }, None)
            .await
            .unwrap();
        assert!(matches!(front.news().await, Err(ControlError::NoDescriptor)));
    }
}

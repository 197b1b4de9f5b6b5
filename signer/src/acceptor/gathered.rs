//! Small writes of one turn, gathered into one.
//!
//! HTTP/2 flushes after each message and again after its trailers, and TLS makes a record and a system
//! call of each. Answers come in crowds, as their records share a sync of the ledger: here a flush waits
//! until the tasks that are ready have had their turn, and takes what they wrote along. Nothing is held
//! back beyond that turn: the connection's task is woken for it at once.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What waits at most, in bytes: a TLS record (RFC 8446 section 5.1).
const ROOM: usize = 16 << 10;

/// What is asked of the allocator at first, in bytes: an answer is some three thousand.
const USUAL: usize = 4 << 10;

/// A stream whose small writes go out together. It keeps no memory while nothing waits.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    stream: S,
    waiting: BytesMut,
    /// Something was written since a flush was last asked for.
    fresh: bool,
}

impl<S> Gathered<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            waiting: BytesMut::new(),
            fresh: false,
        }
    }

    pub(super) fn stream(&self) -> &S {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    fn write_waiting(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.waiting))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.waiting.advance(written),
            }
        }
        // Most connections are idle most of the time.
        self.waiting = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    fn flush_now(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_waiting(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// The room for more, once there is some.
    fn room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.waiting.len() >= ROOM {
            ready!(self.write_waiting(context))?;
        }
        Poll::Ready(Ok(ROOM - self.waiting.len()))
    }

    fn take(&mut self, bytes: &[u8], room: usize) -> usize {
        let (taken, _) = bytes.split_at(bytes.len().min(room));
        if self.waiting.capacity() == 0 {
            self.waiting.reserve(USUAL.max(taken.len()));
        }
        self.waiting.extend_from_slice(taken);
        self.fresh = true;
        taken.len()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A turn begins with a look at what came in.
        if !self.fresh
            && !self.waiting.is_empty()
            && let Poll::Ready(Err(error)) = self.flush_now(context)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.room(context))?;
        Poll::Ready(Ok(self.take(bytes, room)))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = ready!(self.room(context))?;
        let written = slices
            .iter()
            .fold(0, |written, slice| written + self.take(slice, room - written));
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fresh {
            self.fresh = false;
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        self.flush_now(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_waiting(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Takes what it is given while `open`, and remembers each write.
    #[derive(Default)]
    struct Recorder {
        writes: Vec<usize>,
        flushes: usize,
        ended: bool,
        shut: bool,
    }

    impl AsyncRead for Recorder {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Recorder {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.shut {
                return Poll::Pending;
            }
            self.writes.push(bytes.len());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.ended = true;
            Poll::Ready(Ok(()))
        }
    }

    fn gathered() -> Gathered<Recorder> {
        Gathered::new(Recorder::default())
    }

    #[tokio::test]
    async fn messages_and_trailers_of_one_turn_are_one_write() {
        let mut stream = gathered();
        for _answer in 0..3 {
            stream.write_all(&[1; 100]).await.unwrap();
            stream.flush().await.unwrap();
            stream.write_all(&[2; 10]).await.unwrap();
            stream.flush().await.unwrap();
        }
        assert_eq!(stream.stream.writes, [0; 0]);
        // The next turn has nothing to add.
        stream.flush().await.unwrap();
        assert_eq!(
            (stream.stream.writes.as_slice(), stream.stream.flushes),
            (&[330][..], 1)
        );
        assert_eq!(stream.waiting.capacity(), 0);
    }

    #[tokio::test]
    async fn a_turn_that_only_reads_sends_what_waits() {
        let mut stream = gathered();
        stream.write_all(&[1; 100]).await.unwrap();
        stream.flush().await.unwrap();
        let mut buffer = [0; 1];
        let mut read = std::pin::pin!(stream.read(&mut buffer));
        poll_fn(|context| {
            assert!(read.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(stream.stream.writes, [100]);
    }

    #[tokio::test]
    async fn a_flush_that_waits_wakes_its_task() {
        let mut stream = gathered();
        stream.write_all(&[1; 100]).await.unwrap();
        // Without being woken the second poll would never come.
        let mut turns = 0;
        poll_fn(|context| {
            turns += 1;
            let flushed = Pin::new(&mut stream).poll_flush(context);
            if turns < 2 { Poll::Pending } else { flushed }
        })
        .await
        .unwrap();
        assert_eq!(stream.stream.writes, [100]);
    }

    #[tokio::test]
    async fn no_more_waits_than_there_is_room_for() {
        let mut stream = gathered();
        stream.write_all(&[1; ROOM + 1]).await.unwrap();
        assert_eq!(stream.stream.writes, [ROOM]);
        stream.stream.shut = true;
        let slices = [IoSlice::new(&[2; ROOM]), IoSlice::new(&[3; 8])];
        assert_eq!(stream.write_vectored(&slices).await.unwrap(), ROOM - 1);
        let refused =
            poll_fn(|context| Poll::Ready(Pin::new(&mut stream).poll_write(context, &[4]).is_pending()));
        assert!(refused.await);
    }

    #[tokio::test]
    async fn the_end_comes_after_what_waits() {
        let mut stream = gathered();
        stream.write_all(&[1; 100]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.stream.writes, [100]);
        assert!(stream.stream.ended);
    }
}

//! Connecting to a gate that listens on a named socket, again and again.

use std::path::PathBuf;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::GateStream;

/// The first wait after a failure; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The longest wait: a gate that comes back is found within it.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Streams to the gate that listens at `path`: one at a time, a new one when the last has
/// ended. Must be called within a Tokio runtime; ends with the receiver.
pub fn dial(path: PathBuf) -> mpsc::Receiver<GateStream> {
    let (sender, streams) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut wait = FIRST_WAIT;
        while !sender.is_closed() {
            match UnixStream::connect(&path).await {
                Ok(stream) => {
                    let ended = CancellationToken::new();
                    let stream = GateStream::Watched(stream, ended.clone().drop_guard());
                    if sender.send(stream).await.is_err() {
                        return;
                    }
                    let since = tokio::time::Instant::now();
                    ended.cancelled().await;
                    debug!(path = %path.display(), "the gate's stream ended; connecting again");
                    // A gate that turns us away at once is no gate that came back.
                    if since.elapsed() > LONGEST_WAIT {
                        wait = FIRST_WAIT;
                    }
                }
                Err(error) => warn!(path = %path.display(), %error, "cannot reach the gate"),
            }
            tokio::time::sleep(wait).await;
            wait = LONGEST_WAIT.min(wait * 2);
        }
    });
    streams
}

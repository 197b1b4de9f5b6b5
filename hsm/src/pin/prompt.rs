//! Asking for the PIN on the terminal, without echo.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Writes `text` to the controlling terminal and reads one line from it, of at
/// most `limit` bytes.
pub(super) fn ask(text: &str, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap_or(0))
        .open("/dev/tty")?;
    let silence = Silence::begin(terminal.try_clone()?)?;
    terminal.write_all(text.as_bytes())?;
    terminal.flush()?;
    let line = read_line(&terminal, limit);
    drop(silence);
    terminal.write_all(b"\n")?;
    line
}

fn read_line(mut terminal: &File, limit: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(limit));
    let mut byte = Zeroizing::new([0_u8; 1]);
    while line.len() < limit && terminal.read(&mut *byte)? == 1 {
        line.extend_from_slice(&*byte);
        if line.ends_with(b"\n") {
            break;
        }
    }
    Ok(line)
}

/// Echo is off while this lives, and as before when it is dropped.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn begin(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

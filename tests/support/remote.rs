//! A token in another process, reached through `p11-kit`: as a network HSM, which can go away, and come back.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;

use crate::{Process, signer::signal, within};

/// The module that the server has.
pub const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// The client's module, wherever this machine's architecture has it.
pub fn client() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap();
    let place = |folder: fs::DirEntry| folder.path().join("pkcs11/p11-kit-client.so");
    let mut places = folders.map(|folder| place(folder.unwrap()));
    places
        .find(|place| place.is_file())
        .expect("p11-kit-modules is not installed: make setup")
}

/// `p11-kit server` before the tokens of a SoftHSM, and the children that it makes, one for each client.
#[derive(Debug)]
pub struct Remote {
    server: Child,
    /// Where clients reach it.
    pub socket: PathBuf,
}

impl Remote {
    /// Starts it in a folder with a `softhsm2.conf`.
    pub fn start(folder: &Path) -> Self {
        let socket = folder.join("p11.sock");
        fs::remove_file(&socket).ok();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "p11-kit", "server", "--foreground"]);
        command.args(["--provider", SOFTHSM, "--name"]).arg(&socket);
        command
            .arg("pkcs11:")
            .env("SOFTHSM2_CONF", folder.join("softhsm2.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let server = command.spawn().unwrap();
        within(|| socket.exists().then_some(())).expect("p11-kit server makes its socket");
        Self { server, socket }
    }

    /// What a client's environment says, as `P11_KIT_SERVER_ADDRESS`.
    pub fn address(folder: &Path) -> String {
        format!("unix:path={}", folder.join("p11.sock").display())
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// The processes that hold the tokens, one for each client.
    pub fn children(&self) -> Vec<u32> {
        let all = Process::all_of(self.server.id());
        all[1..].iter().map(|process| process.0).collect()
    }

    /// To the processes that hold the tokens.
    pub fn to_children(&self, which: Signal) {
        for child in self.children() {
            signal(child, which);
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // One that is stopped does not see the end of its client.
        self.to_children(Signal::KILL);
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

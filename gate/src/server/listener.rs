//! The named socket of the hardened mode: who may connect is decided by the kernel's word
//! about the peer's user, and by the mode of the folder the socket is in.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::net::sockopt::socket_peercred;
use tokio::net::{UnixListener, UnixStream};

use super::connection::Roles;
use crate::config::PeerConfig;

const FOLDER_MODE: u32 = 0o750;
const SOCKET_MODE: u32 = 0o660;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The path is not one a socket can have.
    #[error("gate.socket: {} is not in a folder; write an absolute path", path.display())]
    NoFolder {
        /// The configured path.
        path: PathBuf,
    },
    /// Everybody can reach the socket.
    #[error("gate.socket: {} has mode {mode:04o}; make it 0750", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Something else has the socket's name.
    #[error("gate.socket: {} is there and is no socket; remove it or choose another path", path.display())]
    Occupied {
        /// The configured path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("gate.socket: cannot listen at {}", path.display())]
    System {
        /// The folder or socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a peer is turned away.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// The user is not listed.
    #[error("uid {uid} is not among gate.peers")]
    Stranger {
        /// The peer's user.
        uid: u32,
    },
    /// The kernel does not say who it is.
    #[error("the peer's user is not known")]
    Unknown(#[source] io::Error),
}

/// The socket, listening.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    peers: Vec<PeerConfig>,
}

impl Listener {
    /// Listens at `path`. A socket left by a dead gate is replaced: call this only while
    /// holding the home, which says that no other gate lives.
    pub(super) fn bind(path: &Path, peers: &[PeerConfig]) -> Result<Self, ListenError> {
        let system = |path: &Path| {
            let path = path.to_owned();
            move |source| ListenError::System { path, source }
        };
        let no_folder = || ListenError::NoFolder {
            path: path.to_owned(),
        };
        let folder = path.parent().filter(|f| f.is_absolute()).ok_or_else(no_folder)?;
        if !folder.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(folder)
                .map_err(system(folder))?;
        }
        let mode = fs::metadata(folder).map_err(system(folder))?.mode() & 0o7777;
        if mode & 0o007 != 0 {
            return Err(ListenError::Open {
                path: folder.to_owned(),
                mode,
            });
        }
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(path).map_err(system(path))?;
            }
            Ok(_) => {
                return Err(ListenError::Occupied {
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system(path)(error)),
        }
        let socket = UnixListener::bind(path).map_err(system(path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(system(path))?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            peers: peers.to_vec(),
        })
    }

    /// The next connection, and what its user may ask for.
    pub(super) async fn accept(&self) -> io::Result<(UnixStream, Result<Roles, PeerError>)> {
        let (stream, _address) = self.socket.accept().await?;
        let roles = roles_of(&stream, &self.peers);
        Ok((stream, roles))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Left behind, it is replaced at the next start.
        let _left = fs::remove_file(&self.path);
    }
}

fn roles_of(stream: &UnixStream, peers: &[PeerConfig]) -> Result<Roles, PeerError> {
    let credentials = socket_peercred(stream).map_err(|error| PeerError::Unknown(io::Error::from(error)))?;
    let uid = credentials.uid.as_raw();
    peers
        .iter()
        .find(|peer| peer.uid == uid)
        .map(|peer| Roles::of(&peer.roles))
        .ok_or(PeerError::Stranger { uid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Role;

    fn own_uid() -> u32 {
        rustix::process::getuid().as_raw()
    }

    fn peer(uid: u32, roles: &[Role]) -> PeerConfig {
        PeerConfig {
            uid,
            roles: roles.to_vec(),
        }
    }

    #[tokio::test]
    async fn the_peer_has_its_own_roles_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/gate.sock");
        let listener = Listener::bind(&path, &[peer(own_uid(), &[Role::Read])]).unwrap();
        let (_front, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        let roles = accepted.unwrap().1.unwrap();
        roles.require(Role::Read).unwrap();
        roles.require(Role::Issue).unwrap_err();
    }

    #[tokio::test]
    async fn another_user_is_turned_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/gate.sock");
        let listener = Listener::bind(&path, &[peer(own_uid() + 1, &[Role::Read])]).unwrap();
        let (_front, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        let refused = accepted.unwrap().1.unwrap_err();
        assert!(matches!(refused, PeerError::Stranger { uid } if uid == own_uid()));
    }

    #[tokio::test]
    async fn an_open_folder_or_an_occupied_name_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = Listener::bind(&open.join("gate.sock"), &[]).unwrap_err();
        assert!(matches!(refused, ListenError::Open { mode: 0o755, .. }));

        let path = folder.path().join("run/gate.sock");
        drop(Listener::bind(&path, &[]).unwrap());
        fs::write(&path, "").unwrap();
        let refused = Listener::bind(&path, &[]).unwrap_err();
        assert!(matches!(refused, ListenError::Occupied { .. }));
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/gate.sock");
        let listener = Listener::bind(&path, &[]).unwrap();
        // Gone without its clean-up, as after a kill.
        std::mem::forget(listener);
        Listener::bind(&path, &[]).unwrap();
    }
}

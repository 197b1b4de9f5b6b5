//! A token that this process is logged in to.
//!
//! The login belongs to the process and lives as long as any session does. So
//! one session, the anchor, is kept open for nothing else, `C_Logout` is never
//! called, and every login is made under one lock of the process. Each repair
//! of the login begins a new epoch; handle numbers of an older one are found
//! anew before they are used.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use cryptoki::{mechanism::MechanismType, session::SessionState, slot::Slot};
use parking_lot::Mutex;
use sealwright_identity::Digest;

use crate::{
    attempt::Attempts,
    config::{TokenConfig, TokenSelector},
    error::Error,
    key::{self, KeyHandle, KeyPurpose, KeySelector, Resolved},
    login::{Entry, LoginError},
    marker::Refusal,
    metrics::{Metrics, Repair},
    module::{CallError, Module, ModuleSession, SessionKind},
    operation::mechanism_for,
    pin::Pin,
    rv::Class,
    slots::{self, Found, PinState, TokenInfo},
};

/// How often a token that is not there is looked for again: another process
/// that logs in to a SoftHSM token rewrites its file, and hides it so.
const LOOKS: usize = 10;

/// The wait between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Every `C_Login` of the process is made under this lock.
static LOGIN: Mutex<()> = Mutex::new(());

/// Numbers the tokens that were opened in this process.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// An open token. Cheap to clone; the login ends with the last clone.
#[derive(Clone)]
pub struct Token(Arc<Shared>);

struct Shared {
    /// First, so that the anchor is closed before the module goes.
    login: Mutex<Login>,
    epoch: AtomicU64,
    /// Which of the tokens opened in this process; a key goes with one only.
    number: u64,
    module: Arc<Module>,
    slot: Slot,
    info: TokenInfo,
    mechanisms: Vec<MechanismType>,
    entry: Entry,
    purposes: Mutex<HashMap<Digest, KeyPurpose>>,
}

struct Login {
    anchor: ModuleSession,
}

impl Token {
    /// Loads the module, finds the token, reads the PIN and logs in, once.
    /// Blocks; call it on a thread that may. `marker_dir` holds the PIN marker.
    ///
    /// # Errors
    /// [`Error::is_pin`] tells those after which nobody may simply try again.
    pub fn open(config: &TokenConfig, marker_dir: &Path) -> Result<Self, Error> {
        Self::open_with(config, marker_dir, &Metrics::default())
    }

    /// As [`Token::open`], counting into `metrics`.
    ///
    /// # Errors
    /// As [`Token::open`].
    pub fn open_with(config: &TokenConfig, marker_dir: &Path, metrics: &Metrics) -> Result<Self, Error> {
        let (module, found) = locate(&config.module, &config.token, metrics)?;
        refuse_unusable(&found.info)?;
        let label = &found.info.label;
        let pin = config.pin.read(label).map_err(|source| Error::Pin {
            token: label.clone(),
            source,
        })?;
        Self::log_in_to(module, found, pin, marker_dir)
    }

    /// Logs in to a token that was found.
    pub(crate) fn log_in_to(
        module: Arc<Module>,
        found: Found,
        pin: Pin,
        marker_dir: &Path,
    ) -> Result<Self, Error> {
        refuse_unusable(&found.info)?;
        let attempts = Attempts::open(marker_dir, &found.info, &pin)?;
        Self::log_in_by(module, found, Entry::Typed { pin, attempts })
    }

    /// Logs in to a token whose PIN is typed at a pad of its own, and waits for it as long as the module does.
    pub(crate) fn log_in_at_pad(module: Arc<Module>, found: Found) -> Result<Self, Error> {
        refuse_unusable(&found.info)?;
        Self::log_in_by(module, found, Entry::Pad)
    }

    fn log_in_by(module: Arc<Module>, found: Found, entry: Entry) -> Result<Self, Error> {
        let Found { slot, info } = found;
        let mechanisms = slots::mechanisms(&module, slot)?;
        let anchor = module
            .open_session(slot, SessionKind::ReadOnly)
            .map_err(Error::call("opening its first session"))?;
        let token = Self(Arc::new(Shared {
            login: Mutex::new(Login { anchor }),
            epoch: AtomicU64::new(1),
            number: OPENED.fetch_add(1, Ordering::Relaxed),
            module,
            slot,
            info,
            mechanisms,
            entry,
            purposes: Mutex::default(),
        }));
        token.first_login()?;
        Ok(token)
    }

    /// What the token said of itself before the login.
    pub fn info(&self) -> &TokenInfo {
        &self.0.info
    }

    /// The module's file.
    pub fn module_path(&self) -> &Path {
        self.0.module.path()
    }

    /// The names of the token's mechanisms.
    pub fn mechanisms(&self) -> Vec<String> {
        self.0.mechanisms.iter().map(ToString::to_string).collect()
    }

    /// The one key that fits, for certificates and certification requests.
    ///
    /// # Errors
    /// None or several fit, it wants a PIN each time, its type or its
    /// mechanism is not there, or it serves as health key already.
    pub fn find_key(&self, selector: &KeySelector) -> Result<KeyHandle, Error> {
        self.find(selector, KeyPurpose::Issuing)
    }

    /// The one key that fits, for health probes only.
    ///
    /// # Errors
    /// As [`Token::find_key`].
    pub fn find_health_key(&self, selector: &KeySelector) -> Result<KeyHandle, Error> {
        self.find(selector, KeyPurpose::Health)
    }

    /// The one key that fits, for a person's statements only.
    pub(crate) fn find_statement_key(&self, selector: &KeySelector) -> Result<KeyHandle, Error> {
        self.find(selector, KeyPurpose::Statement)
    }

    fn find(&self, selector: &KeySelector, purpose: KeyPurpose) -> Result<KeyHandle, Error> {
        let key = self.find_any(selector, purpose)?;
        self.require_mechanism(selector, &key)?;
        let spki = Digest::of(key.spki_der());
        let known = *self.0.purposes.lock().entry(spki).or_insert(purpose);
        if known != purpose {
            return Err(Error::KeyPurpose {
                selector: selector.to_string(),
            });
        }
        let protection = key.protection();
        if protection.extractable || !protection.sensitive {
            tracing::warn!(key = %selector, "the private key may leave the token");
        }
        Ok(key)
    }

    fn require_mechanism(&self, selector: &KeySelector, key: &KeyHandle) -> Result<(), Error> {
        let missing = |mechanism: String| Error::MechanismMissing {
            selector: selector.to_string(),
            mechanism,
        };
        let mechanism = mechanism_for(key.key_type())
            .ok_or_else(|| missing(format!("mechanism for {}", key.key_type())))?;
        if self.0.mechanisms.contains(&mechanism) {
            Ok(())
        } else {
            Err(missing(mechanism.to_string()))
        }
    }

    /// A key just made, which no purpose has claimed yet.
    pub(crate) fn find_unclaimed(&self, selector: &KeySelector) -> Result<KeyHandle, Error> {
        self.find_any(selector, KeyPurpose::Issuing)
    }

    fn find_any(&self, selector: &KeySelector, purpose: KeyPurpose) -> Result<KeyHandle, Error> {
        let login = self.0.login.lock();
        let token = (self.number(), self.epoch());
        KeyHandle::find(&login.anchor, token, selector, purpose)
    }

    /// How many private keys fit; for provisioning, which wants none.
    pub(crate) fn count_keys(&self, selector: &KeySelector) -> Result<usize, Error> {
        key::count(&self.0.login.lock().anchor, selector)
    }

    pub(crate) fn open_session(&self, kind: SessionKind) -> Result<ModuleSession, CallError> {
        self.0.module.open_session(self.0.slot, kind)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn number(&self) -> u64 {
        self.0.number
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        self.0.module.metrics()
    }

    /// The key's number, found again if it is of an older login.
    pub(crate) fn resolve(&self, key: &KeyHandle, session: &ModuleSession) -> Result<Resolved, Error> {
        let resolved = key.resolved();
        let epoch = self.epoch();
        if resolved.epoch == epoch {
            return Ok(resolved);
        }
        let resolved = key.find_again(session, epoch)?;
        self.metrics().repaired(Repair::Key);
        Ok(resolved)
    }

    /// Makes the login good again, if nobody did since the epoch `seen`.
    pub(crate) fn repair_login(&self, seen: u64) -> Result<(), Error> {
        let _process = LOGIN.lock();
        let mut login = self.0.login.lock();
        if self.epoch() != seen {
            return Ok(());
        }
        let state = match self.state_of(&login.anchor) {
            Err(error) if error.class() == Class::Session => {
                let anchor = self
                    .open_session(SessionKind::ReadOnly)
                    .map_err(Error::call("opening its first session again"))?;
                std::mem::replace(&mut login.anchor, anchor).forget();
                self.state_of(&login.anchor)
            }
            other => other,
        }
        .map_err(Error::call("asking for the login state"))?;
        if !matches!(state, SessionState::RoUser | SessionState::RwUser) {
            tracing::warn!(token = %self.0.info.label, "the login was lost; logging in again");
            match self.log_in_again(&login.anchor) {
                // We did log in before, so the PIN was tested: somebody was faster.
                Err(LoginError::Already) | Ok(()) => self.metrics().repaired(Repair::Login),
                Err(LoginError::Other(error)) => return Err(*error),
            }
        }
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn state_of(&self, session: &ModuleSession) -> Result<SessionState, CallError> {
        session
            .call("C_GetSessionInfo", |session| session.get_session_info())
            .map(|info| info.session_state())
    }

    fn first_login(&self) -> Result<(), Error> {
        let _process = LOGIN.lock();
        self.log_in(&self.0.login.lock().anchor)
            .map_err(|error| error.of(&self.0.info.label))
    }

    fn log_in(&self, session: &ModuleSession) -> Result<(), LoginError> {
        self.metrics().logins.inc();
        self.0.entry.log_in(&self.0.info.label, session)
    }

    fn log_in_again(&self, session: &ModuleSession) -> Result<(), LoginError> {
        match self.0.entry {
            Entry::Typed { .. } => self.log_in(session),
            // Nobody may stand there.
            Entry::Pad => Err(LoginError::Other(Box::new(Error::PadUnattended {
                token: self.0.info.label.clone(),
            }))),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("info", &self.0.info)
            .finish_non_exhaustive()
    }
}

/// Loads the module and finds the token, with a few looks.
pub(crate) fn locate(
    module: &Path,
    selector: &TokenSelector,
    metrics: &Metrics,
) -> Result<(Arc<Module>, Found), Error> {
    let mut module = Module::load(module, metrics)?;
    for _ in 1..LOOKS {
        match slots::find(&module, selector) {
            Err(Error::TokenAbsent { .. }) => {
                thread::sleep(LOOK_AGAIN);
                module = module.reload()?;
            }
            other => return other.map(|found| (module, found)),
        }
    }
    let found = slots::find(&module, selector)?;
    Ok((module, found))
}

/// What the token says against any PIN, before one is even read.
pub(crate) fn refuse_unusable(info: &TokenInfo) -> Result<(), Error> {
    let refusal = match info.pin {
        PinState::Locked => Refusal::Locked,
        PinState::NotSet | PinState::ToBeChanged => Refusal::Expired,
        PinState::FinalTry | PinState::CountLow => {
            tracing::warn!(
                token = %info.label,
                pin = ?info.pin,
                "wrong PINs were tried on this token"
            );
            return Ok(());
        }
        PinState::Usable => return Ok(()),
    };
    Err(Error::PinUnusable {
        token: info.label.clone(),
        refusal,
    })
}
